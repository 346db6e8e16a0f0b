"""What a deposit's booking writes into the ownership histories: its own, and that of the order that it pays.

Written last in the transaction that books the money: whoever adds to a history has locked the balances before.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row

from ledger import ownership
from ledger.accounts import Owner
from ledger.db import Tx

#: Events that say in which ledger account a deposit is booked, as `deposit.credited_to` does.
BOOKINGS = frozenset({"credited", "held", "ignored", "resolved", "kept", "reversed"})


def booked(tx: Tx, paid: Row[Any], owner: Owner, event: str, reason: str | None, *, order: bool = False) -> None:
    """`owner` has all of the deposit `paid` now. `order`: that account is one of kind order."""
    _record(tx, paid, owner, event, paid.units, reason)
    if order:
        _of_order(tx, paid, owner, "deposited", paid.units, reason)


def gone(tx: Tx, paid: Row[Any], owner: Owner, reason: str, *, order: bool = False) -> None:
    """Its block was undone: `owner`, to whom it was booked, has nothing of it any more."""
    _record(tx, paid, owner, "reversed", 0, reason)
    if order:
        _of_order(tx, paid, owner, "deposit_reversed", 0, reason)


def _record(tx: Tx, paid: Row[Any], owner: Owner, event: str, units: int, reason: str | None) -> None:
    ownership.record(tx, ("deposit", paid.id), event, owner, paid.asset, units, ("deposit", paid.id), reason)


def _of_order(tx: Tx, paid: Row[Any], owner: Owner, event: str, units: int, reason: str | None) -> None:
    ownership.record(tx, ("order", owner[0]), event, owner, paid.asset, units, ("deposit", paid.id), reason)
