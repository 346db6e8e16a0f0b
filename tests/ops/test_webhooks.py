"""`coffer worker webhooks` as a process, and `coffer webhooks` for the people who look after it."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import select, update

from jobs.webhooks import endpoints as webhook_endpoints
from jobs.webhooks.secrets import WebhookKeys
from jobs.webhooks.urls import Guard
from ledger import history
from ledger.ids import new_id
from ledger.schema import audit, webhook_delivery, webhook_endpoint
from tests.ops.installation import Installation, log_of, wait_for
from tests.receiver import Receiver, receiving

Install = Callable[..., Installation]
KEY = "77" * 32


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


def prepared(here: Installation) -> Installation:
    here.variables |= {"COFFER_WEBHOOK_KEY": KEY, "COFFER_WEBHOOK_ALLOW": "127.0.0.0/8"}
    return here


def endpoint(here: Installation, url: str) -> Any:
    guard = Guard([ipaddress.ip_network("127.0.0.0/8")])
    project = here.engine.caller.project_id
    return here.database.run(lambda tx: webhook_endpoints.create(tx, project, url, ["*"], None, guard, "test"), "test")


def happens(here: Installation, *states: str, numbered: bool = False) -> str:
    about = new_id("dp")

    def unit(tx: Any) -> None:
        for state in states:
            history.emit(tx, here.engine.caller.project_id, f"deposit.{state}", about, {"id": about})
        if numbered:
            history.number_events(tx)

    here.database.run(unit, "test")
    return about


@pytest.mark.parametrize(("dialect", "redis"), [("sqlite", False), ("mariadb", True)])
def test_workers_deliver_signed_events_and_stop_cleanly(
    install: Install, receiver: Receiver, dialect: str, redis: bool, request: pytest.FixtureRequest
) -> None:
    """With and without Redis; two workers of webhooks at once; one of them is killed, not stopped."""
    url = request.getfixturevalue("redis_server").url if redis else None
    here = prepared(install(url, dialect=dialect))
    made = endpoint(here, receiver.url)
    happens(here, "detected", "confirming", "credited")
    tasks, first, second = (here.started(*role.split()) for role in ("worker tasks", *["worker webhooks"] * 2))
    wait_for(lambda: len(receiver.got) >= 3, "the first events")
    first.kill()
    for _ in range(4):
        happens(here, "detected", "credited")
    wait_for(lambda: len({got.id for got in receiver.got}) == 11, "the others")
    secret = WebhookKeys(bytes.fromhex(KEY)).secret(made.public_id, 1)
    assert all(got.signed_by(secret) for got in receiver.got)
    wait_for(lambda: states(here) == ["delivered"] * 11, "the log of deliveries")
    for worker in (second, tasks):
        worker.stop()
        assert worker.exit_code == 0, worker.log_tail()
        assert "Traceback" not in log_of(worker)
        assert KEY not in log_of(worker)
        assert secret not in log_of(worker)


def states(here: Installation) -> list[str]:
    rows = here.database.read(lambda tx: tx.all(select(webhook_delivery.c.state)))
    return [row.state for row in rows]


def test_a_worker_of_webhooks_needs_their_key(install: Install) -> None:
    here = install()
    worker = here.start("worker", "webhooks")
    wait_for(lambda: not worker.alive, "the worker to end")
    assert worker.exit_code == 1
    assert "COFFER_WEBHOOK_KEY" in log_of(worker)


@pytest.mark.parametrize("value", ["everywhere", "10.0.0.1/8", "127.0.0.1,", "10.0.0.0/8;127.0.0.0/8", "300.0.0.0/8"])
def test_networks_that_are_none_stop_the_start(install: Install, value: str) -> None:
    here = prepared(install())
    here.variables["COFFER_WEBHOOK_ALLOW"] = value
    if value == "127.0.0.1,":
        assert here.said("webhooks", "list") == "none\n"  # an empty end is no network
    else:
        result = here.coffer("webhooks", "list")
        assert (result.exit_code, "COFFER_WEBHOOK_ALLOW" in result.stderr) == (1, True)


def test_operators_see_and_steer_endpoints(install: Install, receiver: Receiver) -> None:
    here = prepared(install())
    made = endpoint(here, receiver.url)
    assert [row["id"] for row in json.loads(here.said("webhooks", "list", "--json"))] == [made.public_id]
    assert receiver.url in here.said("webhooks", "list")
    here.said("webhooks", "disable", made.public_id, "--as", "ann")
    shown = json.loads(here.said("webhooks", "show", made.public_id))
    assert (shown["status"], shown["status_reason"]) == ("disabled", "operator")
    assert shown["deliveries"] == {"pending": 0, "delivered": 0, "failed": 0}
    assert here.said("webhooks", "list", "--state", "enabled") == "none\n"
    here.said("webhooks", "enable", made.public_id, "--as", "ann")
    assert json.loads(here.said("webhooks", "show", made.public_id))["status"] == "enabled"
    acts = here.database.read(lambda tx: tx.all(select(audit).where(audit.c.target == made.public_id)))
    assert [(row.action, row.actor) for row in acts][1:] == [
        ("webhook_endpoint.disable", "operator:ann"),
        ("webhook_endpoint.enable", "operator:ann"),
    ]
    for command in ("show", "enable", "disable"):
        assert "no such webhook endpoint" in here.refused("webhooks", command, "we_nothing")


def test_operators_see_deliveries_and_send_them_again(install: Install, receiver: Receiver) -> None:
    here = prepared(install())
    made = endpoint(here, receiver.url)
    receiver.answers(500, 204)
    happens(here, "detected", numbered=True)
    worker = here.started("worker", "webhooks")
    wait_for(lambda: here.database.read(lambda tx: tx.value(select(webhook_delivery.c.tries))) == 1, "an attempt")
    tomorrow = here.database.now() + 86_400 * 1_000_000
    here.database.run(lambda tx: tx.execute(update(webhook_delivery).values(due_at=tomorrow)), "test_clock")
    (row,) = json.loads(here.said("webhooks", "deliveries", made.public_id, "--json"))
    assert (row["status"], row["status_reason"], row["tries"]) == ("pending", "http_500", 1)
    assert "deposit.detected" in here.said("webhooks", "deliveries", "--state", "pending")
    assert here.said("webhooks", "deliveries", "--type", "swap.executed") == "none\n"
    assert here.said("webhooks", "redeliver", row["id"], "--as", "ann").strip() == row["id"]  # brought forward
    wait_for(lambda: states(here) == ["delivered"], "the second attempt")
    full = json.loads(here.said("webhooks", "delivery", row["id"]))
    assert [attempt["http_status"] for attempt in full["attempts"]] == [500, 204]
    again = here.said("webhooks", "redeliver", row["id"]).strip()
    assert again != row["id"]
    wait_for(lambda: states(here) == ["delivered"] * 2, "the redelivery")
    assert len({got.id for got in receiver.got}) == 1
    worker.stop()
    here.said("webhooks", "disable", made.public_id)
    assert "enable it first" in here.refused("webhooks", "redeliver", row["id"])
    assert "no such webhook delivery" in here.refused("webhooks", "delivery", "whd_nothing")
    gone = update(webhook_endpoint).values(state="deleted")
    here.database.run(lambda tx: tx.execute(gone), "test")
    assert "deleted" in here.refused("webhooks", "redeliver", row["id"])
    assert len(json.loads(here.said("webhooks", "deliveries", made.public_id, "--json"))) == 2
