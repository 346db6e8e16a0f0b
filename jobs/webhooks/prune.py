"""Old attempts go; that an event was delivered, and when, stays with its delivery."""

from __future__ import annotations

from sqlalchemy import delete, select

from jobs.saga import SECOND
from ledger.db import Tx
from ledger.schema import webhook_attempt, webhook_delivery

KEPT_US = 90 * 86_400 * SECOND
#: Rows deleted in one go.
BATCH = 1_000


def prune(tx: Tx) -> bool:
    """Delete the oldest attempts of deliveries that have ended; True when there may be more."""
    a, d = webhook_attempt.c, webhook_delivery.c
    over = (a.at < tx.now - KEPT_US) & (d.state != "pending")  # what waits for ever must not stand in the way
    query = select(a.id).join(webhook_delivery, d.id == a.delivery_id).where(over)
    old = [row.id for row in tx.all(query.order_by(a.id).limit(BATCH))]
    if old:
        tx.execute(delete(webhook_attempt).where(a.id.in_(old)))
    return len(old) == BATCH
