"""The claim under which this thread runs a step, for a step that does what no write to its row can fence.

A worker that slept through its lease finds out when it writes its outcome. What it tells the signer's record before,
or a halt that it raises in a transaction of its own, would stand all the same, and be explained by no row.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

from sqlalchemy import Select, Table, bindparam, select

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


@cache
def _ours(table: Table) -> Select[Any]:
    return select(table.c.id).where(table.c.id == bindparam("id"), table.c.lease_token == bindparam("token"))


def check(database: Database) -> None:
    """Raises `LeaseLost` in a step whose row was claimed by another worker since. Says nothing outside of steps."""
    held = _HELD.get()
    if held is None:
        return
    table, row_id, token = held
    if database.read(lambda tx: tx.value(_ours(table), {"id": row_id, "token": token})) is None:
        raise LeaseLost(f"{table.name} {row_id}")
