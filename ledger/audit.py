"""What operators did, in a chain: each row carries the hash of the one before, so a changed row shows."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from sqlalchemy import insert, select, update

from ledger.db import Tx
from ledger.schema import audit, audit_head

GENESIS = "0" * 64


def record(tx: Tx, actor: str, action: str, target: str, details: dict[str, Any]) -> None:
    """Append one act in the transaction that carries it out; both stand or neither."""
    head = tx.one(select(audit_head.c.audit_id, audit_head.c.hash).with_for_update())
    row = {
        "id": head.audit_id + 1,
        "at": tx.now,
        "actor": actor,
        "action": action,
        "target": target,
        "details": details,
    }
    digest = _hash(head.hash, row)
    tx.execute(insert(audit).values(row | {"previous_hash": head.hash, "hash": digest}))
    tx.execute(update(audit_head).values(audit_id=row["id"], hash=digest))


def faults(tx: Tx) -> list[str]:
    """Where the chain is broken: a changed, missing or added row. Empty when it is whole."""
    previous, expected_id, found = GENESIS, 1, []
    for row in tx.execute(select(audit).order_by(audit.c.id)).mappings():
        body = {name: row[name] for name in ("id", "at", "actor", "action", "target", "details")}
        if row["id"] != expected_id or row["previous_hash"] != previous or row["hash"] != _hash(previous, body):
            found.append(f"audit row {row['id']} does not follow from the one before")
        previous, expected_id = row["hash"], row["id"] + 1
    head = tx.one(select(audit_head.c.audit_id, audit_head.c.hash))
    if (head.audit_id, head.hash) != (expected_id - 1, previous):
        found.append("the audit log's head is not its last row")
    return found


def _hash(previous: str, row: dict[str, Any]) -> str:
    body = json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(f"{previous}\n{body}".encode("ascii")).hexdigest()
