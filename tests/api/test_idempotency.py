from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import func, select, update

from ledger import balances
from ledger.db import Database
from ledger.errors import CommitUnknown
from ledger.schema import account, api_key, idempotency, internal_transfer
from tests.api.shop import Shop, code


def count(database: Database, table: Any, project_id: int) -> int:
    query = select(func.count()).select_from(table).where(table.c.project_id == project_id)
    return int(database.read(lambda tx: tx.value(query)))


def at_once(callers: int, call: Callable[[int], Any]) -> list[Any]:
    barrier = Barrier(callers)

    def run(number: int) -> Any:
        barrier.wait()
        return call(number)

    with ThreadPoolExecutor(callers) as pool:
        return list(pool.map(run, range(callers)))


def test_a_repeat_gets_the_same_bytes_and_no_second_effect(shop: Shop, database: Database) -> None:
    first = shop.post("/v1/accounts", {"reference": "a", "kind": "user"}, key="k")
    again = shop.raw("/v1/accounts", b' {"kind":"user",\n"reference":"a"} ', Idempotency_Key="k")
    assert (again.status_code, again.data) == (first.status_code, first.data)
    assert again.headers["Location"] == first.headers["Location"]
    assert again.headers["ETag"] == first.headers["ETag"]
    assert again.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers
    assert count(database, account, shop.project_id) == 1


def test_a_key_serves_one_request_only(shop: Shop, database: Database) -> None:
    shop.post("/v1/accounts", {"reference": "a"}, key="k")
    assert code(shop.post("/v1/accounts", {"reference": "b"}, key="k")) == (422, "idempotency_key_reused")
    owner = shop.account()
    assert code(shop.post(f"/v1/accounts/{owner}/addresses", {"asset": "BTC"}, key="k")) == (
        422,
        "idempotency_key_reused",
    )
    assert count(database, account, shop.project_id) == 2


def test_keys_belong_to_the_project_and_survive_a_rotation(shop: Shop, make_shop: Callable[..., Shop]) -> None:
    first = shop.post("/v1/accounts", {"reference": "a"}, key="k")
    other, rotated = make_shop(), make_shop(project_id=shop.project_id)
    assert other.post("/v1/accounts", {"reference": "a"}, key="k").json["id"] != first.json["id"]
    assert rotated.post("/v1/accounts", {"reference": "a"}, key="k").json == first.json


def test_the_answer_to_a_person_is_shown_to_nobody_else(
    shop: Shop, make_shop: Callable[..., Shop], database: Database
) -> None:
    """It may hold the token of a new API key."""
    bob, body = make_shop(project_id=shop.project_id, holder="bob"), {"name": "till", "scopes": ["accounts:read"]}
    old = make_shop(project_id=shop.project_id)
    made = old.post("/v1/api_keys", body, key="till")
    path = f"/v1/api_keys/{old.key.public_id}/rotate"
    rotated = shop.post(path, {}, key="rotate")
    assert (made.status_code, rotated.status_code) == (201, 201)
    before = count(database, api_key, shop.project_id)
    for refused in (bob.post("/v1/api_keys", body, key="till"), bob.post(path, {}, key="rotate")):
        assert code(refused) == (422, "idempotency_key_reused")
        assert "cf_test_" not in refused.text
    assert count(database, api_key, shop.project_id) == before
    heir = replace(old, token=rotated.json["key"])
    assert heir.post("/v1/api_keys", body, key="till").json == made.json  # the same person, after a rotation


def sealed_calls(shop: Shop, other: Shop) -> list[tuple[str, dict[str, Any]]]:
    """Every kind of call whose answer holds a secret; the first two that of a key with more rights than some."""
    endpoint = shop.post("/v1/webhook_endpoints", {"url": "https://shop.example/old"}).json["id"]
    return [
        ("/v1/api_keys", {"name": "payer", "scopes": ["withdrawals:create"], "signed": True}),
        (f"/v1/api_keys/{other.key.public_id}/rotate", {}),
        ("/v1/webhook_endpoints", {"url": "https://shop.example/new"}),
        (f"/v1/webhook_endpoints/{endpoint}/rotate_secret", {}),
    ]


def test_a_secret_is_opened_for_the_key_that_made_the_call_and_for_no_weaker_one(
    shop: Shop, make_shop: Callable[..., Shop], database: Database
) -> None:
    """Or a person's key that may make keys would get from an answer the rights that it may give to none."""
    weak = make_shop(project_id=shop.project_id, scopes=["keys:write", "webhooks:write", "events:read"])
    for number, (path, body) in enumerate(sealed_calls(shop, make_shop(project_id=shop.project_id))):
        made = shop.post(path, body, key=f"k{number}")
        assert made.status_code < 300
        before = count(database, api_key, shop.project_id)
        refused = weak.post(path, body, key=f"k{number}")
        assert code(refused) == (422, "idempotency_key_reused"), path
        assert not any(mark in refused.text for mark in ("cf_test_", "whsec_", "signing_secret"))
        assert count(database, api_key, shop.project_id) == before
        assert shop.post(path, body, key=f"k{number}").json == made.json


def test_a_secret_is_opened_for_the_heirs_of_the_key_that_made_the_call(
    shop: Shop, make_shop: Callable[..., Shop]
) -> None:
    """But not the other way round: a key that was replaced is not shown what its heir has made."""
    first = make_shop(project_id=shop.project_id)
    old, body = first, {"name": "till", "scopes": ["accounts:read"]}
    made = old.post("/v1/api_keys", body, key="till").json
    for _ in range(2):
        rotated = shop.post(f"/v1/api_keys/{old.key.public_id}/rotate").json
        row = SimpleNamespace(public_id=rotated["id"])
        old = replace(old, token=rotated["key"], key=row)
        assert old.post("/v1/api_keys", body, key="till").json == made
    assert old.post("/v1/api_keys", body, key="heirs").status_code == 201
    assert code(first.post("/v1/api_keys", body, key="heirs")) == (422, "idempotency_key_reused")


def test_what_holds_no_secret_is_told_to_another_key_of_the_same_person(
    shop: Shop, make_shop: Callable[..., Shop]
) -> None:
    weak, order = make_shop(project_id=shop.project_id, scopes=["accounts:write"]), {"reference": "a"}
    assert shop.post("/v1/accounts", order, key="k").json == weak.post("/v1/accounts", order, key="k").json


def test_an_answer_that_an_older_version_stored_is_not_given_again_and_not_done_again(
    shop: Shop, database: Database
) -> None:
    """Nothing in it says whose it was."""
    made = shop.post("/v1/accounts", {"reference": "a"}, key="k")
    digest = hashlib.sha256(b'POST\n/v1/accounts\n{"reference":"a"}').hexdigest()
    i = idempotency.c
    of = update(idempotency).where(i.project_id == shop.project_id, i.idempotency_key == "k")
    database.run(lambda tx: tx.execute(of.values(request_hash=digest)), "older")
    assert code(shop.post("/v1/accounts", {"reference": "a"}, key="k")) == (422, "idempotency_key_reused")
    anew = shop.post("/v1/accounts", {"reference": "a"}, key="k2")
    assert (code(anew), anew.json["existing"]) == ((409, "reference_exists"), made.json["id"])
    assert count(database, account, shop.project_id) == 1


def test_a_refusal_is_stored_and_its_effect_is_not(
    shop: Shop, fund: Callable[[str, int], None], database: Database
) -> None:
    giver, taker = shop.account(), shop.account()
    order = {"from_account": giver, "to_account": taker, "asset": "BTC", "amount": "0.00000001", "reference": "r"}
    first = shop.post("/v1/transfers", order, key="k")
    assert code(first) == (409, "insufficient_funds")
    fund(giver, 100)
    again = shop.post("/v1/transfers", order, key="k")
    assert (again.data, again.headers["Idempotent-Replayed"]) == (first.data, "true")
    assert again.content_type == "application/problem+json"
    assert count(database, internal_transfer, shop.project_id) == 0
    assert shop.post("/v1/transfers", order, key="k2").status_code == 201


def test_a_mistake_is_not_stored(shop: Shop, database: Database) -> None:
    assert shop.post("/v1/accounts", {"reference": 5}, key="k").status_code == 422
    assert code(shop.post("/v1/accounts/ac_0/addresses", {"asset": "BTC"}, key="k")) == (404, "not_found")
    owner = shop.account()
    assert code(shop.post(f"/v1/accounts/{owner}/addresses", {"asset": "XXX"}, key="k")) == (422, "asset_unknown")
    assert shop.post("/v1/accounts", {"reference": "a"}, key="k").status_code == 201


@pytest.mark.parametrize("callers", [8, 32])
def test_parallel_twins_have_one_effect(
    shop: Shop, fund: Callable[[str, int], None], database: Database, callers: int
) -> None:
    giver, taker = shop.account(), shop.account()
    fund(giver, 10_000)
    order = {"from_account": giver, "to_account": taker, "asset": "BTC", "amount": "0.00000100", "reference": "r"}
    answers = at_once(callers, lambda _: shop.post("/v1/transfers", order, key="k"))
    done = [a for a in answers if a.status_code == 201]
    assert len({a.data for a in done}) == 1
    assert all(code(a) == (409, "idempotency_in_progress") for a in answers if a not in done)
    assert sum("Idempotent-Replayed" not in a.headers for a in done) == 1
    assert count(database, internal_transfer, shop.project_id) == 1
    assert shop.get(f"/v1/accounts/{giver}/balances").json["data"][0]["available"]["units"] == "9900"


@pytest.mark.parametrize("callers", [8, 32])
def test_parallel_keys_with_one_reference_have_one_effect(
    shop: Shop, fund: Callable[[str, int], None], database: Database, callers: int
) -> None:
    giver, taker = shop.account(), shop.account()
    fund(giver, 10_000)
    order = {"from_account": giver, "to_account": taker, "asset": "BTC", "amount": "0.00000100", "reference": "r"}
    answers = at_once(callers, lambda n: shop.post("/v1/transfers", order, key=f"k{n}"))
    assert Counter(a.status_code for a in answers) == {201: 1, 409: callers - 1}
    made = next(a.json["id"] for a in answers if a.status_code == 201)
    assert {a.json["existing"] for a in answers if a.status_code == 409} == {made}
    assert count(database, internal_transfer, shop.project_id) == 1


def test_a_hundred_parallel_transfers_spend_a_balance_once(
    shop: Shop, fund: Callable[[str, int], None], database: Database
) -> None:
    giver, taker = shop.account(), shop.account()
    fund(giver, 100)
    order = {"from_account": giver, "to_account": taker, "asset": "BTC", "amount": "0.00000100"}
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda n: shop.post("/v1/transfers", order | {"reference": str(n)}), range(100)))
    assert Counter(a.status_code for a in answers) == {201: 1, 409: 99}
    assert database.read(balances.faults) == []


def test_a_commit_whose_reply_was_lost_is_read_back(
    shop: Shop, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = database.run

    def lost(unit: Any, name: str) -> Any:
        run(unit, name)
        raise CommitUnknown("the reply was lost")

    monkeypatch.setattr(database, "run", lost)
    answer = shop.post("/v1/accounts", {"reference": "a"}, key="k")
    monkeypatch.undo()
    assert answer.status_code == 201
    assert shop.post("/v1/accounts", {"reference": "a"}, key="k").json == answer.json
    assert count(database, account, shop.project_id) == 1


def test_a_commit_that_is_lost_for_good_is_503_and_may_be_repeated(
    shop: Shop, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(unit: Any, name: str) -> Any:
        raise CommitUnknown("the connection died before COMMIT arrived")

    monkeypatch.setattr(database, "run", lost)
    answer = shop.post("/v1/accounts", {"reference": "a"}, key="k")
    monkeypatch.undo()
    assert code(answer) == (503, "database_unavailable")
    assert int(answer.headers["Retry-After"]) >= 1
    assert shop.post("/v1/accounts", {"reference": "a"}, key="k").status_code == 201


def test_the_row_and_the_effect_stand_or_fall_together(shop: Shop, database: Database) -> None:
    shop.post("/v1/accounts", {"reference": "a"}, key="k1")
    assert code(shop.post("/v1/accounts", {"reference": "a"}, key="k2")) == (409, "reference_exists")
    i = idempotency.c
    query = select(i.idempotency_key, i.status).where(i.project_id == shop.project_id).order_by(i.idempotency_key)
    assert [tuple(r) for r in database.read(lambda tx: tx.all(query))] == [("k1", 201), ("k2", 409)]
