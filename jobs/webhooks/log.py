"""The log of deliveries, and sending again by hand: a delivery, an event, a ping."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, Select, func, insert, select, update

from jobs import moves
from jobs.views import View, maybe_when, when
from jobs.webhooks import endpoints as webhook_endpoints
from jobs.webhooks import queue as webhook_queue
from jobs.webhooks.events import PING, wanted
from jobs.webhooks.fanout import new_row
from ledger.db import Tx
from ledger.errors import NotFound, StateConflict
from ledger.ids import is_id
from ledger.schema import event, webhook_attempt, webhook_delivery, webhook_endpoint

_D, _E = webhook_delivery.c, webhook_endpoint.c


def ping(tx: Tx, endpoint: Row[Any]) -> int:
    """A message of no event, tried once and soon, also while the endpoint is off; the id of its delivery."""
    return _insert(tx, new_row(tx, endpoint, None, PING, endpoint.public_id))


def redeliver(tx: Tx, delivery: Row[Any]) -> int:
    """The same event again, outside the order of its resource; the id of the new delivery. One that has not ended is
    brought forward instead. Raises `StateConflict` for an endpoint that is off, `NotFound` for one that is deleted."""
    endpoint = webhook_queue.lock(tx, delivery.endpoint_id)
    if endpoint.state == "deleted":
        raise NotFound("its endpoint is deleted")
    if delivery.event_id is None:
        return ping(tx, endpoint)
    webhook_endpoints.require_enabled(endpoint)
    if delivery.state != "pending":
        return _again(tx, endpoint, tx.one(select(event).where(event.c.id == delivery.event_id)))
    soon = update(webhook_delivery).where(_D.id == delivery.id, _D.state == "pending", _D.due_at.is_not(None))
    tx.execute(soon.where(_D.lease_until <= tx.now).values(status_reason=webhook_queue.HASTENED))
    moves.nudge(tx, "delivery", webhook_delivery, delivery.id)
    return int(delivery.id)


def resend(tx: Tx, project_id: int, event_id: str, endpoint_id: str | None) -> list[int]:
    """An event again, to one endpoint or to all that are enabled and want it; ids of the new deliveries.

    Raises `NotFound`, and `StateConflict` when there is nobody to send it to.
    """
    row = find_event(tx, project_id, event_id)
    if endpoint_id is not None:
        endpoint = webhook_endpoints.find(tx, project_id, endpoint_id, locked=True)
        webhook_endpoints.require_enabled(endpoint)
        return [_again(tx, endpoint, row)]
    query = select(webhook_endpoint).where(_E.project_id == project_id, _E.state == "enabled").order_by(_E.id)
    takers = [found for found in tx.all(query.with_for_update()) if wanted(found.events, row.type)]
    if not takers:
        raise StateConflict("no enabled endpoint wants this event")
    return [_again(tx, endpoint, row) for endpoint in takers]


def find_event(tx: Tx, project_id: int, public_id: str) -> Row[Any]:
    """A numbered event of the project. Raises `NotFound`."""
    e = event.c
    query = select(event).where(e.public_id == public_id, e.project_id == project_id, e.sequence.is_not(None))
    row = tx.first(query) if is_id(public_id, "evt") else None
    if row is None:
        raise NotFound("no such event")
    return row


def find(tx: Tx, project_id: int | None, public_id: str) -> Row[Any]:
    """One of the project's deliveries (None: of any project). Raises `NotFound`."""
    query = select(webhook_delivery).where(_D.public_id == public_id)
    query = query if project_id is None else query.where(_D.project_id == project_id)
    row = tx.first(query) if is_id(public_id, "whd") else None
    if row is None:
        raise NotFound("no such webhook delivery")
    return row


def page(project_id: int) -> Select[Any]:
    """The ids of a project's deliveries, to be narrowed."""
    return select(_D.id).where(_D.project_id == project_id)


def view(tx: Tx, delivery_id: int) -> View:
    """One delivery with every attempt."""
    shown = views(tx, [delivery_id])[0]
    a = webhook_attempt.c
    attempts = tx.all(select(webhook_attempt).where(a.delivery_id == delivery_id).order_by(a.number))
    return shown | {"attempts": [_attempt(row) for row in attempts]}


def views(tx: Tx, ids: Sequence[int]) -> list[View]:
    """Deliveries in the order of the ids, without their attempts."""
    query = select(webhook_delivery, _E.public_id.label("endpoint"), event.c.public_id.label("event"))
    query = query.join(webhook_endpoint, _E.id == _D.endpoint_id).outerjoin(event, event.c.id == _D.event_id)
    rows = {row.id: row for row in tx.all(query.where(_D.id.in_(list(ids))))}
    return [_delivery(rows[i]) for i in ids]


def _delivery(row: Row[Any]) -> View:
    pending = row.state == "pending"
    return {
        "id": row.public_id,
        "endpoint": row.endpoint,
        "event": row.event,
        "type": row.type,
        "resource": row.resource_id,
        "redelivery": row.round > 0,
        "status": row.state,
        "status_reason": row.status_reason,
        "tries": row.tries,
        "next_attempt_at": maybe_when(row.due_at) if pending else None,
        "delivered_at": maybe_when(row.delivered_at),
        "created_at": when(row.created_at),
        "updated_at": when(row.updated_at),
    }


def _attempt(row: Row[Any]) -> View:
    return {
        "number": row.number,
        "at": when(row.at),
        "http_status": row.status,
        "error": row.error,
        "milliseconds": row.milliseconds,
        "answer": row.excerpt,
    }


def _again(tx: Tx, endpoint: Row[Any], row: Row[Any]) -> int:
    """`endpoint` is locked, so that two at once take two numbers. Round 0 is the fan-out's, which may not be there."""
    rounds = select(func.max(_D.round)).where(_D.endpoint_id == endpoint.id, _D.event_id == row.id)
    number = int(tx.value(rounds) or 0) + 1
    return _insert(tx, new_row(tx, endpoint, row.id, row.type, row.resource_id, round=number))


def _insert(tx: Tx, values: dict[str, Any]) -> int:
    row_id = tx.insert(insert(webhook_delivery).values(values))
    tx.wake("delivery", row_id)
    return row_id
