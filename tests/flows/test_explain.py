"""What `coffer explain` knows beyond the rows of money: webhooks, and whose everything was."""

from __future__ import annotations

from sqlalchemy import insert, select

from jobs.explain import explain
from ledger.db import Tx
from ledger.ids import new_id
from ledger.schema import deposit, event, webhook_attempt, webhook_delivery, webhook_endpoint
from tests.flows.engine import Engine


def deliver(engine: Engine) -> tuple[str, str, str]:
    """Endpoint, event and delivery of the credit of the newest deposit, tried once in vain."""

    def unit(tx: Tx) -> tuple[str, str, str]:
        told = tx.one(select(event).where(event.c.type == "deposit.credited"))
        clock = {"created_at": tx.now, "updated_at": tx.now}
        values = {"public_id": new_id("we"), "project_id": told.project_id, "url": "https://shop", "events": ["*"]}
        endpoint = tx.insert(insert(webhook_endpoint).values(values | {"state": "enabled"} | clock))
        row = {"public_id": new_id("whd"), "project_id": told.project_id, "queue": "webhooks", "event_id": told.id}
        row |= {"endpoint_id": endpoint, "type": told.type, "resource_id": told.resource_id, "state": "pending"}
        made = tx.insert(insert(webhook_delivery).values(row | {"due_at": None} | clock))
        tried = {"delivery_id": made, "number": 1, "status": 500, "milliseconds": 12, "at": tx.now}
        tx.execute(insert(webhook_attempt).values(tried))
        return str(values["public_id"]), told.public_id, str(row["public_id"])

    return engine.database.run(unit, "test_deliver")


def test_a_webhooks_ids_lead_to_what_they_told_of(engine: Engine) -> None:
    engine.funded(500_000)
    (paid,) = engine.rows(deposit)
    endpoint, told, delivery = deliver(engine)
    for text in (told, delivery):
        found = engine.database.read(lambda tx, t=text: explain(tx, t))  # type: ignore[misc]
        assert {paid.public_id, delivery} <= {subject["id"] for subject in found.subjects}
        assert any("attempt 1: HTTP 500, 12 ms" in moment.what for moment in found.timeline)
    found = engine.database.read(lambda tx: explain(tx, endpoint))
    assert [(s["kind"], s["url"]) for s in found.subjects] == [("webhook_endpoint", "https://shop")]


def test_ownership_is_part_of_the_timeline(engine: Engine) -> None:
    engine.funded(500_000)
    (paid,) = engine.rows(deposit)
    found = engine.database.read(lambda tx: explain(tx, paid.public_id))
    assert any(moment.what.startswith("ownership 1: credited, 0.00500000 BTC with ac_") for moment in found.timeline)
    assert "lies in the balance of ac_" in found.trace[-1]
