"""What came in for a swap: which deposits it is made of, and the history of whose they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, select

from ledger import ownership, policy
from ledger.accounts import Owner, house
from ledger.db import Tx
from ledger.schema import deposit, ledger_account
from ledger.types import total


@dataclass(frozen=True, slots=True)
class CameIn:
    """Atomic units that the swap holds, by when they were first seen; `coming_units` more were seen in time and are not
    credited yet. What will be ignored as below the minimum never comes."""

    on_time_units: int
    late_units: int
    coming_units: int


def came_in(tx: Tx, row: Row[Any]) -> CameIn:
    """What stands credited to a swap, and what will be."""
    late = sum(paid.units for paid in held_by(tx, row) if paid.late)
    return CameIn(max(0, row.held_units - late), late, _coming(tx, row))


def _coming(tx: Tx, row: Row[Any]) -> int:
    d = deposit.c
    least = policy.of(tx, row.sell_asset).deposit_minimum_units
    on_its_way = (d.address_id == row.address_id) & (d.asset == row.sell_asset) & (d.late == 0) & (d.units >= least)
    query = select(total(d.units)).where(on_its_way, d.state.in_(("detected", "confirming")), d.seen != "gone")
    return int(tx.value(query) or 0)


def held_by(tx: Tx, row: Row[Any]) -> Sequence[Row[Any]]:
    """The deposits whose money a swap that has not ended holds, oldest first."""
    d, a = deposit.c, ledger_account.c
    mine = (d.address_id == row.address_id) & (d.credited == 1)
    query = select(d.id, d.units, d.late).join(ledger_account, a.id == d.credited_to)
    own = (a.account_id == row.account_id) & (a.kind == "swap") & (a.asset == row.sell_asset)
    return tx.all(query.where(mine, own).order_by(d.id))


def record_exchange(tx: Tx, row: Row[Any], sold_units: int) -> None:
    """So much of what the swap held is the house's now, the oldest deposits first; the rest is the account's."""
    left = sold_units
    for paid in held_by(tx, row):
        sold = min(paid.units, left)
        left -= sold
        _record(tx, row, paid.id, "swapped", house("inventory"), sold)
        _record(tx, row, paid.id, "returned", (row.account_id, "available"), paid.units - sold)


def record_refund(tx: Tx, row: Row[Any]) -> None:
    """All that the swap held is the account's again."""
    for paid in held_by(tx, row):
        _record(tx, row, paid.id, "refunded", (row.account_id, "available"), paid.units)


def _record(tx: Tx, row: Row[Any], deposit_id: int, event: str, owner: Owner, units: int) -> None:
    if units:
        ownership.record(tx, ("deposit", deposit_id), event, owner, row.sell_asset, units, ("swap", row.id))
