"""A depositor's own withdrawals: what they hold and has not left is his, so it repays his debt before the money of
anybody else is kept still.

Left where it is, it would be the one thing that a vanished deposit is not taken back from, and be paid to him as soon
as the house has written his debt off.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, select

from jobs import withdrawal
from ledger import balances
from ledger.db import Tx
from ledger.schema import withdrawal as table


def lock(tx: Tx, account_id: int, asset: str) -> list[Row[Any]]:
    """The account's withdrawals of this asset that wait in no payment, locked, the oldest first.

    To be called before any balance is locked, as whoever cancels one does; and again behind the balance, since one more
    may have been asked for.
    """
    w = table.c
    query = select(w.id).where(w.account_id == account_id, w.asset == asset, w.state.in_(withdrawal.UNSENT))
    ids = [row.id for row in tx.all(query.where(w.payment_id.is_(None)))]
    return withdrawal.lock_all(tx, ids) if ids else []


def repay(tx: Tx, account_id: int, asset: str) -> None:
    """Cancel them, the newest first, until the account owes nothing in this asset: what they held repays it."""
    for row in reversed(lock(tx, account_id, asset)):
        if balances.get(tx, (account_id, "receivable"), asset) == 0:
            return
        withdrawal.take_back(tx, row)
