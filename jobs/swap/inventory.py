"""The house's inventory for swaps: paid in from its capital and taken back by operators, and watched.

Free inventory is in the ledger account `inventory`, what is promised to swaps in `reserved`; neither can be negative.
Both are claims on the same treasury as everything else: coins do not move when they are set aside.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, select

from jobs import alarms
from jobs.assets import asset_of
from jobs.services import Services
from jobs.tasks import Ran
from ledger import accounts, audit, balances, policy, postings
from ledger.accounts import HOUSE_ACCOUNT
from ledger.db import Tx
from ledger.errors import InsufficientFunds, InvalidInput
from ledger.ids import new_id
from ledger.money import Asset, format_units
from ledger.postings import Leg
from ledger.schema import asset

FREE, RESERVED, CAPITAL = (accounts.house(kind) for kind in ("inventory", "reserved", "capital"))


@dataclass(frozen=True, slots=True)
class Position:
    """One asset in atomic units. `capital` is what could still be set aside."""

    asset: str
    decimals: int
    free: int
    reserved: int
    low: int  #: below this much free inventory there is an alarm
    high: int  #: above this much, too; 0: never
    capital: int

    @property
    def note(self) -> str | None:
        """`low` or `high` while there is an alarm."""
        return "low" if self.free < self.low else "high" if 0 < self.high < self.free else None


def positions(tx: Tx) -> list[Position]:
    """Of every asset."""
    found = []
    for row in tx.all(select(asset.c.code, asset.c.decimals).order_by(asset.c.code)):
        rules, house = policy.of(tx, row.code), balances.of_house(tx, row.code)
        low, high = rules.inventory_low_units, rules.inventory_high_units
        owned = (house["inventory"], house["reserved"], low, high, house["capital"])
        found.append(Position(row.code, row.decimals, *owned))
    return found


def fund(tx: Tx, code: str, units: int, actor: str, key: str | None = None) -> None:
    """Set capital aside for swaps; audited. Nothing where the transfer `key` stands: it was done before. Raises
    `InsufficientFunds` when the house has not so much capital."""
    if key is not None and postings.standing(tx, key):
        return
    coin = _coin(tx, code)
    accounts.lock_balances(tx, accounts.find(tx, [FREE], code).values())  # one at a time: capital has no row to lock
    if key is not None and postings.standing(tx, key):  # whose reply was lost has come through meanwhile
        return
    capital = balances.of_house(tx, code)["capital"]
    if units > capital:
        has = f"{format_units(max(0, capital), coin.decimals)} {code}"
        detail = f"the house's capital is {has}; pay more in with `coffer treasury address {code}`"
        raise InsufficientFunds(detail, missing_units=units - capital)
    _move(tx, "inventory.fund", coin, Leg(CAPITAL, FREE, units), actor, key)


def withdraw(tx: Tx, code: str, units: int, actor: str, key: str | None = None) -> None:
    """Give inventory back to the capital; audited. Nothing where the transfer `key` stands: it was done before. Raises
    `InsufficientFunds` above what is free."""
    if key is not None and postings.standing(tx, key):
        return
    coin = _coin(tx, code)
    free = accounts.lock_balances(tx, accounts.find(tx, [FREE], code).values())
    there = next(iter(free.values()))
    if key is not None and postings.standing(tx, key):
        return
    if units > there:
        detail = f"free are {format_units(there, coin.decimals)} {code}; what is reserved belongs to swaps under way"
        raise InsufficientFunds(detail, missing_units=units - there)
    _move(tx, "inventory.withdraw", coin, Leg(FREE, CAPITAL, units), actor, key)


def task_step(row: Row[Any], services: Services) -> Ran:
    """Task step for `inventory`: alarms while there is too little or too much of an asset."""

    def watch(tx: Tx, _: Row[Any]) -> None:
        for each in positions(tx):
            _watch(tx, each)

    return Ran(effect=watch)


def _watch(tx: Tx, each: Position) -> None:
    for name, bound in (("low", each.low), ("high", each.high)):
        alarm, subject = f"inventory_{name}", f"inventory:{each.asset}"
        if each.note == name:
            has, limit = (f"{format_units(units, each.decimals)} {each.asset}" for units in (each.free, bound))
            alarms.raise_(tx, alarm, subject, f"{has} are free, the bound is {limit}")
        else:
            alarms.clear(tx, subject, alarm)


def new_key() -> str:
    """The key of a move of inventory that is about to be made."""
    return f"inventory:{new_id('iv')}"


def _move(tx: Tx, action: str, coin: Asset, leg: Leg, actor: str, key: str | None) -> None:
    key = key or new_key()
    if postings.post(tx, key, "inventory", coin.code, [leg], ("account", HOUSE_ACCOUNT)) is None:
        return
    amount = format_units(leg.units, coin.decimals)
    audit.record(tx, actor, action, coin.code, {"amount": amount, "transfer": key})


def _coin(tx: Tx, code: str) -> Asset:
    found = asset_of(tx, code)
    if found is None:
        raise InvalidInput("/asset", f"{code} is not an asset of this installation", "asset_unknown")
    return found
