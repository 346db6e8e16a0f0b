"""What every answer carries, the document that describes them, and how the process tells of its health."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from openapi_spec_validator import OpenAPIV31SpecValidator
from sqlalchemy import insert, update

import migrations
from api.app import RESOURCES, create_app
from api.errors import CODES
from api.openapi import document
from devstack.mariadb import MariaDB
from devstack.redis import RedisServer
from jobs import bootstrap
from ledger import history
from ledger.db import Database
from ledger.ids import new_id
from ledger.schema import address, asset, chain, deposit, task
from settings import SettingsError
from tests.api.conftest import make_settings
from tests.api.shop import Shop, code


def spec(app: Flask) -> Any:
    return app.test_client().get("/openapi.json").json


def test_the_document_is_valid_openapi_31(app: Flask) -> None:
    OpenAPIV31SpecValidator(spec(app)).validate()
    assert spec(app)["openapi"] == "3.1.0"


def test_every_reference_in_the_document_leads_somewhere(app: Flask) -> None:
    found = spec(app)
    refs = set(re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(found)))
    for ref in refs:
        place = found
        for part in ref.split("/"):
            place = place[part]


def test_every_route_is_in_the_document(app: Flask) -> None:
    documented = {(path, method.upper()) for path, item in spec(app)["paths"].items() for method in item}
    routes = {
        (re.sub(r"<([a-z_]+)>", r"{\1}", rule.rule), method)
        for rule in app.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
        if rule.rule.startswith("/v1/")
    }
    assert routes - documented == set()
    assert documented - routes == {("/healthz", "GET"), ("/readyz", "GET"), ("/metrics", "GET")}


def test_every_code_of_an_endpoint_is_known() -> None:
    assert {code for r in RESOURCES for e in r.endpoints for code in e.errors} <= CODES.keys()
    assert document(RESOURCES)["components"]["schemas"]["Problem"]["properties"]["code"]["enum"] == list(CODES)


def test_every_call_that_names_a_resource_may_answer_404(app: Flask) -> None:
    """Also where the id stands in the body or the query: two accounts, an escrow's buyer, an account of a list."""
    for path, method in (
        ("/v1/transfers", "post"),
        ("/v1/escrows", "post"),
        ("/v1/swaps", "post"),
        ("/v1/withdrawals/batch", "post"),
        ("/v1/withdrawals", "get"),
        ("/v1/webhook_deliveries", "get"),
    ):
        assert "`not_found`" in spec(app)["paths"][path][method]["responses"]["404"]["description"], path


def test_the_docs_page_loads_nothing_from_outside(app: Flask) -> None:
    client = app.test_client()
    page = client.get("/docs")
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    assert "unsafe" not in page.headers["Content-Security-Policy"]
    assert "//" not in re.sub(r"<!doctype html>", "", page.text)
    for path in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        answer = client.get(path)
        assert answer.status_code == 200
        assert len(answer.data) > 100
    assert "http" not in client.get("/docs/init.js").text
    assert client.get("/docs/LICENSE").status_code == 200
    assert client.get("/docs/../app.py").status_code == 404
    assert 'id="insufficient_funds"' in client.get("/docs/problems").text


def test_answers_carry_security_headers(shop: Shop) -> None:
    for answer in (shop.get("/v1/accounts"), shop.get("/v1/nothing"), shop.app.test_client().get("/healthz")):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert answer.headers["Cache-Control"] == "no-store"
        assert "Retry-After" not in answer.headers


def test_an_unchanged_resource_is_not_sent_again(shop: Shop) -> None:
    path = f"/v1/accounts/{shop.account()}"
    tag = shop.get(path).headers["ETag"]
    again = shop.get(path, If_None_Match=tag)
    assert (again.status_code, again.data) == (304, b"")
    assert shop.get(path, If_None_Match='"other"').status_code == 200


def test_confirmations_change_the_etag_and_count_from_the_tip(shop: Shop, database: Database) -> None:
    owner = shop.account()
    given = shop.post(f"/v1/accounts/{owner}/addresses", {"asset": "BTC"}).json
    public_id, txid = new_id("dp"), secrets.token_hex(32)

    def store(tx: Any) -> None:
        row = tx.one(address.select().where(address.c.public_id == given["id"]))
        values = {"public_id": public_id, "chain": "bitcoin", "asset": "BTC", "output_key": f"{txid}:3"}
        values |= {"txid": txid, "address": row.address, "address_id": row.id, "account_id": row.account_id}
        values |= {"project_id": row.project_id, "units": 700, "seen": "confirmed", "height": 10, "state": "confirming"}
        row_id = tx.insert(insert(deposit).values(values | {"created_at": tx.now, "updated_at": tx.now}))
        history.note(tx, "deposit", row_id, None, "detected")
        history.note(tx, "deposit", row_id, "detected", "confirming", "in_block")
        tx.execute(update(chain).values(tip_height=10))

    database.run(store, "deposit")
    first = shop.get(f"/v1/deposits/{public_id}")
    assert (first.json["confirmations"], first.json["vout"], first.json["status"]) == (1, 3, "confirming")
    assert [(h["status"], h["reason"]) for h in first.json["history"]] == [
        ("detected", None),
        ("confirming", "in_block"),
    ]
    assert shop.get(f"/v1/accounts/{owner}/balances").json["data"][0]["pending"]["units"] == "700"
    database.run(lambda tx: tx.execute(update(chain).values(tip_height=12)), "tip")
    second = shop.get(f"/v1/deposits/{public_id}", If_None_Match=first.headers["ETag"])
    assert (second.status_code, second.json["confirmations"]) == (200, 3)
    assert [row["id"] for row in shop.get(f"/v1/deposits?account={owner}&status=confirming").json["data"]] == [
        public_id
    ]
    database.run(lambda tx: tx.execute(update(chain).values(tip_height=9)), "tip")
    assert shop.get(f"/v1/deposits/{public_id}").json["confirmations"] == 0


def test_events_are_one_gapless_sequence_of_the_project(
    shop: Shop, make_shop: Callable[..., Shop], fund: Callable[[str, int], None], number_events: Callable[[], None]
) -> None:
    for each in (shop, make_shop()):
        giver, taker = each.account(), each.account()
        fund(giver, 10)
        order = {"from_account": giver, "to_account": taker, "asset": "BTC", "amount": "0.00000001"}
        done = [each.post("/v1/transfers", order | {"reference": str(n)}).json for n in range(5)]
        assert each.get("/v1/events").json == {"data": [], "next_after": 0, "has_more": False}  # not numbered yet
        number_events()
        first = each.get("/v1/events?limit=3").json
        rest = each.get(f"/v1/events?after={first['next_after']}").json
        events = first["data"] + rest["data"]
        assert [event["sequence"] for event in events] == [1, 2, 3, 4, 5]
        assert [event["data"]["object"] for event in events] == done
        assert {(event["type"], event["livemode"]) for event in events} == {("transfer.completed", False)}
        assert (first["has_more"], rest["has_more"], rest["next_after"]) == (True, False, 5)
        assert each.get("/v1/events?after=5").json == {"data": [], "next_after": 5, "has_more": False}
    for wrong in ("after=-1", "after=x", "after=9223372036854775808", "limit=0"):
        assert code(shop.get(f"/v1/events?{wrong}")) == (422, "validation_failed")


def test_assets_tell_their_limits(shop: Shop) -> None:
    rows = {row["code"]: row for row in shop.get("/v1/assets").json["data"]}
    assert {code: (rows[code]["chain"], rows[code]["decimals"]) for code in ("BTC", "XMR", "ETH")} == {
        "BTC": ("bitcoin", 8),
        "XMR": ("monero", 12),
        "ETH": ("ethereum", 18),
    }
    for row in rows.values():
        assert row["flows"] == dict.fromkeys(("deposits", "withdrawals", "transfers", "escrows", "swaps"), True)
    assert rows["XMR"]["deposit_minimum"] == {"amount": "0.001000000000", "asset": "XMR", "units": "1000000000"}


def test_a_chain_that_is_not_served_does_not_degrade(app: Flask, database: Database) -> None:
    coin = update(asset).where(asset.c.chain == "monero")
    database.run(lambda tx: tx.execute(coin.values(enabled=0)), "test")
    try:
        client = app.test_client()
        assert "chain:monero" not in client.get("/readyz").json["checks"]
        assert 'chain="monero"' not in client.get("/metrics").text
    finally:
        database.run(lambda tx: tx.execute(coin.values(enabled=1)), "test")
    assert "chain:monero" in client.get("/readyz").json["checks"]


def test_health_needs_no_key_and_tells_what_is_degraded(app: Flask) -> None:
    client = app.test_client()
    assert client.get("/healthz").json == {"status": "ok"}
    ready = client.get("/readyz")
    assert ready.status_code == 200
    assert ready.json["checks"]["schema"]["ok"]
    assert ready.json["checks"]["chain:bitcoin"] == {
        "ok": False,
        "reason": "never_seen",
        "height": ready.json["checks"]["chain:bitcoin"]["height"],
    }
    assert ready.json["status"] == "degraded"


def test_metrics_count_requests_by_route(shop: Shop, app: Flask) -> None:
    shop.get(f"/v1/accounts/{shop.account()}")
    text = app.test_client().get("/metrics").text
    assert re.search(
        r'coffer_http_requests_total\{method="GET",route="/v1/accounts/<account_id>",status="200"\} \d', text
    )
    for name in ("coffer_saga_rows", "coffer_due_age_seconds", "coffer_chain_healthy", "coffer_database_up 1.0"):
        assert name in text


def test_metrics_tell_of_trades_and_of_queues_without_a_worker(shop: Shop, app: Flask, database: Database) -> None:
    amount = {"asset": "BTC", "amount": "0.001", "reference": secrets.token_hex(8)}
    made = shop.post("/v1/escrows", {"buyer": shop.account(), "vendor": shop.account()} | amount)
    assert made.status_code == 201, made.json
    hour_ago = database.now() - 3_600 * 1_000_000
    late = update(task).where(task.c.name == "rates").values(due_at=hour_ago)
    database.run(lambda tx: tx.execute(late), "test")
    text = app.test_client().get("/metrics").text
    assert re.search(r'coffer_saga_rows\{asset="BTC",kind="escrow",state="awaiting_funds"\} \d', text)
    assert re.search(r'coffer_queue_late_seconds\{queue="rates"\} 36\d\d', text)
    for kind in ("escrow", "swap", "hedge", "webhook_delivery"):
        assert f'coffer_due_age_seconds{{kind="{kind}"}}' in text
    assert "coffer_rate_age_seconds" in text


def test_an_app_without_its_secret_does_not_start(database: Database) -> None:
    settings = make_settings(database, api_secret=None)
    with pytest.raises(SettingsError, match="COFFER_API_SECRET"):
        create_app(bootstrap.services(settings, database), settings)


@pytest.fixture
def limited(database: Database, redis_server: RedisServer) -> Callable[..., Flask]:
    def make(**changes: Any) -> Flask:
        settings = make_settings(database, **changes)
        return create_app(bootstrap.services(make_settings(database), database), settings)

    return make


def test_calls_are_limited_by_key_for_all_processes(
    limited: Callable[..., Flask], redis_server: RedisServer, shop: Shop, make_shop: Callable[..., Shop]
) -> None:
    apps = [limited(api_rate_limit="5/minute", redis_url=redis_server.url) for _ in range(2)]
    answers = [Shop(apps[n % 2], *_rest(shop)).get("/v1/accounts") for n in range(8)]
    assert [a.status_code for a in answers] == [200] * 5 + [429] * 3
    assert answers[0].headers["RateLimit-Limit"] == "5"
    assert answers[0].headers["RateLimit-Remaining"] == "4"
    assert code(answers[5]) == (429, "rate_limited")
    assert int(answers[5].headers["Retry-After"]) > 0
    assert Shop(apps[0], *_rest(make_shop())).get("/v1/accounts").status_code == 200
    assert apps[0].test_client().get("/healthz").status_code == 200


def test_without_redis_calls_are_still_limited(limited: Callable[..., Flask], shop: Shop) -> None:
    app = limited(api_rate_limit="5/minute", redis_url="redis://127.0.0.1:1/0")
    answers = [Shop(app, *_rest(shop)).get("/v1/accounts") for _ in range(8)]
    assert [a.status_code for a in answers] == [200] * 5 + [429] * 3
    assert app.test_client().get("/readyz").json["checks"]["redis"] == {"ok": False, "reason": "unreachable"}


def test_guessing_keys_is_limited_by_address(
    limited: Callable[..., Flask], shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.limits.REFUSED_LIMIT", "3/minute")
    app = limited()
    client = app.test_client()
    statuses = [client.get("/v1/accounts", headers={"Authorization": f"Bearer {n}"}).status_code for n in range(5)]
    assert statuses == [401, 401, 401, 429, 429]


def _rest(shop: Shop) -> tuple[Any, ...]:
    return shop.database, shop.ring, shop.project_id, shop.key, shop.token


class TestDatabaseGone:
    @pytest.fixture
    def server(self, mariadb_server: MariaDB, server_folder: Any) -> Any:
        return mariadb_server

    def test_calls_are_503_and_the_same_key_works_afterwards(
        self, shop: Shop, database: Database, request: pytest.FixtureRequest, app: Flask
    ) -> None:
        if database.sqlite:
            pytest.skip("an embedded database does not go away")
        server: MariaDB = request.getfixturevalue("mariadb_server")
        shop.get("/v1/accounts")
        server.stop()
        try:
            answer = shop.post("/v1/accounts", {"reference": "a"}, key="k")
            assert code(answer) == (503, "database_unavailable")
            assert int(answer.headers["Retry-After"]) >= 1
            assert code(shop.get("/v1/accounts")) == (503, "database_unavailable")
            ready = app.test_client().get("/readyz")
            assert (ready.status_code, ready.json["status"]) == (503, "unavailable")
            assert "coffer_database_up 0.0" in app.test_client().get("/metrics").text
            assert app.test_client().get("/healthz").status_code == 200
        finally:
            server.start()
        assert shop.post("/v1/accounts", {"reference": "a"}, key="k").status_code == 201


def test_the_program_is_written_for_the_newest_migration() -> None:
    from alembic.script import ScriptDirectory

    assert ScriptDirectory(str(Path(migrations.__file__).parent)).get_current_head() == migrations.HEAD
