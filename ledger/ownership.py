"""Ownership history: who owned what, when and why, as one hash chain for each deposit, order and escrow.

A row carries the hash of the row before it, so that none can be changed, taken out or put between afterwards without
every later hash of its chain being wrong. The chain's head is locked by whoever adds to it: a chain never forks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Row, bindparam, insert, select, update

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
        if tx.execute(_BEGIN, _head_of(row)).rowcount == 1:
            tx.execute(_ADD, row)
            return
        head = _head(tx, subject)  # another transaction was first
        assert head is not None
    row = _linked(facts, head.number + 1, head.hash)
    tx.execute(_ADD, row)
    tx.execute(_MOVE, {"kind": subject[0], "row_id": subject[1], "number": row["number"], "hash": row["hash"]})


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


def _head(tx: Tx, subject: Subject) -> Row[Any] | None:
    """(number, hash) of the newest row, locked until the transaction ends."""
    return tx.execute(_HEAD, {"kind": subject[0], "row_id": subject[1]}).first()


def _head_of(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("subject_kind", "subject_id", "number", "hash")}


# Statements, built once: most chains begin with a deposit's credit, which has to be quick.

_h = ownership_head.c
_OURS = (_h.subject_kind == bindparam("kind")) & (_h.subject_id == bindparam("row_id"))
_HEAD = select(_h.number, _h.hash).where(_OURS).with_for_update()
#: Makes the head of a chain that begins; changes nothing when another transaction has. No savepoint is needed for it.
_BEGIN = insert(ownership_head).prefix_with("OR IGNORE", dialect="sqlite").prefix_with("IGNORE", dialect="mysql")
_BEGIN = _BEGIN.prefix_with("IGNORE", dialect="mariadb")
_ADD = insert(ownership)
_MOVE = update(ownership_head).where(_OURS).values(number=bindparam("number"), hash=bindparam("hash"))
