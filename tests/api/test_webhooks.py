"""Webhook endpoints and deliveries over the API: what a shop's developer does with them, and what is refused."""

from __future__ import annotations

import base64
import json
import re
import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select

from api.app import RESOURCES, create_app
from api.openapi import document
from jobs import bootstrap
from jobs.runtime import Runtime
from jobs.services import Services
from jobs.webhooks.events import EVENTS, NAMES
from ledger import history
from ledger.db import Database
from ledger.schema import audit, event, idempotency, task, webhook_delivery, webhook_endpoint
from tests.api.conftest import make_settings
from tests.api.shop import Shop, code
from tests.receiver import Receiver, receiving

URL = "https://shop.example/hooks"


def make(shop: Shop, **body: Any) -> Any:
    answer = shop.post("/v1/webhook_endpoints", {"url": URL} | body)
    assert answer.status_code == 201, answer.text
    return answer.json


def patch(shop: Shop, path: str, body: Any, **headers: str) -> Any:
    return shop.call("PATCH", path, json.dumps(body).encode(), headers)


# Endpoints


def test_an_endpoint_is_made_read_listed_changed_and_deleted(shop: Shop) -> None:
    made = make(shop, events=["withdrawal.*", "deposit.credited", "withdrawal.*"], description="main")
    path = f"/v1/webhook_endpoints/{made['id']}"
    shown = {name: value for name, value in made.items() if name != "secret"}
    assert shop.get(path).json == shown
    assert (shown["status"], shown["events"]) == ("enabled", ["deposit.credited", "withdrawal.*"])
    second = make(shop)
    assert second["events"] == ["*"]
    listed = shop.get("/v1/webhook_endpoints").json
    assert [row["id"] for row in listed["data"]] == [second["id"], made["id"]]
    page = shop.get("/v1/webhook_endpoints?limit=1").json
    rest = shop.get(f"/v1/webhook_endpoints?limit=1&cursor={page['next_cursor']}").json
    assert (page["has_more"], rest["data"], rest["has_more"]) == (True, [shown], False)
    changed = patch(shop, path, {"url": f"{URL}/2", "description": None})
    assert changed.status_code == 200
    assert (changed.json["url"], changed.json["description"]) == (f"{URL}/2", None)
    assert changed.json["events"] == shown["events"]
    for _ in range(2):
        gone = shop.delete(path)
        assert (gone.status_code, gone.json["status"]) == (200, "deleted")
    assert code(shop.get(path)) == (404, "not_found")
    assert [row["id"] for row in shop.get("/v1/webhook_endpoints").json["data"]] == [second["id"]]
    for call in ("enable", "disable", "test", "rotate_secret"):
        assert code(shop.post(f"{path}/{call}")) == (404, "not_found")
    assert code(patch(shop, path, {"url": URL})) == (404, "not_found")


def test_a_change_may_name_the_version_it_is_of(shop: Shop) -> None:
    path = f"/v1/webhook_endpoints/{make(shop)['id']}"
    tag = shop.get(path).headers["ETag"]
    assert patch(shop, path, {"description": "a"}, If_Match=tag).status_code == 200
    assert code(patch(shop, path, {"description": "b"}, If_Match=tag)) == (412, "version_conflict")
    assert code(shop.post(f"{path}/disable", If_Match=tag)) == (412, "version_conflict")
    assert shop.get(path).json["description"] == "a"


def test_an_endpoint_is_switched_off_and_on(shop: Shop) -> None:
    path = f"/v1/webhook_endpoints/{make(shop)['id']}"
    for _ in range(2):
        off = shop.post(f"{path}/disable").json
        assert (off["status"], off["status_reason"]) == ("disabled", "customer")
    for _ in range(2):
        on = shop.post(f"{path}/enable").json
        assert (on["status"], on["status_reason"]) == ("enabled", None)


def test_a_secret_is_shown_once_and_to_a_repeat_and_stored_nowhere(shop: Shop, database: Database) -> None:
    body = {"url": URL}
    first = shop.post("/v1/webhook_endpoints", body, key="same")
    again = shop.post("/v1/webhook_endpoints", body, key="same")
    assert (first.json, again.headers["Idempotent-Replayed"]) == (again.json, "true")
    secret, path = first.json["secret"], f"/v1/webhook_endpoints/{first.json['id']}"
    assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32
    assert secret not in shop.get(path).text + shop.get("/v1/webhook_endpoints").text
    rotated = shop.post(f"{path}/rotate_secret", {"overlap_seconds": 60})
    assert rotated.status_code == 200
    assert rotated.json["secret"] not in (secret, None)
    assert rotated.json["previous_secret_until"] > rotated.json["updated_at"]
    at_once = shop.post(f"{path}/rotate_secret", {"overlap_seconds": 0}).json
    assert at_once["previous_secret_until"] is None
    stored = database.read(
        lambda tx: [str(row) for table in (idempotency, webhook_endpoint, audit) for row in tx.all(select(table))]
    )
    for shown in (secret, rotated.json["secret"], at_once["secret"]):
        assert not any(shown in row or shown.removeprefix("whsec_") in row for row in stored)


def test_acts_on_endpoints_are_in_the_audit_log(shop: Shop, database: Database) -> None:
    made = make(shop)
    path = f"/v1/webhook_endpoints/{made['id']}"
    patch(shop, path, {"url": f"{URL}/2"})
    for call in ("disable", "enable", "rotate_secret"):
        shop.post(f"{path}/{call}")
    shop.delete(path)
    rows = database.read(lambda tx: tx.all(select(audit).where(audit.c.target == made["id"]).order_by(audit.c.id)))
    acts = ["create", "change", "disable", "enable", "rotate", "delete"]
    assert [row.action for row in rows] == [f"webhook_endpoint.{act}" for act in acts]
    assert {row.actor for row in rows} == {f"key:{shop.key.public_id}"}


def test_a_project_has_a_bounded_number_of_endpoints(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.webhooks.endpoints.ENDPOINTS_MAX", 2)
    first = make(shop)
    make(shop)
    assert code(shop.post("/v1/webhook_endpoints", {"url": URL})) == (409, "limit_exceeded")
    shop.delete(f"/v1/webhook_endpoints/{first['id']}")
    make(shop)


# What is refused


BODIES: list[tuple[Any, str, str]] = [
    ({}, "/url", "field_required"),
    ({"url": None}, "/url", "type_wrong"),
    ({"url": 5}, "/url", "type_wrong"),
    ({"url": ""}, "/url", "too_short"),
    ({"url": "https://a.example/" + "a" * 500}, "/url", "too_long"),
    ({"url": "http://shop.example/"}, "/url", "url_invalid"),
    ({"url": "https://127.0.0.1/"}, "/url", "url_invalid"),
    ({"url": "https://[::ffff:10.0.0.1]/"}, "/url", "url_invalid"),
    ({"url": "https://2130706433/"}, "/url", "url_invalid"),
    ({"url": "https://user:pw@shop.example/"}, "/url", "url_invalid"),
    ({"url": "https://shop.example/#a"}, "/url", "url_invalid"),
    ({"url": "https://m\u00fcnchen.example/"}, "/url", "url_invalid"),
    ({"url": "https://shop.example:22/"}, "/url", "url_invalid"),
    ({"url": "https://localhost/"}, "/url", "url_invalid"),
    ({"url": URL, "events": []}, "/events", "too_short"),
    ({"url": URL, "events": None}, "/events", "type_wrong"),
    ({"url": URL, "events": "*"}, "/events", "type_wrong"),
    ({"url": URL, "events": ["*"] * 101}, "/events", "too_long"),
    ({"url": URL, "events": ["*", "deposit.credit"]}, "/events/1", "validation_failed"),
    ({"url": URL, "events": ["deposit"]}, "/events/0", "validation_failed"),
    ({"url": URL, "events": ["Deposit.credited"]}, "/events/0", "validation_failed"),
    ({"url": URL, "events": ["*.credited"]}, "/events/0", "validation_failed"),
    ({"url": URL, "events": ["deposit.credited "]}, "/events/0", "validation_failed"),
    ({"url": URL, "events": [""]}, "/events/0", "validation_failed"),
    ({"url": URL, "events": [7]}, "/events/0", "type_wrong"),
    ({"url": URL, "description": ""}, "/description", "too_short"),
    ({"url": URL, "description": "a\x00b"}, "/description", "format_wrong"),
    ({"url": URL, "secret": "whsec_mine"}, "/secret", "field_unknown"),
    ({"url": URL, "status": "disabled"}, "/status", "field_unknown"),
]


@pytest.mark.parametrize(("body", "pointer", "expected"), BODIES, ids=lambda value: ascii(value)[:50])
def test_bad_input_names_its_field_and_writes_nothing(
    shop: Shop, database: Database, body: Any, pointer: str, expected: str
) -> None:
    made = f"/v1/webhook_endpoints/{make(shop)['id']}"
    before = shop.get(made).json, count(database)
    answers = [shop.post("/v1/webhook_endpoints", body)]
    if body:
        answers.append(
            patch(shop, made, {name: value for name, value in body.items() if len(body) == 1 or name != "url"})
        )
    for answer in answers:
        assert answer.status_code == 422, answer.text
        error = answer.json["errors"][0]
        assert error["code"] == expected
        assert error["pointer"] in (pointer, "")
    assert (shop.get(made).json, count(database)) == before


def count(database: Database) -> int:
    return int(database.read(lambda tx: tx.value(select(func.count()).select_from(webhook_endpoint))))


@pytest.mark.parametrize("body", [{}, {"url": None}, {"events": None}, [], None, {"project_id": 1}])
def test_a_change_names_what_it_changes(shop: Shop, body: Any) -> None:
    path = f"/v1/webhook_endpoints/{make(shop)['id']}"
    assert patch(shop, path, body).status_code == 422
    assert shop.call("PATCH", path, b"{", {}).status_code == 400


@pytest.mark.parametrize("seconds", [-1, 7 * 86_400 + 1, "60", 1.5, None])
def test_an_overlap_is_a_number_of_seconds_up_to_a_week(shop: Shop, seconds: Any) -> None:
    path = f"/v1/webhook_endpoints/{make(shop)['id']}"
    assert shop.post(f"{path}/rotate_secret", {"overlap_seconds": seconds}).status_code == 422


def test_reading_and_writing_are_scopes_apart(make_shop: Callable[..., Shop], shop: Shop) -> None:
    path = f"/v1/webhook_endpoints/{make(shop)['id']}"
    reader = make_shop(shop.project_id, scopes=["webhooks:read", "events:read"])
    writer = make_shop(shop.project_id, scopes=["webhooks:write"])
    assert reader.get(path).status_code == 200
    assert reader.get("/v1/webhook_deliveries").status_code == 200
    for call in ("enable", "disable", "test", "rotate_secret"):
        assert code(reader.post(f"{path}/{call}")) == (403, "scope_missing")
    assert code(reader.post("/v1/webhook_endpoints", {"url": URL})) == (403, "scope_missing")
    assert code(patch(reader, path, {"url": URL})) == (403, "scope_missing")
    assert code(reader.delete(path)) == (403, "scope_missing")
    assert code(writer.get(path)) == (403, "scope_missing")
    assert code(patch(writer, path, {"url": URL})) == (403, "scope_missing")  # it would be told what it may not read
    assert code(writer.post("/v1/webhook_endpoints", {"url": URL})) == (403, "scope_missing")
    both = make_shop(shop.project_id, scopes=["webhooks:write", "events:read"])
    assert patch(both, path, {"url": URL}).status_code == 200


def test_what_belongs_to_another_project_does_not_exist(
    local: Shop, make_local: Callable[[], Shop], receiver: Receiver, work: Callable[[], None]
) -> None:
    stranger = make_local()
    made = make(local, url=receiver.url)
    happen(local)
    work()
    delivery = local.get("/v1/webhook_deliveries").json["data"][0]
    own = make(stranger, url=receiver.url)
    path = f"/v1/webhook_endpoints/{made['id']}"
    answers = [
        stranger.get(path),
        patch(stranger, path, {"url": receiver.url}),
        stranger.delete(path),
        *(stranger.post(f"{path}/{call}") for call in ("enable", "disable", "test", "rotate_secret")),
        stranger.get(f"/v1/webhook_deliveries/{delivery['id']}"),
        stranger.post(f"/v1/webhook_deliveries/{delivery['id']}/redeliver"),
        stranger.get(f"/v1/webhook_deliveries?endpoint={made['id']}"),
        stranger.get(f"/v1/webhook_deliveries?event={delivery['event']}"),
        stranger.post(f"/v1/events/{delivery['event']}/resend"),
        stranger.post(f"/v1/events/{delivery['event']}/resend", {"endpoint": own["id"]}),
        local.post(f"/v1/events/{delivery['event']}/resend", {"endpoint": own["id"]}),
        stranger.get("/v1/webhook_endpoints/nonsense"),
        stranger.get("/v1/webhook_deliveries/nonsense"),
        stranger.post("/v1/events/nonsense/resend"),
    ]
    assert [code(answer) for answer in answers] == [(404, "not_found")] * len(answers)
    assert stranger.get("/v1/webhook_deliveries").json["data"] == []
    assert len(stranger.get("/v1/webhook_endpoints").json["data"]) == 1


def test_an_installation_without_the_key_has_no_webhooks(database: Database, make_shop: Callable[..., Shop]) -> None:
    settings = make_settings(database, webhook_key=None)
    app = create_app(bootstrap.services(settings, database), settings)
    known = make_shop()
    shop = Shop(app, database, known.ring, known.project_id, known.key, known.token)
    answer = shop.post("/v1/webhook_endpoints", {"url": URL})
    assert code(answer) == (409, "state_conflict")
    assert "COFFER_WEBHOOK_KEY" in answer.json["detail"]


# Deliveries, from the API to a receiver on this machine


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


@pytest.fixture(scope="module")
def services(database: Database) -> Services:
    """Of an installation that may call this machine."""
    return bootstrap.services(make_settings(database, webhook_allow="127.0.0.0/8"), database)


@pytest.fixture(scope="module")
def local_app(database: Database, services: Services) -> Flask:
    return create_app(services, make_settings(database, webhook_allow="127.0.0.0/8"))


@pytest.fixture
def make_local(local_app: Flask, make_shop: Callable[..., Shop]) -> Iterator[Callable[[], Shop]]:
    made: list[Shop] = []

    def make_() -> Shop:
        shop = make_shop()
        made.append(Shop(local_app, shop.database, shop.ring, shop.project_id, shop.key, shop.token))
        return made[-1]

    yield make_
    for shop in made:
        for row in shop.get("/v1/webhook_endpoints").json["data"]:
            shop.delete(f"/v1/webhook_endpoints/{row['id']}")


@pytest.fixture
def local(make_local: Callable[[], Shop]) -> Shop:
    return make_local()


@pytest.fixture
def work(database: Database, services: Services, number_events: Callable[[], None]) -> Callable[[], None]:
    """What the workers of tasks and webhooks do."""
    runtime = Runtime(database, bootstrap.sagas(), services)
    d = webhook_delivery.c

    def run() -> None:
        number_events()
        fan_out = database.read(lambda tx: tx.value(select(task.c.id).where(task.c.name == "fanout")))
        runtime.advance("task", fan_out, woken=True)
        for _ in range(20):
            rows = database.read(lambda tx: tx.all(select(d.id).where(d.due_at <= tx.now, d.lease_until == 0)))
            if not sum(runtime.advance("delivery", row.id) for row in rows):
                return

    return run


def happen(shop: Shop) -> None:
    """One event of the project."""
    about = f"tr_{secrets.token_hex(16)}"
    shop.database.run(lambda tx: history.emit(tx, shop.project_id, "transfer.completed", about, {"id": about}), "test")


def test_what_arrives_is_what_the_event_list_shows(
    local: Shop, receiver: Receiver, work: Callable[[], None], fund: Callable[..., None]
) -> None:
    secret = make(local, url=receiver.url)["secret"]
    giver, taker = local.account(), local.account()
    fund(giver, 10)
    order = {"from_account": giver, "to_account": taker, "asset": "BTC", "amount": "0.00000001"}
    for number in range(3):
        local.post("/v1/transfers", order | {"reference": str(number)})
    work()
    listed = local.get("/v1/events").json["data"]
    assert sorted((got.json for got in receiver.got), key=lambda shown: shown["sequence"]) == listed
    assert len(listed) == 3
    assert all(got.signed_by(secret) for got in receiver.got)


def test_deliveries_are_listed_filtered_and_read(local: Shop, receiver: Receiver, work: Callable[[], None]) -> None:
    good = make(local, url=receiver.url)["id"]
    with receiving() as other:
        other.answers(500)
        bad = make(local, url=other.url)["id"]
        happen(local)
        work()
    shown = local.get("/v1/webhook_deliveries").json["data"]
    assert {(row["endpoint"], row["status"]) for row in shown} == {(good, "delivered"), (bad, "pending")}
    for filters, expected in (
        (f"endpoint={bad}", [bad]),
        ("status=delivered", [good]),
        (f"event={shown[0]['event']}&endpoint={good}", [good]),
        ("type=transfer.completed&status=failed", []),
    ):
        assert [row["endpoint"] for row in local.get(f"/v1/webhook_deliveries?{filters}").json["data"]] == expected
    page = local.get("/v1/webhook_deliveries?limit=1").json
    rest = local.get(f"/v1/webhook_deliveries?limit=1&cursor={page['next_cursor']}").json
    assert page["data"] + rest["data"] == shown
    failing = next(row for row in shown if row["endpoint"] == bad)
    full = local.get(f"/v1/webhook_deliveries/{failing['id']}").json
    assert (full["status_reason"], full["tries"], full["next_attempt_at"] is not None) == ("http_500", 1, True)
    assert [(a["number"], a["http_status"], a["error"]) for a in full["attempts"]] == [(1, 500, None)]
    assert local.get(f"/v1/webhook_endpoints/{bad}").json["failing_since"] is not None
    for wrong in ("status=lost", "endpoint=", "limit=0", "cursor=x", "nonsense=1", f"type={'a' * 65}"):
        assert local.get(f"/v1/webhook_deliveries?{wrong}").status_code in (404, 422)


def test_a_ping_is_sent_and_read_back(local: Shop, receiver: Receiver, work: Callable[[], None]) -> None:
    path = f"/v1/webhook_endpoints/{make(local, url=receiver.url, events=['swap.*'])['id']}"
    answer = local.post(f"{path}/test")
    assert (answer.status_code, answer.json["status"], answer.json["event"]) == (202, "pending", None)
    work()
    done = local.get(f"/v1/webhook_deliveries/{answer.json['id']}").json
    assert (done["status"], done["attempts"][0]["http_status"]) == ("delivered", 204)
    assert receiver.events() == ["webhook_endpoint.ping"]
    assert receiver.got[0].json["data"]["object"] == local.get(path).json


def test_sending_again_over_the_api(local: Shop, receiver: Receiver, work: Callable[[], None]) -> None:
    made = make(local, url=receiver.url)
    path = f"/v1/webhook_endpoints/{made['id']}"
    happen(local)
    work()
    (first,) = local.get("/v1/webhook_deliveries").json["data"]
    again = local.post(f"/v1/webhook_deliveries/{first['id']}/redeliver", key="again")
    repeat = local.post(f"/v1/webhook_deliveries/{first['id']}/redeliver", key="again")
    assert (again.status_code, again.json["redelivery"]) == (202, True)
    assert repeat.json == again.json
    to_all = local.post(f"/v1/events/{first['event']}/resend")
    to_one = local.post(f"/v1/events/{first['event']}/resend", {"endpoint": made["id"]})
    assert [len(answer.json["data"]) for answer in (to_all, to_one)] == [1, 1]
    work()
    assert len(receiver.got) == 4
    assert len({(got.id, got.body) for got in receiver.got}) == 1
    local.post(f"{path}/disable")
    for call in (f"/v1/webhook_deliveries/{first['id']}/redeliver", f"/v1/events/{first['event']}/resend"):
        assert code(local.post(call)) == (409, "state_conflict")
    named = local.post(f"/v1/events/{first['event']}/resend", {"endpoint": made["id"]})
    assert code(named) == (409, "state_conflict")
    local.delete(path)
    assert code(local.post(f"/v1/webhook_deliveries/{first['id']}/redeliver")) == (404, "not_found")
    for wrong in ({"endpoint": 5}, {"endpoints": []}, []):
        assert local.post(f"/v1/events/{first['event']}/resend", wrong).status_code == 422


def test_an_event_without_a_number_is_not_sent_again(local: Shop, receiver: Receiver, database: Database) -> None:
    make(local, url=receiver.url)
    happen(local)
    e = event.c
    own = select(e.public_id).where(e.project_id == local.project_id, e.sequence.is_(None))
    public_id = database.read(lambda tx: tx.value(own))
    assert code(local.post(f"/v1/events/{public_id}/resend")) == (404, "not_found")


def test_metrics_tell_of_what_waits(local: Shop, receiver: Receiver, work: Callable[[], None]) -> None:
    receiver.answers(500)
    make(local, url=receiver.url)
    happen(local)
    work()
    text = local.app.test_client().get("/metrics").text
    for line in (
        r"coffer_webhook_deliveries_pending [1-9]",
        r'coffer_webhook_endpoints\{state="failing"\} [1-9]',
        r'coffer_webhook_endpoints\{state="disabled"\} ',
        r'coffer_due_age_seconds\{kind="webhook_delivery"\} ',
    ):
        assert re.search(line, text), line


# The document


def test_the_document_describes_every_event_that_may_be_asked_for() -> None:
    found = document(RESOURCES)["webhooks"]
    types = {
        name
        for item in found.values()
        for name in item["post"]["requestBody"]["content"]["application/json"]["schema"]["properties"]["type"]["enum"]
    }
    wanted = {name for name in NAMES if "*" not in name and not name.startswith("alarm.")}
    assert types == wanted | {"webhook_endpoint.ping"}
    assert set(found) == set(EVENTS) - {"alarm"}
    for resource, item in found.items():
        data = item["post"]["requestBody"]["content"]["application/json"]["schema"]["properties"]["data"]
        assert "$ref" in data["properties"]["object"], resource
