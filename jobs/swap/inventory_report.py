"""What swaps have brought the house: per asset in its own units, altogether in the currency that rates are in.

Profit is what pricing earned: spread, service fees and rounding, each swap valued at the rates that priced it. What the
market has done to the position since is not in it: the position's value at present rates stands beside.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import ROUND_FLOOR, Decimal
from fractions import Fraction
from typing import Any

from sqlalchemy import Row, func, select

from jobs.rates import usable as rates
from jobs.swap import inventory
from jobs.swap.inventory import Position
from ledger.db import Tx
from ledger.schema import quote, rate, swap

#: Swaps read in one go.
PAGE = 1_000


@dataclass
class Turnover:
    """Of one asset, in atomic units: what customers sold and bought of it, and what the house took in it."""

    sold: int = 0
    bought: int = 0
    service_fees: int = 0
    rounding: int = 0


@dataclass
class Report:
    """Sums of money are exact and in `currency`; `value` is of the positions that have a price now."""

    currency: str = rates.CURRENCY
    swaps: int = 0
    volume: Fraction = Fraction(0)
    spread: Fraction = Fraction(0)
    service_fees: Fraction = Fraction(0)
    rounding: Fraction = Fraction(0)
    value: Fraction = Fraction(0)
    positions: list[Position] = field(default_factory=list)
    prices: dict[str, Decimal] = field(default_factory=dict)
    turnover: dict[str, Turnover] = field(default_factory=lambda: defaultdict(Turnover))

    @property
    def profit(self) -> Fraction:
        return self.spread + self.service_fees + self.rounding


def report(tx: Tx, since_us: int) -> Report:
    """All swaps executed at or after this moment, whatever became of their payouts."""
    found = Report(positions=inventory.positions(tx))
    decimals = {each.asset: each.decimals for each in found.positions}
    for row in _executed(tx, since_us):
        _add(found, row, decimals)
    for code, row in rates.newest(tx).items():
        if row.price is not None:
            found.prices[code] = Decimal(row.price)
    for each in found.positions:
        price = Fraction(found.prices.get(each.asset, Decimal(0)))
        found.value += Fraction(each.free + each.reserved, 10**each.decimals) * price
    return found


def shown(value: Fraction) -> str:
    """Two decimals, rounded down: a profit is not made to look larger, nor a loss smaller."""
    cents = (value * 100).__floor__()
    return str((Decimal(cents) / 100).quantize(Decimal("0.01"), ROUND_FLOOR))


def _add(found: Report, row: Row[Any], decimals: dict[str, int]) -> None:
    one_sold, one_bought = Fraction(row.sell_price), Fraction(row.buy_price)
    sold = Fraction(row.sell_units, 10 ** decimals[row.sell_asset]) * one_sold
    each = Fraction(1, 10 ** decimals[row.buy_asset]) * one_bought
    out = row.buy_units + row.service_fee_units + row.network_fee_units + row.rounding_units
    found.swaps += 1
    found.volume += sold
    found.spread += sold - out * each
    found.service_fees += row.service_fee_units * each
    found.rounding += row.rounding_units * each
    found.turnover[row.sell_asset].sold += row.sell_units
    bought = found.turnover[row.buy_asset]
    bought.bought += row.buy_units + row.network_fee_units
    bought.service_fees += row.service_fee_units
    bought.rounding += row.rounding_units


def _executed(tx: Tx, since_us: int) -> Iterator[Row[Any]]:
    """Executed swaps with the prices that they were executed at, in pages: the whole history may be long."""
    s, q = swap.c, quote.c
    sold_at, bought_at = rate.alias("sold_at"), rate.alias("bought_at")
    query = (
        select(swap, sold_at.c.price.label("sell_price"), bought_at.c.price.label("buy_price"))
        .join(quote, q.id == s.quote_id)
        .join(sold_at, sold_at.c.id == func.coalesce(s.requote_sell_rate_id, q.sell_rate_id))
        .join(bought_at, bought_at.c.id == func.coalesce(s.requote_buy_rate_id, q.buy_rate_id))
        .where(s.executed_at >= since_us)
        .order_by(s.id)
    )
    last = 0
    while rows := tx.all(query.where(s.id > last).limit(PAGE)):
        yield from rows
        last = rows[-1].id
