"""Takes the sweep contract's code away again from addresses that a batch had run it (EIP-7702).

While an address runs it, a transfer of exactly 21000 gas to it fails (NODES 0.13): the payer keeps his coin, and
wonders. Batches take only addresses that were handed out for tokens; a day later those are plain again too. An address
that is swept every day keeps its code, which saves giving it anew each time.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, select

from jobs.assets import native
from jobs.payment import books as payment_books
from jobs.payment import make as payment_make
from jobs.saga import SECOND
from jobs.sweep import rows as sweep_rows
from jobs.sweep.rules import Price
from ledger.db import Tx
from ledger.schema import payment, payment_item

CLEAR_AFTER_US = 24 * 3_600 * SECOND
#: What was not cleared by then is not looked for any more, so that the list stays short.
LOOK_BACK_US = 30 * 24 * 3_600 * SECOND


def plan(tx: Tx, chain: str, at_once: int, offer: Price) -> None:
    """Make the next payment that clears, when there is something to clear and none is under way."""
    indices = due(tx, chain)[:at_once]
    if indices and payment_make.room(tx, chain):
        call = {"clear": indices}
        coin = native(tx, chain)
        made = payment_make.Plan(chain, coin, "sweep", (), offer.rate, offer.hot_ceiling, call=call, batched=True)
        payment_make.make(tx, made)


def due(tx: Tx, chain: str) -> list[int]:
    """Indices that run code since more than a day, and from which nothing is on its way now."""
    p = payment.c
    ours = (p.chain == chain) & (p.purpose == "sweep") & (p.batched == 1) & (p.created_at > tx.now - LOOK_BACK_US)
    since: dict[int, int] = {}
    for row in tx.all(select(p.id, p.state, p.declined, p.call, p.created_at).where(ours).order_by(p.id)):
        if row.call is None:
            since |= dict.fromkeys(_delegated(tx, row), row.created_at)
        elif row.state not in sweep_rows.ENDED:
            return []
        elif _cleared(row):
            since = {index: at for index, at in since.items() if index not in row.call["clear"]}
    busy = sweep_rows.paying(tx, chain)
    return [index for index, at in since.items() if at < tx.now - CLEAR_AFTER_US and index not in busy]


def _delegated(tx: Tx, row: Row[Any]) -> list[int]:
    """A transaction that the chain has carried out gives the code; one that it reverted does so too."""
    if row.state not in ("settled", "final") and row.declined != payment_books.REVERTED:
        return []
    i = payment_item.c
    return [item.source_idx for item in tx.all(select(i.source_idx).where(i.payment_id == row.id))]


def _cleared(row: Row[Any]) -> bool:
    """Settled, or refused because none of them runs any code."""
    return row.state in ("settled", "final") or row.declined == "address_refused"
