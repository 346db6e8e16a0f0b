"""What is past its time goes, and nothing that anybody still needs."""

from __future__ import annotations

import pytest
from sqlalchemy import insert, select, update

from jobs import housekeeping
from jobs.swap import prune as quotes_prune
from jobs.webhooks import prune as attempts_prune
from ledger.db import Tx
from ledger.ids import new_id
from ledger.schema import event, quote, webhook_attempt, webhook_delivery, webhook_endpoint
from tests.flows.engine import Engine
from tests.flows.swap_desk import Desk


def tidy(engine: Engine) -> None:
    engine.database.run(lambda tx: housekeeping.tidy(None, engine.services).effect(tx, None), "test_tidy")  # type: ignore[arg-type, misc]


def test_old_quotes_that_nobody_took_go_and_those_that_were_taken_stay(desk: Desk) -> None:
    taken, left, fresh = (desk.quote()["id"] for _ in range(3))
    desk.accept(taken, desk.wish())
    database, q = desk.engine.database, quote.c
    old = {"expires_at": 1}
    ended = update(quote).where(q.public_id.in_([left, fresh])).values(state="expired")
    database.run(lambda tx: tx.execute(ended), "test_quotes")

    def age(tx: Tx) -> None:
        """The guard keeps a quote's terms; an old one is made by hand."""
        row = dict(tx.one(select(quote).where(q.public_id == left))._mapping) | old
        tx.execute(quote.delete().where(q.public_id == left))
        tx.execute(insert(quote).values(row))

    database.run(age, "test_quotes")
    assert database.run(quotes_prune.prune, "test_prune") is False
    assert {row.public_id for row in desk.engine.rows(quote)} == {taken, fresh}


def deliveries(tx: Tx, engine: Engine, states: tuple[str, ...]) -> None:
    """One delivery of each state, with an attempt of long ago and one of now."""
    clock = {"created_at": tx.now, "updated_at": tx.now}
    values = {
        "public_id": new_id("we"),
        "project_id": engine.caller.project_id,
        "url": "https://shop",
        "events": [],
    }
    endpoint = tx.insert(insert(webhook_endpoint).values(values | {"state": "enabled"} | clock))
    told = {"public_id": new_id("evt"), "project_id": engine.caller.project_id, "type": "x.y", "resource_kind": "x"}
    for number, state in enumerate(states):
        told |= {"public_id": new_id("evt"), "resource_id": f"x{number}", "data": {}, "created_at": tx.now}
        about = tx.insert(insert(event).values(told))
        row = {"public_id": new_id("whd"), "project_id": engine.caller.project_id, "queue": "webhooks"}
        row |= {"endpoint_id": endpoint, "event_id": about, "type": "x.y", "resource_id": f"x{number}"}
        delivery = tx.insert(insert(webhook_delivery).values(row | {"state": state, "due_at": None} | clock))
        for tried, at in ((1, 1), (2, tx.now)):
            made = {"delivery_id": delivery, "number": tried, "status": 500, "milliseconds": 1, "at": at}
            tx.execute(insert(webhook_attempt).values(made))


def test_old_attempts_of_deliveries_that_are_over_go(engine: Engine) -> None:
    database = engine.database
    database.run(lambda tx: deliveries(tx, engine, ("delivered", "pending", "failed")), "test_deliveries")
    assert database.run(attempts_prune.prune, "test_prune") is False
    assert [(row.delivery_id, row.number) for row in engine.rows(webhook_attempt)] == [(1, 2), (2, 1), (2, 2), (3, 2)]
    tidy(engine)
    assert len(engine.rows(webhook_attempt)) == 4


def test_attempts_of_deliveries_that_wait_for_ever_keep_no_others(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An endpoint that was switched off: what it was to get stays pending, and its attempts are the oldest."""
    database = engine.database
    monkeypatch.setattr(attempts_prune, "BATCH", 2)
    database.run(lambda tx: deliveries(tx, engine, ("pending", "pending", "pending", "delivered", "failed")), "test")
    assert database.run(attempts_prune.prune, "test_prune") is True  # as many as it takes at once
    assert database.run(attempts_prune.prune, "test_prune") is False
    kept = {(number, tried) for number in (1, 2, 3) for tried in (1, 2)} | {(4, 2), (5, 2)}
    assert {(row.delivery_id, row.number) for row in engine.rows(webhook_attempt)} == kept
