"""Which deliveries of an endpoint may run now: one at a time of each resource, the oldest first.

Whoever changes that for an endpoint (new rows, an end, a switch) holds the endpoint's row locked, so that no row is
left behind asleep: it is made due when it comes, or by the end of the one before it. Redeliveries and pings are outside
this order: somebody asked for them, now.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, Row, func, select, update

from ledger.db import Tx
from ledger.schema import webhook_delivery, webhook_endpoint

_D = webhook_delivery.c
#: A first delivery that has not ended. Only these wait for each other.
IN_ORDER: ColumnElement[bool] = (_D.state == "pending") & (_D.round == 0) & _D.event_id.is_not(None)
#: Marks rows that were made due before their time; a miss of such an attempt does not use up one of the schedule.
HASTENED = "hastened"


def lock(tx: Tx, endpoint_id: int) -> Row[Any]:
    """The endpoint as it is now; until the transaction ends nobody else changes its queue."""
    return tx.one(select(webhook_endpoint).where(webhook_endpoint.c.id == endpoint_id).with_for_update())


def is_ordered(delivery: Row[Any]) -> bool:
    return bool(delivery.round == 0 and delivery.event_id is not None)


def is_blocked(tx: Tx, delivery: Row[Any]) -> bool:
    """Whether an earlier event of the same resource has not ended for this endpoint."""
    if not is_ordered(delivery):
        return False
    same = (_D.endpoint_id == delivery.endpoint_id) & (_D.resource_id == delivery.resource_id)
    return tx.value(select(_D.id).where(same, IN_ORDER, _D.id < delivery.id).limit(1)) is not None


def busy(tx: Tx, endpoint_id: int, resources: Collection[str]) -> set[str]:
    """Those of the resources that have a delivery which has not ended."""
    query = select(_D.resource_id).distinct().where(_D.endpoint_id == endpoint_id, IN_ORDER)
    return {row.resource_id for row in tx.all(query.where(_D.resource_id.in_(list(resources))))}


def wake_next(tx: Tx, delivery: Row[Any]) -> None:
    """If `delivery` has ended, which its state shows already: the next of its resource is due."""
    if not is_ordered(delivery):
        return
    same = (_D.endpoint_id == delivery.endpoint_id) & (_D.resource_id == delivery.resource_id)
    following = tx.value(select(func.min(_D.id)).where(same, IN_ORDER))
    if following not in (None, delivery.id):
        _nudge(tx, [int(following)])


def wake_all(tx: Tx, endpoint_id: int, *, under_way: bool, **values: Any) -> None:
    """Everything of the endpoint that waits for time or for a switch, and for nothing before it, is due. `under_way`:
    also what a worker holds at this moment, which then runs once more."""
    of_endpoint = (_D.endpoint_id == endpoint_id) & (_D.state == "pending")
    if not under_way:
        of_endpoint &= _D.lease_until <= tx.now
    first = select(func.min(_D.id)).where(of_endpoint, IN_ORDER).group_by(_D.resource_id)
    others = select(_D.id).where(of_endpoint, ~IN_ORDER)
    ids = [int(row[0]) for query in (first, others) for row in tx.all(query)]
    for start in range(0, len(ids), 500):
        _nudge(tx, ids[start : start + 500], **values)


def _nudge(tx: Tx, ids: list[int], **values: Any) -> None:
    tx.execute(update(webhook_delivery).where(_D.id.in_(ids)).values(due_at=tx.now, wakes=_D.wakes + 1, **values))
