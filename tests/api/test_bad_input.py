"""Each is a clear 4xx that names the field and the rule, and writes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import func, select

from api.body import BODY_MAX
from ledger.db import Database
from ledger.schema import account, address, api_key, idempotency, internal_transfer, transfer, withdrawal
from tests.api.shop import Shop, code
from wallets.fake.addresses import derive

PAYEE = derive("outside/1")
TABLES = (account, address, idempotency, internal_transfer, transfer, withdrawal, api_key)


@pytest.fixture
def unchanged(database: Database) -> Callable[[], list[int]]:
    def counts() -> list[int]:
        return database.read(lambda tx: [tx.value(select(func.count()).select_from(table)) for table in TABLES])

    return counts


AMOUNTS: list[tuple[Any, str]] = [
    (0.5, "amount_invalid"),
    (1, "amount_invalid"),
    (True, "amount_invalid"),
    (None, "amount_invalid"),
    ("1e-9", "amount_invalid"),
    ("1E5", "amount_invalid"),
    ("1,5", "amount_invalid"),
    ("NaN", "amount_invalid"),
    ("Infinity", "amount_invalid"),
    ("-1", "amount_invalid"),
    ("+1", "amount_invalid"),
    ("0", "amount_invalid"),
    ("0.00000000", "amount_invalid"),
    ("", "amount_invalid"),
    (" 1", "amount_invalid"),
    ("1 ", "amount_invalid"),
    ("1\n", "amount_invalid"),
    ("01", "amount_invalid"),
    (".5", "amount_invalid"),
    ("5.", "amount_invalid"),
    ("0x10", "amount_invalid"),
    ("1_000", "amount_invalid"),
    ("\u0661", "amount_invalid"),
    ("\uff11", "amount_invalid"),
    ("0.000000001", "amount_precision_exceeded"),
    ("0." + "0" * 37 + "1", "amount_precision_exceeded"),
    ("21000000.00000001", "amount_invalid"),
    ("1" + "0" * 38, "amount_invalid"),
    ("1" + "0" * 80, "too_long"),
]


@pytest.mark.parametrize(("amount", "expected"), AMOUNTS, ids=lambda value: repr(value)[:24])
def test_an_amount_is_an_exact_decimal_string_or_refused(
    shop: Shop, fund: Callable[[str, int], None], unchanged: Callable[[], list[int]], amount: Any, expected: str
) -> None:
    giver, taker = shop.account(), shop.account()
    fund(giver, 10**8)
    before = unchanged()
    order = {"from_account": giver, "to_account": taker, "asset": "BTC", "amount": amount, "reference": "r"}
    exit_ = {"account": giver, "asset": "BTC", "amount": amount, "address": PAYEE, "reference": "r"}
    for path, body in (("/v1/transfers", order), ("/v1/withdrawals", exit_)):
        answer = shop.post(path, body)
        assert answer.status_code == 422, answer.text
        assert answer.json["errors"][0]["pointer"] == "/amount"
        assert answer.json["errors"][0]["code"] == expected
    wanted = shop.post(f"/v1/accounts/{giver}/addresses", {"asset": "BTC", "expected_amount": amount})
    if amount is not None:  # an expected amount may be absent
        assert wanted.status_code == 422
        assert wanted.json["errors"][0]["pointer"] == "/expected_amount"
        assert unchanged() == before


BODIES: list[tuple[bytes, tuple[int, str]]] = [
    (b"", (422, "validation_failed")),
    (b"{", (400, "request_malformed")),
    (b'{"reference": "a"}}', (400, "request_malformed")),
    (b"[]", (422, "validation_failed")),
    (b"null", (422, "validation_failed")),
    (b'"text"', (422, "validation_failed")),
    (b"\xff\xfe{}", (400, "request_malformed")),
    (b'\xef\xbb\xbf{"reference": "a"}', (400, "request_malformed")),
    (b'{"reference": "a", "reference": "b"}', (400, "request_malformed")),
    (b'{"reference": "a", "kind": NaN}', (400, "request_malformed")),
    (b'{"reference": "a", "kind": -Infinity}', (400, "request_malformed")),
    (b'{"reference": "\\ud800"}', (400, "request_malformed")),
    (b'{"reference": ' + b"9" * 5000 + b"}", (400, "request_malformed")),
    (b'{"reference": 1e999}', (422, "validation_failed")),
    (b'{"reference": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", (400, "request_malformed")),
    (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, (400, "request_malformed")),
    (b'{"reference": "a", "state": "settled"}', (422, "validation_failed")),
    (b'{"reference": "a", "id": "ac_1"}', (422, "validation_failed")),
    (b'{"reference": "a", "kind": "house"}', (422, "validation_failed")),
    (b'{"reference": "", "kind": "user"}', (422, "validation_failed")),
    (b'{"reference": " a", "kind": "user"}', (422, "validation_failed")),
    (b'{"reference": "a ", "kind": "user"}', (422, "validation_failed")),
    (b'{"reference": "a\\n", "kind": "user"}', (422, "validation_failed")),
    (b'{"reference": "a\\u0000b", "kind": "user"}', (422, "validation_failed")),
    ('{"reference": "\u00e4", "kind": "user"}'.encode(), (422, "validation_failed")),
    (b'{"reference": "' + b"a" * 129 + b'", "kind": "user"}', (422, "validation_failed")),
    (b'{"reference": 5, "kind": "user"}', (422, "validation_failed")),
]


@pytest.mark.parametrize(("raw", "expected"), BODIES, ids=lambda value: repr(value)[:40])
def test_a_body_is_read_strictly(
    shop: Shop, unchanged: Callable[[], list[int]], raw: bytes, expected: tuple[int, str]
) -> None:
    before = unchanged()
    answer = shop.raw("/v1/accounts", raw)
    assert code(answer) == expected
    assert unchanged() == before


def test_an_unknown_field_is_named(shop: Shop) -> None:
    answer = shop.post("/v1/accounts", {"reference": "a", "a/b~c": 1})
    assert answer.json["errors"] == [
        {"pointer": "/a~1b~0c", "code": "field_unknown", "detail": "extra inputs are not permitted"}
    ]


@pytest.mark.parametrize("media", ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""])
def test_only_json_is_read(shop: Shop, media: str) -> None:
    assert code(shop.raw("/v1/accounts", b'{"reference": "a"}', media)) == (415, "media_type_unsupported")


def test_a_compressed_body_is_refused(shop: Shop) -> None:
    answer = shop.raw("/v1/accounts", b"\x1f\x8b", Content_Encoding="gzip")
    assert code(answer) == (415, "media_type_unsupported")


def test_a_large_body_is_refused(shop: Shop) -> None:
    assert code(shop.raw("/v1/accounts", b" " * (BODY_MAX + 1))) == (413, "body_too_large")


def test_unknown_paths_methods_and_parameters(shop: Shop) -> None:
    assert code(shop.get("/v1/nothing")) == (404, "not_found")
    assert code(shop.get("/nothing")) == (404, "not_found")
    assert code(shop.get("/v1/accounts/")) == (404, "not_found")
    answer = shop.delete("/v1/accounts")
    assert code(answer) == (405, "method_not_allowed")
    assert "POST" in answer.headers["Allow"]
    for query in ("limit=0", "limit=101", "limit=x", "limit=1&limit=2", "page=2", "limit=1.5", "kind=house"):
        answer = shop.get(f"/v1/accounts?{query}")
        assert code(answer) == (422, "validation_failed"), query
        assert answer.json["errors"][0]["parameter"] == query.partition("=")[0]
    for query in ("created_from=yesterday", "created_to=2026-01-01T00:00:00", "status=gone", "account=ac_1"):
        assert shop.get(f"/v1/deposits?{query}").status_code in (404, 422), query
    assert shop.get("/v1/deposits?created_from=2026-01-01T00:00:00%2B01:00").status_code == 200


IDS = [
    "1",
    "ac_",
    "ac_" + "0" * 32,
    "ac_" + "G" * 32,
    "ac_" + "0" * 33,
    "wd_" + "0" * 32,
    "%00",
    "\u0661",
    "x" * 300,
    "' OR 1=1",
]


@pytest.mark.parametrize("text", IDS, ids=lambda value: repr(value)[:20])
def test_malformed_and_unknown_ids_are_404(shop: Shop, text: str) -> None:
    for path in ("accounts/{}", "accounts/{}/balances", "accounts/{}/entries", "addresses/{}", "deposits/{}"):
        assert code(shop.get("/v1/" + path.format(text))) == (404, "not_found"), path
    for path in ("transfers/{}", "withdrawals/{}", "api_keys/{}"):
        assert code(shop.get("/v1/" + path.format(text))) == (404, "not_found"), path
    for path in ("accounts/{}/ownership", "deposits/{}/ownership", "escrows/{}/ownership"):
        assert code(shop.get("/v1/" + path.format(text))) == (404, "not_found"), path
    for path in ("withdrawals/{}/cancel", "withdrawals/{}/approve", "withdrawals/{}/reject", "api_keys/{}/rotate"):
        assert code(shop.post("/v1/" + path.format(text))) == (404, "not_found"), path
    order = {"from_account": text[:64], "to_account": text[:63] + "!", "asset": "BTC", "amount": "1", "reference": "r"}
    assert code(shop.post("/v1/transfers", order)) == (404, "not_found")


def test_another_projects_resources_do_not_exist(
    shop: Shop, make_shop: Callable[..., Shop], fund: Callable[[str, int], None]
) -> None:
    mine, other = shop.account(), make_shop()
    fund(mine, 10**8)
    theirs = other.account()
    given = shop.post(f"/v1/accounts/{mine}/addresses", {"asset": "BTC"}).json
    exit_ = {"account": mine, "asset": "BTC", "amount": "0.1", "address": PAYEE, "reference": "r"}
    sent = shop.post("/v1/withdrawals", exit_).json
    moved = {"from_account": mine, "asset": "BTC", "amount": "0.1", "reference": "r"}
    transfer_ = shop.post("/v1/transfers", moved | {"to_account": shop.account()}).json
    for path in (
        f"accounts/{mine}",
        f"accounts/{mine}/entries",
        f"addresses/{given['id']}",
        f"addresses/{given['address']}",
        f"withdrawals/{sent['id']}",
        f"transfers/{transfer_['id']}",
        f"api_keys/{shop.key.public_id}",
        f"withdrawals?account={mine}",
    ):
        assert code(other.get(f"/v1/{path}")) == (404, "not_found"), path
    assert code(other.delete(f"/v1/api_keys/{shop.key.public_id}")) == (404, "not_found")
    assert code(other.post(f"/v1/withdrawals/{sent['id']}/cancel")) == (404, "not_found")
    assert code(other.post("/v1/withdrawals", exit_)) == (404, "not_found")
    assert code(other.post("/v1/transfers", moved | {"to_account": theirs})) == (404, "not_found")
    assert code(shop.post("/v1/transfers", moved | {"to_account": theirs, "reference": "x"})) == (404, "not_found")
    assert other.get("/v1/withdrawals").json["data"] == []


def test_the_house_is_nobodys_account(make_shop: Callable[..., Shop], database: Database) -> None:
    house = database.read(lambda tx: tx.value(select(account.c.public_id).where(account.c.kind == "house")))
    assert code(make_shop(project_id=1).get(f"/v1/accounts/{house}")) == (404, "not_found")


def test_an_account_cannot_pay_itself(shop: Shop, fund: Callable[[str, int], None]) -> None:
    mine = shop.account()
    fund(mine, 1000)
    order = {"from_account": mine, "to_account": mine, "asset": "BTC", "amount": "0.00000001", "reference": "r"}
    assert code(shop.post("/v1/transfers", order)) == (422, "same_account")


@pytest.mark.parametrize(
    "metadata",
    [
        [],
        "x",
        {"a": 1},
        {"a": None},
        {"a": {"b": "c"}},
        {"": "x"},
        {"a" * 65: "x"},
        {str(i): "y" * 1000 for i in range(5)},
    ],
)
def test_metadata_is_small_and_flat(shop: Shop, metadata: Any) -> None:
    body = {"account": shop.account(), "asset": "BTC", "amount": "1", "address": PAYEE, "reference": "r"}
    answer = shop.post("/v1/withdrawals", body | {"metadata": metadata})
    assert answer.status_code == 422
    assert answer.json["errors"][0]["pointer"].startswith("/metadata")


@pytest.mark.parametrize("key", ["", "x" * 256, "caf\u00e9", "a\tb"], ids=["missing", "long", "not ascii", "control"])
def test_an_idempotency_key_is_needed_and_printable(shop: Shop, key: str) -> None:
    answer = shop.raw("/v1/accounts", b'{"reference": "a"}', Idempotency_Key=key)
    assert code(answer) == (400, "idempotency_key_invalid" if key else "idempotency_key_missing")


def test_a_problem_carries_the_request_id(shop: Shop) -> None:
    answer = shop.get("/v1/nothing", X_Request_Id="mine-1")
    assert (answer.json["request_id"], answer.headers["X-Request-Id"]) == ("mine-1", "mine-1")
    assert shop.get("/v1/nothing", X_Request_Id="bad id").headers["X-Request-Id"].startswith("req_")


def test_nothing_of_the_body_is_repeated(shop: Shop) -> None:
    secret = "hunter2-hunter2"
    for raw in (json.dumps({"reference": [secret]}).encode(), b'{"reference": ' + secret.encode()):
        assert secret not in shop.raw("/v1/accounts", raw).text
