"""What the ledger says of a history's end: a chain that is whole may still have been left behind, or run ahead."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Row, select

from jobs.ownership.deposits import BOOKINGS
from ledger.db import Tx
from ledger.schema import deposit, escrow, ledger_account

Chains = Mapping[int, Sequence[Row[Any]]]  #: subject id -> its rows in order


def deposits(tx: Tx, after: int, upto: int | None, chains: Chains) -> dict[int, str]:
    """Deposit id in (after, upto] -> how its history and its booking differ."""
    d, a = deposit.c, ledger_account.c
    query = select(d.id, d.credited, d.units, a.account_id, a.kind).outerjoin(ledger_account, a.id == d.credited_to)
    query = query.where(d.id > after, d.credits > 0)
    found = {}
    for row in tx.execute(query if upto is None else query.where(d.id <= upto)):
        booked = (row.account_id, row.kind, row.units) if row.credited else None
        if _booking(chains.get(row.id, ())) != booked:
            found[row.id] = _told(booked)
    return found


def _booking(rows: Sequence[Row[Any]]) -> tuple[int, str, int] | None:
    """(account id, kind, units) of where it was last booked; None: nowhere."""
    last = next((row for row in reversed(rows) if row.event in BOOKINGS), None)
    return None if last is None or last.event == "reversed" else (last.account_id, last.place, last.units)


def _told(booked: tuple[int, str, int] | None) -> str:
    what = "taken back" if booked is None else f"booked to {booked[1]} of account {booked[0]}"
    return f"the ledger has it {what}, its history does not end so"


def escrows(tx: Tx, after: int, upto: int | None, chains: Chains) -> dict[int, str]:
    """Escrow id in (after, upto] -> how its history and what it holds differ. Each movement ends with a row of what is
    in escrow now."""
    e = escrow.c
    query = select(e.id, e.held_units).where(e.id > after)
    found = {}
    for row in tx.execute(query if upto is None else query.where(e.id <= upto)):
        told = next((line.units for line in reversed(chains.get(row.id, ())) if line.place == "escrow"), 0)
        if told != row.held_units:
            found[row.id] = f"the ledger has {row.held_units} units in it, its history {told}"
    return found


#: Subject kind -> the check of all subjects of that kind whose ids lie in a range.
FACTS: Mapping[str, Callable[[Tx, int, int | None, Chains], dict[int, str]]] = {
    "deposit": deposits,
    "escrow": escrows,
}
