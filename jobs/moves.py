"""Transitions that a request, or another flow, makes of a saga's row in its own transaction."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from sqlalchemy import Row, Table, select, update

from jobs import alarms
from jobs.saga import Saga
from ledger import history
from ledger.db import Tx
from ledger.errors import NotFound, StateConflict


def lock(tx: Tx, table: Table, row_id: int) -> Row[Any]:
    """The row as it is now, locked until the transaction ends. Raises `NotFound`."""
    row = tx.first(select(table).where(table.c.id == row_id).with_for_update())
    if row is None:
        raise NotFound(f"no such {table.name}")
    return row


def move(
    tx: Tx,
    saga: Saga,
    row: Row[Any],
    to: StrEnum,
    *,
    reason: str | None = None,
    detail: str | None = None,
    actor: str | None = None,
    due_us: int | None = 0,
    **values: Any,
) -> None:
    """Write `row`, which `lock` returned, into a state, with its history. A worker whose step of this row is under way
    is fenced off by that: it finds its lease gone, writes nothing, and the row is looked at again. What was raised of
    the row because its step had failed is over.

    Raises `StateConflict` when the saga's table has no such way."""
    table = saga.table
    before = saga.state(row.state)
    if saga.asked and row.state != to and (before is None or to not in saga.asked.get(before, frozenset())):
        raise StateConflict(f"it is {row.state}", status=row.state)
    due = None if due_us is None or to not in saga.steps else tx.now + due_us
    now = {"state": str(to), "status_reason": reason, "status_detail": detail, "due_at": due, "updated_at": tx.now}
    lease = {"lease_until": 0, "lease_token": None, "attempts": 0, "crashes": 0, "version": row.version + 1}
    tx.execute(update(table).where(table.c.id == row.id).values(now | lease | values))
    if row.attempts or row.status_reason == alarms.CRASHED:
        alarms.clear_failures(tx, alarms.of_row(saga.kind, row.id), row.status_reason, *alarms.STUCK)
    if (row.state, row.status_reason) != (str(to), reason):
        history.note(tx, saga.kind, row.id, row.state, str(to), reason, actor)
    if due is not None:
        tx.wake(saga.kind, row.id)


def nudge(tx: Tx, kind: str, table: Table, row_id: int) -> None:
    """Have the row's step run soon after this transaction commits, also when a worker holds the row at this moment."""
    t = table.c
    live = (t.id == row_id) & t.due_at.is_not(None)
    if tx.execute(update(table).where(live).values(due_at=tx.now, wakes=t.wakes + 1)).rowcount:
        tx.wake(kind, row_id)
