"""Old quotes that nobody took go, and with them the last use of the rates that priced them."""

from __future__ import annotations

from sqlalchemy import delete, select

from jobs.saga import SECOND
from ledger.db import Tx
from ledger.schema import quote

KEPT_US = 90 * 86_400 * SECOND
#: Rows deleted in one go.
BATCH = 1_000


def prune(tx: Tx) -> bool:
    """Delete the oldest of them; True when there may be more. One that was taken stays for as long as its swap."""
    q = quote.c
    old = (q.state == "expired") & (q.expires_at < tx.now - KEPT_US)
    ids = [row.id for row in tx.all(select(q.id).where(old).order_by(q.expires_at).limit(BATCH))]
    if ids:
        tx.execute(delete(quote).where(q.id.in_(ids), q.state == "expired"))
    return len(ids) == BATCH
