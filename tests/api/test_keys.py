from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import func, select, update

from api import auth
from api.app import RESOURCES
from jobs import housekeeping, keys, views
from ledger import audit
from ledger.db import Database
from ledger.schema import api_key, idempotency, request_nonce, withdrawal
from tests.api.shop import Shop, code
from tests.api.test_withdrawals import order

ENDPOINTS = [e for r in RESOURCES for e in r.endpoints]


def as_token(shop: Shop, token: str) -> Shop:
    return Shop(shop.app, shop.database, shop.ring, shop.project_id, shop.key, token)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer x",
        "Basic {}",
        "Bearer {}x",
        "Bearer {} {}",
        "{}",
        "Bearer cf_test_" + "0" * 32 + "_" + "0" * 48,
    ],
)
def test_without_a_whole_key_nothing_is_told(shop: Shop, header: str) -> None:
    answer = shop.get("/v1/accounts", Authorization=header.replace("{}", shop.token))
    assert code(answer) == (401, "unauthorized")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_wrong_secret_and_another_mode_are_refused(shop: Shop) -> None:
    last = "0" if shop.token[-1] != "0" else "1"
    assert code(as_token(shop, shop.token[:-1] + last).get("/v1/accounts")) == (401, "unauthorized")
    assert code(as_token(shop, shop.token.replace("test", "live")).get("/v1/accounts")) == (401, "unauthorized")


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda e: e.name)
def test_each_call_needs_its_scope(make_shop: Callable[..., Shop], endpoint: Any) -> None:
    if endpoint.scope is None:
        return
    lacking = make_shop(scopes=sorted(set(keys.SCOPES) - {endpoint.scope}))
    having = make_shop(scopes=[endpoint.scope])
    path = "/v1" + endpoint.path.replace("<", "x").replace(">", "x")
    body = b"{}" if endpoint.body is not None else None
    refused = lacking.call(endpoint.method, path, body, {"Idempotency-Key": "k"})
    assert code(refused) == (403, "scope_missing")
    assert refused.json["scope"] == endpoint.scope
    assert having.call(endpoint.method, path, body, {"Idempotency-Key": "k"}).status_code not in (401, 403)


def test_a_key_is_valid_from_its_networks_only(make_shop: Callable[..., Shop]) -> None:
    assert make_shop(cidrs=["127.0.0.0/8"]).get("/v1/accounts").status_code == 200
    assert code(make_shop(cidrs=["10.0.0.0/8", "2001:db8::/32"]).get("/v1/accounts")) == (403, "address_not_allowed")


def test_an_ended_key_is_refused_at_once(shop: Shop, make_shop: Callable[..., Shop], database: Database) -> None:
    other = make_shop(project_id=shop.project_id)
    assert other.post("/v1/accounts", {"reference": "a"}).status_code == 201  # it is remembered now
    assert shop.delete(f"/v1/api_keys/{other.key.public_id}").json["status"] == "revoked"
    assert code(other.post("/v1/accounts", {"reference": "b"})) == (401, "unauthorized")
    assert code(other.get("/v1/accounts")) == (401, "unauthorized")
    assert shop.delete(f"/v1/api_keys/{other.key.public_id}").status_code == 200
    ended = make_shop(expires_at=database.now() + 100_000)
    time.sleep(0.15)
    assert code(ended.get("/v1/accounts")) == (401, "unauthorized")


def test_a_new_key_works_and_its_secret_is_nowhere_in_the_database(shop: Shop, database: Database) -> None:
    body = {"name": "till", "scopes": ["accounts:read"], "cidrs": ["127.0.0.1/32"], "signed": True}
    made = shop.post("/v1/api_keys", body, key="k")
    assert made.status_code == 201
    assert as_token(shop, made.json["key"]).get("/v1/accounts").status_code == 200
    again = shop.post("/v1/api_keys", body, key="k")
    assert (again.json, again.headers["Idempotent-Replayed"]) == (made.json, "true")
    read = shop.get(f"/v1/api_keys/{made.json['id']}").json
    assert {"key", "signing_secret", "sealed"} & read.keys() == set()
    assert "secret" not in json.dumps(shop.get("/v1/api_keys").json)
    i = idempotency.c
    stored = database.read(
        lambda tx: tx.value(select(i.body).where(i.project_id == shop.project_id, i.idempotency_key == "k"))
    )
    secret = made.json["key"].rpartition("_")[2]
    assert secret.encode() not in stored
    assert made.json["signing_secret"].encode() not in stored
    hashed = database.read(lambda tx: tx.value(select(api_key.c.secret_hash).where(api_key.c.public_id == read["id"])))
    assert secret not in hashed
    assert database.read(audit.faults) == []


def test_a_key_cannot_make_a_key_with_more(make_shop: Callable[..., Shop], database: Database) -> None:
    soon = database.now() + 3600 * 1_000_000
    narrow = make_shop(scopes=["keys:write", "accounts:read"], cidrs=["127.0.0.0/8"], expires_at=soon)
    fits = {"name": "n", "scopes": ["accounts:read"], "cidrs": ["127.0.0.1/32"], "expires_at": views.when(soon - 1)}
    assert narrow.post("/v1/api_keys", fits).status_code == 201
    for more in (
        {"scopes": ["accounts:write"]},
        {"scopes": ["accounts:read", "admin"]},
        {"cidrs": None},
        {"cidrs": ["0.0.0.0/0"]},
        {"cidrs": ["127.0.0.1/32", "10.0.0.1/32"]},
        {"expires_at": None},
        {"expires_at": views.when(soon + 1)},
    ):
        assert code(narrow.post("/v1/api_keys", fits | more)) == (403, "scope_exceeded"), more
    for wrong in (
        {"scopes": ["nothing"]},
        {"scopes": []},
        {"cidrs": ["127.0.0.1/33"]},
        {"name": ""},
        {"holder": "bob"},
    ):
        assert narrow.post("/v1/api_keys", fits | wrong).status_code in (403, 422), wrong


def test_rotation_keeps_rights_and_holder(shop: Shop, make_shop: Callable[..., Shop], database: Database) -> None:
    old = make_shop(project_id=shop.project_id, scopes=["accounts:read"], name="till")
    made = shop.post(f"/v1/api_keys/{old.key.public_id}/rotate", {"overlap_seconds": 0})
    assert made.status_code == 201
    assert (made.json["name"], made.json["scopes"], made.json["holder"]) == ("till", ["accounts:read"], "ann")
    assert as_token(shop, made.json["key"]).get("/v1/accounts").status_code == 200
    assert code(old.get("/v1/accounts")) == (401, "unauthorized")
    assert code(shop.post(f"/v1/api_keys/{old.key.public_id}/rotate")) == (409, "state_conflict")
    kept = make_shop(project_id=shop.project_id)
    shop.post(f"/v1/api_keys/{kept.key.public_id}/rotate")
    assert kept.get("/v1/accounts").status_code == 200


def test_a_key_is_replaced_once(shop: Shop, make_shop: Callable[..., Shop]) -> None:
    """A second successor would have the end that the first rotation gave the old key, and be gone in an hour."""
    old = make_shop(project_id=shop.project_id, scopes=["accounts:read"])
    path = f"/v1/api_keys/{old.key.public_id}"
    made = shop.post(f"{path}/rotate").json
    again = shop.post(f"{path}/rotate")
    assert code(again) == (409, "state_conflict")
    assert made["id"] in again.json["detail"]
    assert (made["expires_at"], made["replaced_by"]) == (None, None)
    assert shop.get(path).json["replaced_by"] == made["id"]
    assert shop.post(f"/v1/api_keys/{made['id']}/rotate").status_code == 201


def test_a_key_cannot_take_over_another_persons_key(shop: Shop, make_shop: Callable[..., Shop]) -> None:
    bobs = make_shop(project_id=shop.project_id, holder="bob")
    assert code(shop.post(f"/v1/api_keys/{bobs.key.public_id}/rotate")) == (403, "scope_exceeded")


class TestSignatures:
    @pytest.fixture
    def signer(self, make_shop: Callable[..., Shop]) -> Shop:
        return make_shop(signed=True)

    @pytest.fixture
    def secret(self, signer: Shop) -> str:
        return signer.ring.signing_secret(signer.key.public_id, 1)

    @pytest.fixture
    def owner(self, signer: Shop, fund: Callable[[str, int], None]) -> str:
        found = signer.account()
        fund(found, 10**8)
        return found

    def test_exits_need_a_signature(self, signer: Shop, owner: str) -> None:
        for path, body in (
            ("/v1/withdrawals", order(owner)),
            ("/v1/withdrawals/batch", {"withdrawals": [order(owner)]}),
            ("/v1/withdrawals/wd_1/approve", None),
            ("/v1/api_keys", {"name": "n", "scopes": ["accounts:read"]}),
            (f"/v1/api_keys/{signer.key.public_id}/rotate", {}),
        ):
            assert code(signer.post(path, body)) == (401, "signature_required"), path

    def test_a_signed_request_is_done_once(self, signer: Shop, owner: str, secret: str, database: Database) -> None:
        first = signer.signed("/v1/withdrawals", order(owner), secret, "k", nonce="n" * 16)
        assert first.status_code == 202
        assert code(signer.signed("/v1/withdrawals", order(owner), secret, "k", nonce="n" * 16)) == (
            401,
            "signature_invalid",
        )
        again = signer.signed("/v1/withdrawals", order(owner), secret, "k", nonce="m" * 16)
        assert (again.status_code, again.data) == (202, first.data)

    def test_what_is_signed_cannot_be_changed(self, signer: Shop, owner: str, secret: str, database: Database) -> None:
        from api.signing import sign

        raw, now = json.dumps(order(owner)).encode(), str(int(time.time()))
        headers = {"X-Timestamp": now, "X-Nonce": "n" * 16, "Idempotency-Key": "k"}
        headers["X-Signature"] = sign(secret, "POST", "/v1/withdrawals", now, "n" * 16, "k", raw)
        for change in (
            {"X-Timestamp": str(int(now) + 1)},
            {"X-Nonce": "m" * 16},
            {"Idempotency-Key": "k2"},
            {"X-Signature": "0" * 64},
            {"X-Signature": "x"},
            {"X-Nonce": ""},
            {"X-Nonce": "short"},
            {"X-Timestamp": "soon"},
        ):
            assert code(signer.call("POST", "/v1/withdrawals", raw, headers | change)) == (401, "signature_invalid"), (
                change
            )
        assert code(signer.call("POST", "/v1/withdrawals", raw + b" ", headers)) == (401, "signature_invalid")
        assert code(signer.call("POST", "/v1/withdrawals/batch", raw, headers)) == (401, "signature_invalid")
        counted = select(func.count()).select_from(withdrawal).where(withdrawal.c.project_id == signer.project_id)
        assert database.read(lambda tx: tx.value(counted)) == 0

    @pytest.mark.parametrize("away", [-400, 400])
    def test_an_old_or_early_timestamp_is_refused(self, signer: Shop, owner: str, secret: str, away: int) -> None:
        answer = signer.signed("/v1/withdrawals", order(owner), secret, "k", at=int(time.time()) + away)
        assert code(answer) == (401, "signature_invalid")

    def test_parallel_replays_of_a_signed_request_have_one_effect(self, signer: Shop, owner: str, secret: str) -> None:
        def send(_: int) -> int:
            return signer.signed("/v1/withdrawals", order(owner), secret, "k", nonce="n" * 16).status_code

        with ThreadPoolExecutor(8) as pool:
            statuses = sorted(pool.map(send, range(8)))
        assert statuses == [202] + [401] * 7

    def test_a_signer_makes_signers_only(self, signer: Shop, secret: str) -> None:
        body = {"name": "n", "scopes": ["accounts:read"]}
        assert code(signer.signed("/v1/api_keys", body, secret, "k1")) == (403, "scope_exceeded")
        made = signer.signed("/v1/api_keys", body | {"signed": True}, secret, "k2")
        assert len(made.json["signing_secret"]) == 64

    def test_old_nonces_are_forgotten(self, signer: Shop, owner: str, secret: str, database: Database) -> None:
        signer.signed("/v1/withdrawals", order(owner), secret, "k")
        mine = request_nonce.c.api_key_id == signer.key.id
        counted = select(func.count()).select_from(request_nonce).where(mine)
        effect = housekeeping.tidy(None, None).effect  # type: ignore[arg-type]  # it needs neither

        def tidy(tx: Any) -> None:
            effect(tx, None)  # type: ignore[misc, arg-type]

        database.run(tidy, "tidy")
        assert database.read(lambda tx: tx.value(counted)) == 1
        database.run(lambda tx: tx.execute(update(request_nonce).where(mine).values(expires_at=1)), "test")
        database.run(tidy, "tidy")
        assert database.read(lambda tx: tx.value(counted)) == 0


def test_a_used_key_shows_when(shop: Shop) -> None:
    assert auth.USED_EVERY_US > 0
    shop.get("/v1/accounts")
    assert shop.get(f"/v1/api_keys/{shop.key.public_id}").json["last_used_at"] is not None
