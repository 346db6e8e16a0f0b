"""Ownership histories in pages, newest first, each with whether what it shows is what was written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from sqlalchemy import Row, Select, select

from ledger.db import Tx
from ledger.ownership import GENESIS, Subject, digest
from ledger.schema import ownership, ownership_head


@dataclass(frozen=True)
class Page:
    """`rows`: one more than asked for when there are more. `verified` is of the rows that are shown."""

    rows: Sequence[Row[Any]]
    verified: bool


def chain(tx: Tx, subject: Subject, before: int | None, limit: int) -> Page:
    """A subject's rows older than row id `before`. Verified: each is as it was written and follows from the one before
    it, and the newest of all is the chain's head. What is older is verified by the pages that show it."""
    o, h = ownership.c, ownership_head.c
    query = select(ownership).where(o.subject_kind == subject[0], o.subject_id == subject[1])
    rows = _page(tx, query.order_by(o.number.desc()), before, limit)  # numbers and ids grow together
    verified = _as_written(rows[:limit]) and all(_follows(new, old) for new, old in pairwise(rows))
    if len(rows) <= limit and rows:
        verified = verified and (rows[-1].number, rows[-1].previous_hash) == (1, GENESIS)
    if before is None:
        query = select(h.number, h.hash).where(h.subject_kind == subject[0], h.subject_id == subject[1])
        head = tx.first(query)
        newest = (rows[0].number, rows[0].hash) if rows else None
        verified = verified and newest == (None if head is None else (head.number, head.hash))
    return Page(rows, verified)


def of_account(tx: Tx, account_id: int, before: int | None, limit: int) -> Page:
    """The rows of all histories by which this account came to own something. Verified: each is as it was written."""
    query = select(ownership).where(ownership.c.account_id == account_id)
    rows = _page(tx, query.order_by(ownership.c.id.desc()), before, limit)
    return Page(rows, _as_written(rows[:limit]))


def _page(tx: Tx, query: Select[Any], before: int | None, limit: int) -> list[Row[Any]]:
    if before is not None:
        query = query.where(ownership.c.id < before)
    return list(tx.all(query.limit(limit + 1)))


def _as_written(rows: Sequence[Row[Any]]) -> bool:
    return all(digest(row._mapping) == row.hash for row in rows)


def _follows(new: Row[Any], old: Row[Any]) -> bool:
    return bool(new.number == old.number + 1 and new.previous_hash == old.hash)
