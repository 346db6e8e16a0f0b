"""Where a project wants its events: made, changed, switched off and on, given new secrets, deleted.

An endpoint that is off keeps its place in the sequence and what waits for it: on again, it misses nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, func, insert, select, update

from jobs import alarms
from jobs.saga import SECOND
from jobs.views import View, maybe_when, when
from jobs.webhooks import events as webhook_events
from jobs.webhooks import queue as webhook_queue
from jobs.webhooks.urls import Guard
from ledger import audit, history
from ledger.db import Tx
from ledger.errors import LimitExceeded, NotFound, StateConflict
from ledger.ids import is_id, new_id
from ledger.schema import event, webhook_endpoint

ENDPOINTS_MAX = 20  #: of one project
OVERLAP_MAX_SECONDS = 7 * 86_400
ALARM = "webhook_endpoint_disabled"

_E = webhook_endpoint.c


def create(
    tx: Tx, project_id: int, url: str, events: Sequence[str], description: str | None, guard: Guard, actor: str
) -> Row[Any]:
    """An endpoint that gets what happens from now on. Audited. Raises `InvalidInput`, `LimitExceeded`."""
    guard.check(url)
    wanted = webhook_events.check(events)
    standing = select(func.count()).select_from(webhook_endpoint)
    if int(tx.value(standing.where(_E.project_id == project_id, _E.state != "deleted")) or 0) >= ENDPOINTS_MAX:
        raise LimitExceeded(f"a project has at most {ENDPOINTS_MAX} endpoints")
    values = {
        "public_id": new_id("we"),
        "project_id": project_id,
        "url": url,
        "description": description,
        "events": wanted,
        "state": "enabled",
        "secret_version": 1,
        "cursor": tx.value(select(func.max(event.c.sequence)).where(event.c.project_id == project_id)) or 0,
        "version": 1,
        "created_at": tx.now,
        "updated_at": tx.now,
    }
    row_id = tx.insert(insert(webhook_endpoint).values(values))
    audit.record(tx, actor, "webhook_endpoint.create", str(values["public_id"]), {"url": url, "events": wanted})
    return tx.one(select(webhook_endpoint).where(_E.id == row_id))


def change(tx: Tx, row: Row[Any], changes: dict[str, Any], guard: Guard, actor: str) -> Row[Any]:
    """Write `url`, `events` or `description` anew; `row` is locked. Events that were passed over stay passed over.
    What waits is tried at once at a new URL. Raises `InvalidInput`."""
    if "url" in changes:
        guard.check(changes["url"])
    if "events" in changes:
        changes = changes | {"events": webhook_events.check(changes["events"])}
    found = _write(tx, row, **changes)
    if changes.get("url", row.url) != row.url and row.state == "enabled":
        webhook_queue.wake_all(tx, row.id, under_way=True, tries=0)
    audit.record(tx, actor, "webhook_endpoint.change", row.public_id, changes)
    return found


def enable(tx: Tx, row: Row[Any], actor: str) -> Row[Any]:
    """On, with a full schedule for all that waits; `row` is locked. A repeat changes nothing."""
    if row.state == "enabled":
        return row
    found = _write(tx, row, state="enabled", disabled_reason=None, failing_since=None)
    alarms.clear(tx, row.public_id, ALARM)
    webhook_queue.wake_all(tx, row.id, under_way=True, tries=0)
    audit.record(tx, actor, "webhook_endpoint.enable", row.public_id, {})
    return found


def disable(tx: Tx, row: Row[Any], reason: str, actor: str) -> Row[Any]:
    """Off, by a person; `row` is locked. Nothing is lost: it keeps its place. A repeat changes nothing."""
    if row.state == "disabled":
        return row
    audit.record(tx, actor, "webhook_endpoint.disable", row.public_id, {"reason": reason})
    return _write(tx, row, state="disabled", disabled_reason=reason)


def switch_off(tx: Tx, row: Row[Any], reason: str, detail: str) -> None:
    """Off, by us, with an alarm and an event that other endpoints and GET /events show; `row` is locked."""
    found = _write(tx, row, state="disabled", disabled_reason=reason)
    alarms.raise_(tx, ALARM, row.public_id, detail)
    history.emit(tx, row.project_id, "webhook_endpoint.disabled", row.public_id, view(found))


def rotate(tx: Tx, row: Row[Any], overlap_seconds: int, actor: str) -> Row[Any]:
    """A new secret; the one before signs too until the overlap is over. `row` is locked. Audited.

    Raises `StateConflict` with an overlap while another runs: the secret that the shop still checks by would end now.
    """
    if overlap_seconds and row.previous_secret_until is not None and row.previous_secret_until > tx.now:
        raise StateConflict("the overlap of a rotation is not over: rotate without one", status=row.state)
    until = tx.now + overlap_seconds * SECOND if overlap_seconds else None
    audit.record(tx, actor, "webhook_endpoint.rotate", row.public_id, {"overlap_seconds": overlap_seconds})
    return _write(tx, row, secret_version=row.secret_version + 1, previous_secret_until=until)


def delete(tx: Tx, row: Row[Any], actor: str) -> Row[Any]:
    """Gone for good; what waits for it fails. `row` is locked. A repeat changes nothing."""
    if row.state == "deleted":
        return row
    found = _write(tx, row, state="deleted", disabled_reason=None)
    alarms.clear(tx, row.public_id, ALARM)
    webhook_queue.wake_all(tx, row.id, under_way=True)
    audit.record(tx, actor, "webhook_endpoint.delete", row.public_id, {})
    return found


def find(tx: Tx, project_id: int | None, public_id: str, *, deleted: bool = False, locked: bool = False) -> Row[Any]:
    """One of the project's endpoints (None: of any project). Raises `NotFound`, also for one that was deleted."""
    query = select(webhook_endpoint).where(_E.public_id == public_id)
    query = query if project_id is None else query.where(_E.project_id == project_id)
    row = tx.first(query.with_for_update() if locked else query) if is_id(public_id, "we") else None
    if row is None or (row.state == "deleted" and not deleted):
        raise NotFound("no such webhook endpoint")
    return row


def require_enabled(row: Row[Any]) -> None:
    """Raises `StateConflict`."""
    if row.state != "enabled":
        raise StateConflict("the endpoint is disabled; enable it first", status=row.state)


def view(row: Row[Any]) -> View:
    """The endpoint as the API and events show it; never its secret."""
    return {
        "id": row.public_id,
        "url": row.url,
        "description": row.description,
        "events": row.events,
        "status": row.state,
        "status_reason": row.disabled_reason,
        "failing_since": maybe_when(row.failing_since),
        "last_delivered_at": maybe_when(row.delivered_at),
        "previous_secret_until": maybe_when(row.previous_secret_until),
        "created_at": when(row.created_at),
        "updated_at": when(row.updated_at),
    }


def _write(tx: Tx, row: Row[Any], **values: Any) -> Row[Any]:
    changed = {"version": row.version + 1, "updated_at": tx.now} | values
    tx.execute(update(webhook_endpoint).where(_E.id == row.id).values(changed))
    return tx.one(select(webhook_endpoint).where(_E.id == row.id))
