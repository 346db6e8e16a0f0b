"""Ownership history: who owned what, when and why, as one hash chain for each deposit, order and escrow.

A row carries the hash of the row before it, so that none can be changed, taken out or put between afterwards without
every later hash of its chain being wrong. The chain's head is locked by whoever adds to it: a chain never forks.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from sqlalchemy import Row, insert, select, update
from sqlalchemy.exc import IntegrityError

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
    number, before = _head(tx, subject)
    values: dict[str, Any] = {
        "subject_kind": subject[0],
        "subject_id": subject[1],
        "number": number + 1,
        "event": event,
        "account_id": owner[0],
        "place": owner[1],
        "asset": asset,
        "units": units,
        "reason": reason,
        "cause_kind": cause[0],
        "cause_id": cause[1],
        "at": tx.now,
        "previous_hash": before,
    }
    values["hash"] = digest(values)
    tx.execute(insert(ownership).values(values))
    h = ownership_head.c
    ours = (h.subject_kind == subject[0]) & (h.subject_id == subject[1])
    tx.execute(update(ownership_head).where(ours).values(number=number + 1, hash=values["hash"]))


def digest(values: dict[str, Any]) -> str:
    """SHA-256 over the row's facts as canonical JSON, the hash before included; 64 hex digits."""
    facts = [str(values[name]) if name == "units" else values[name] for name in _HASHED]
    return hashlib.sha256(json.dumps(facts, separators=(",", ":"), ensure_ascii=True).encode()).hexdigest()


def of(tx: Tx, subject: Subject) -> list[Row[Any]]:
    """A subject's rows, oldest first."""
    o = ownership.c
    query = select(ownership).where(o.subject_kind == subject[0], o.subject_id == subject[1])
    return list(tx.all(query.order_by(o.number)))


def _head(tx: Tx, subject: Subject) -> tuple[int, str]:
    """(number, hash) of the newest row, locked until the transaction ends; made when there is none."""
    h = ownership_head.c
    query = select(h.number, h.hash).where(h.subject_kind == subject[0], h.subject_id == subject[1]).with_for_update()
    found = tx.first(query)
    if found is None:
        first = {"subject_kind": subject[0], "subject_id": subject[1], "number": 0, "hash": GENESIS}
        try:
            with tx.savepoint():
                tx.execute(insert(ownership_head).values(first))
        except IntegrityError:
            pass  # another transaction was first; its row is locked next
        found = tx.one(query)
    return int(found.number), str(found.hash)
