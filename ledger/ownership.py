"""Ownership history: who owned what, when and why, as one hash chain for each deposit, order and escrow.

A row carries the hash of the row before it, so that none can be changed, taken out or put between afterwards without
every later hash of its chain being wrong. The chain's head is locked by whoever adds to it: a chain never forks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Row, insert, select, update

from ledger.accounts import Owner
from ledger.db import Tx
from ledger.schema import ownership, ownership_head

#: What the first row of every chain follows.
GENESIS = "0" * 64

Subject = tuple[str, int]  #: (`deposit`, `order` or `escrow`, row id); an order is an account of that kind

#: What a hash is over, in this order.
_HASHED = (
    "subject_kind",
    "subject_id",
    "number",
    "event",
    "account_id",
    "place",
    "asset",
    "units",
    "reason",
    "cause_kind",
    "cause_id",
    "at",
    "previous_hash",
)


def record(
    tx: Tx,
    subject: Subject,
    event: str,
    owner: Owner,
    asset: str,
    units: int,
    cause: tuple[str, int],
    reason: str | None = None,
) -> None:
    """Add to a subject's history, in the transaction that moves the money: from now on `owner` has `units` of it."""
    facts: dict[str, Any] = {"subject_kind": subject[0], "subject_id": subject[1], "event": event}
    facts |= {"account_id": owner[0], "place": owner[1], "asset": asset, "units": units, "reason": reason}
    facts |= {"cause_kind": cause[0], "cause_id": cause[1], "at": tx.now}
    head = _head(tx, subject)
    if head is None:
        row = _linked(facts, 1, GENESIS)
        if _begin(tx, row):
            tx.execute(insert(ownership).values(row))
            return
        head = _head(tx, subject)  # another transaction was first
        assert head is not None
    row = _linked(facts, head.number + 1, head.hash)
    tx.execute(insert(ownership).values(row))
    tx.execute(update(ownership_head).where(_of_subject(subject)).values(number=row["number"], hash=row["hash"]))


def _linked(facts: dict[str, Any], number: int, before: str) -> dict[str, Any]:
    row = facts | {"number": number, "previous_hash": before}
    return row | {"hash": digest(row)}


def digest(values: Mapping[Any, Any]) -> str:
    """SHA-256 over the row's facts as canonical JSON, the hash before included; 64 hex digits."""
    facts = [str(values[name]) if name == "units" else values[name] for name in _HASHED]
    return hashlib.sha256(json.dumps(facts, separators=(",", ":"), ensure_ascii=True).encode()).hexdigest()


def of(tx: Tx, subject: Subject) -> list[Row[Any]]:
    """A subject's rows, oldest first."""
    o = ownership.c
    query = select(ownership).where(o.subject_kind == subject[0], o.subject_id == subject[1])
    return list(tx.all(query.order_by(o.number)))


def _of_subject(subject: Subject) -> ColumnElement[bool]:
    h = ownership_head.c
    return (h.subject_kind == subject[0]) & (h.subject_id == subject[1])


def _head(tx: Tx, subject: Subject) -> Row[Any] | None:
    """(number, hash) of the newest row, locked until the transaction ends."""
    h = ownership_head.c
    return tx.first(select(h.number, h.hash).where(_of_subject(subject)).with_for_update())


def _begin(tx: Tx, row: dict[str, Any]) -> bool:
    """Make the head of a chain whose first row this is; False when another transaction has. One statement, and no
    savepoint around it: most chains begin with a deposit's credit, which has to be quick."""
    head = insert(ownership_head).prefix_with("OR IGNORE", dialect="sqlite")
    for dialect in ("mysql", "mariadb"):
        head = head.prefix_with("IGNORE", dialect=dialect)
    values = {name: row[name] for name in ("subject_kind", "subject_id", "number", "hash")}
    return tx.execute(head.values(values)).rowcount == 1
