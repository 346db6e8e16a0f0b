"""Whether an index holds what the books and the deposits under way say, when the deposit's own block cannot be asked.

A node that is no archive forgets the balances of old blocks; a worker that was away for longer cannot compare what a
token's events say with what arrived. The balance of today can.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, select

from jobs import holdings
from jobs.assets import contract_of
from jobs.services import Services, chain_row
from jobs.sweep import rows as sweep_rows
from ledger.db import Tx
from ledger.schema import deposit

#: In `SeenDeposit.suspect`: the balances of its block cannot be read any more.
UNKNOWN = "balance_unknown"


def agrees(services: Services, row: Row[Any], home: Row[Any]) -> bool | None:
    """Whether today's balance of the deposit's index is exactly what is booked there and on its way there. None while
    that cannot be judged: a payment of the index is under way, or the chain has moved on since it was read."""
    expected, token = services.database.read(lambda tx: (_expected(tx, row, home), contract_of(tx, row.asset)))
    if expected is None:
        return None
    balance = services.wallet(row.chain).balance(token, [home.idx])
    still, known = services.database.read(lambda tx: (_expected(tx, row, home), chain_row(tx, row.chain)))
    if still != expected or balance.tip.hash != known.tip_hash:
        return None
    return balance.at_index.get(home.idx) == expected


def _expected(tx: Tx, row: Row[Any], home: Row[Any]) -> int | None:
    """None while a payment of this index is under way."""
    if sweep_rows.paying(tx, row.chain, home.idx):
        return None
    d = deposit.c
    coming = (d.address_id == home.id) & (d.asset == row.asset) & (d.credited == 0) & (d.seen == "confirmed")
    under_way = sum(found.units for found in tx.all(select(d.units).where(coming)))
    return int(holdings.at(tx, row.chain, row.asset, home.idx) + under_way)
