"""High-water marks: how far a database had come, of all that must never be done twice or from the start again."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select

from ledger.db import Tx
from ledger.schema import audit_head, chain, event, index_counter, payment, resource, withdrawal


def read(tx: Tx) -> dict[str, Any]:
    """Marks of every chain, and of the whole. Chains without a wallet yet are told with what they have."""
    return {
        "now": tx.now,
        "chains": {row.name: _of_chain(tx, row) for row in tx.all(select(chain).order_by(chain.c.name))},
        "payments": int(tx.value(select(func.max(payment.c.id))) or 0),
        "withdrawals": int(tx.value(select(func.max(withdrawal.c.id))) or 0),
        "events": int(tx.value(select(func.max(event.c.id))) or 0),
        "audit": int(tx.value(select(audit_head.c.audit_id)) or 0),
    }


def _of_chain(tx: Tx, row: Any) -> dict[str, Any]:
    """The next index to be handed out, what the wallet watched, how many resources were ever bound and the newest of
    them (a nonce, where resources are nonces), and the block up to which the chain was read."""
    r = resource.c
    bound = tx.value(select(func.count()).select_from(resource).where(r.chain == row.name))
    newest = tx.value(select(r.resource_key).where(r.chain == row.name).order_by(r.id.desc()).limit(1))
    index = tx.value(select(index_counter.c.next_index).where(index_counter.c.chain == row.name))
    return {
        "bound": row.account_public_key is not None,
        "next_index": int(index),
        "watched": int(row.watched_count),
        "tip_height": row.tip_height,
        "tip_hash": row.tip_hash,
        "cursor": row.scan_cursor,
        "resources": int(bound),
        "newest_resource": newest,
    }
