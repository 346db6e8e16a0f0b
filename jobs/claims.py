"""The claim under which this thread runs a step, for a step that does what no write to its row can fence.

A worker that slept through its lease finds out when it writes its outcome. What it tells the signer's record before,
or a halt that it raises in a transaction of its own, would stand all the same, and be explained by no row.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from sqlalchemy import Table, select

from ledger.db import Database
from ledger.errors import LeaseLost

_HELD: ContextVar[tuple[Table, int, str] | None] = ContextVar("coffer_claim", default=None)


@contextmanager
def holding(table: Table, row_id: int, token: str) -> Iterator[None]:
    """What runs within is a step of this row, claimed under this token."""
    before = _HELD.set((table, row_id, token))
    try:
        yield
    finally:
        _HELD.reset(before)


def check(database: Database) -> None:
    """Raises `LeaseLost` in a step whose row was claimed by another worker since. Says nothing outside of steps."""
    held = _HELD.get()
    if held is None:
        return
    table, row_id, token = held
    ours = select(table.c.id).where(table.c.id == row_id, table.c.lease_token == token)
    if database.read(lambda tx: tx.value(ours)) is None:
        raise LeaseLost(f"{table.name} {row_id}")
