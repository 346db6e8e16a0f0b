"""From the one sequence of events to a delivery row for each endpoint that wants them.

An endpoint's cursor moves in the transaction that makes its rows, so an event is neither left out nor taken twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, func, insert, select, update

from jobs.services import Services
from jobs.tasks import Ran
from jobs.webhooks import queue as webhook_queue
from jobs.webhooks.events import wanted
from ledger.db import Tx
from ledger.ids import new_id
from ledger.schema import event, webhook_delivery, webhook_endpoint

QUEUE = "webhooks"
#: Events that one endpoint is given in one go, and endpoints that one commit serves.
EVENTS_MAX = 200
ENDPOINTS_MAX = 20

_E = webhook_endpoint.c


def task_step(row: Row[Any], services: Services) -> Ran:
    """Task step: serve the endpoints that are behind their project's sequence; at once again while any is."""
    behind = _in_turn(services.database.read(_behind), (row.progress or {}).get("served", 0))
    if not behind:
        return Ran()
    more = len(behind) > ENDPOINTS_MAX or any(events > EVENTS_MAX for _, events in behind)
    serve = [endpoint_id for endpoint_id, _ in behind[:ENDPOINTS_MAX]]
    kept = {"progress": {"served": serve[-1]}}
    return Ran(values=kept, effect=lambda tx, _: _serve_all(tx, serve), due_us=0 if more else None)


def _in_turn(behind: Sequence[tuple[int, int]], served: int) -> list[tuple[int, int]]:
    """Those after the one that was served last come first. By how far they are behind, a few that were switched off
    for long would have every pass to themselves, and the other projects' endpoints none."""
    return sorted(behind, key=lambda found: (found[0] <= served, found[0]))


def _behind(tx: Tx) -> Sequence[tuple[int, int]]:
    """(endpoint id, events that it has not been given), those of enabled endpoints."""
    newest = select(func.max(event.c.sequence)).where(event.c.project_id == _E.project_id).scalar_subquery()
    last = select(_E.id, (newest - _E.cursor).label("events")).where(_E.state == "enabled").subquery()
    return [(int(row.id), int(row.events)) for row in tx.all(select(last).where(last.c.events > 0))]


def _serve_all(tx: Tx, endpoint_ids: Sequence[int]) -> None:
    for endpoint_id in sorted(endpoint_ids):
        endpoint = webhook_queue.lock(tx, endpoint_id)
        if endpoint.state == "enabled":
            _serve(tx, endpoint)


def _serve(tx: Tx, endpoint: Row[Any]) -> None:
    e = event.c
    query = select(e.id, e.sequence, e.type, e.resource_id)
    query = query.where(e.project_id == endpoint.project_id, e.sequence > endpoint.cursor)
    events = tx.all(query.order_by(e.sequence).limit(EVENTS_MAX))
    if not events:
        return
    chosen = [found for found in events if wanted(endpoint.events, found.type)]
    if chosen:
        tx.execute(insert(webhook_delivery), _rows(tx, endpoint, chosen))
    tx.execute(update(webhook_endpoint).where(_E.id == endpoint.id).values(cursor=events[-1].sequence))


def _rows(tx: Tx, endpoint: Row[Any], events: Sequence[Row[Any]]) -> list[dict[str, Any]]:
    busy = webhook_queue.busy(tx, endpoint.id, {found.resource_id for found in events})
    rows = []
    for found in events:
        due = None if found.resource_id in busy else tx.now
        busy.add(found.resource_id)
        rows.append(new_row(tx, endpoint, found.id, found.type, found.resource_id, due_at=due))
    return rows


def new_row(
    tx: Tx, endpoint: Row[Any], event_id: int | None, type_: str, resource_id: str, **values: Any
) -> dict[str, Any]:
    """A delivery, due now unless told otherwise."""
    return {
        "public_id": new_id("whd"),
        "project_id": endpoint.project_id,
        "queue": QUEUE,
        "endpoint_id": endpoint.id,
        "event_id": event_id,
        "round": 0,
        "type": type_,
        "resource_id": resource_id,
        "state": "pending",
        "due_at": tx.now,
        "created_at": tx.now,
        "updated_at": tx.now,
    } | values
