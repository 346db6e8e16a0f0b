"""Every change of state, kept for ever, and the events that tell shops of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, insert, select, update

from ledger.accounts import HOUSE_PROJECT
from ledger.db import Tx
from ledger.ids import new_id
from ledger.schema import event, transition

#: Events numbered in one go; more wait for the next.
SEQUENCE_BATCH = 1000

_TRANSITION, _EVENT = insert(transition), insert(event)


def note(
    tx: Tx,
    kind: str,
    row_id: int,
    from_state: str | None,
    to_state: str,
    reason: str | None = None,
    actor: str | None = None,
) -> None:
    """Write one transition in the transaction that makes it."""
    values = {"kind": kind, "row_id": row_id, "from_state": from_state, "to_state": to_state}
    tx.execute(_TRANSITION, values | {"reason": reason, "actor": actor, "at": tx.now})


def note_all(
    tx: Tx, kind: str, moved: Sequence[tuple[int, str]], to_state: str, reason: str | None, actor: str | None
) -> None:
    """As `note`, for many rows given as (row id, state before)."""
    rest = {"kind": kind, "to_state": to_state, "reason": reason, "actor": actor, "at": tx.now}
    tx.execute(_TRANSITION, [rest | {"row_id": row_id, "from_state": before} for row_id, before in moved])


def of(tx: Tx, kind: str, row_id: int) -> list[dict[str, Any]]:
    """The transitions of one row, oldest first."""
    t = transition.c
    query = select(t.from_state, t.to_state, t.reason, t.actor, t.at).where(t.kind == kind, t.row_id == row_id)
    return [dict(row) for row in tx.execute(query.order_by(t.id)).mappings()]


def emit(tx: Tx, project_id: int | None, type_: str, resource_id: str, data: dict[str, Any]) -> None:
    """Store an event, unnumbered, with the money it tells of. `type_` is `<resource>.<state>`."""
    emit_all(tx, type_, [(project_id, resource_id, data)])


def emit_all(tx: Tx, type_: str, told: Sequence[tuple[int | None, str, dict[str, Any]]]) -> None:
    """As `emit`, for many resources given as (project id, resource id, data)."""
    rest = {"type": type_, "resource_kind": type_.partition(".")[0], "created_at": tx.now}
    rows = [
        rest | {"public_id": new_id("evt"), "project_id": project or HOUSE_PROJECT, "resource_id": about, "data": data}
        for project, about, data in told
    ]
    tx.execute(_EVENT, rows)


def number_events(tx: Tx) -> int:
    """Give the committed, unnumbered events their place in their project's gapless sequence; how many.

    Only the holder of the sequencer's lease may call this: two at once would meet at the unique (project, sequence).
    """
    e = event.c
    rows = tx.all(select(e.id, e.project_id).where(e.sequence.is_(None)).order_by(e.id).limit(SEQUENCE_BATCH))
    last: dict[int, int] = {}
    for project_id in {row.project_id for row in rows}:
        last[project_id] = tx.value(select(func.max(e.sequence)).where(e.project_id == project_id)) or 0
    for row in rows:
        last[row.project_id] += 1
        tx.execute(update(event).where(e.id == row.id).values(sequence=last[row.project_id]))
    return len(rows)
