"""The columns by which the saga runtime owns a row. The row is the queue: there is no other memory."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, Index, Integer

from ledger.schema.base import moment, word
from ledger.types import Micros


def saga_columns() -> list[Column[Any]]:
    """State, clock and lease of a row that `jobs.saga.advance` drives.

    `due_at` NULL means that nothing is left to do. `lease_token` fences every write of the worker that holds it.
    `crashes` counts claims since the last commit by their holder; `attempts` counts node failures in a row.
    `wakes` counts wake-ups that found the row busy, so that none is lost.
    """
    return [
        word("state", 24),
        word("status_reason", 64, null=True),
        word("status_detail", 512, null=True),
        Column("version", Integer, nullable=False, default=1),
        moment("due_at", null=True),
        Column("lease_until", Micros, nullable=False, default=0),
        word("lease_token", 32, null=True),
        Column("crashes", Integer, nullable=False, default=0),
        Column("attempts", Integer, nullable=False, default=0),
        Column("wakes", Integer, nullable=False, default=0),
        moment("created_at"),
        moment("updated_at"),
    ]


def due_index(table_name: str) -> Index:
    """The sweeper's only query runs on this."""
    return Index(f"ix_{table_name}_due", "due_at", "lease_until")
