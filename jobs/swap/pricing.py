"""What a swap gives for what it takes: exact arithmetic on whole atomic units, no clock, no database.

Of what the rate promises, the spread stays in the inventory; the service fee, and the network fee of a payout, come out
of the rest. What is not whole rounds against the requester, by less than one atomic unit of the amount that was not
named: of what is bought when the sold amount was named, of what is sold when the bought one was. In the second case
that one unit of the sold asset may buy many, and these are `rounding_units`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_DOWN, Context, Decimal
from fractions import Fraction
from typing import Any

#: Parts per million.
PPM = 1_000_000

#: A rate has this many significant digits; the rest is cut off, which is against the requester.
_RATE = Context(prec=30, rounding=ROUND_DOWN)


@dataclass(frozen=True, slots=True)
class Deal:
    """What one swap moves, in atomic units: the first of what is sold, all others of what is bought.

    The payee of a payout gets `buy_units`; its withdrawal is charged `network_fee_units`, 0 where there is none.
    """

    sell_units: int
    buy_units: int
    service_fee_units: int
    network_fee_units: int
    rounding_units: int

    @property
    def out_units(self) -> int:
        """All that leaves the inventory."""
        return self.buy_units + self.service_fee_units + self.network_fee_units + self.rounding_units

    def columns(self) -> Mapping[str, Any]:
        """As quotes and swaps store it."""
        return {name: getattr(self, name) for name in DEAL_COLUMNS}


DEAL_COLUMNS = tuple(Deal.__dataclass_fields__)


@dataclass(frozen=True, slots=True)
class NetworkFee:
    """What a payout is charged: parts per million of what the payee gets, rounded up, and not less than this."""

    least_units: int = 0
    ppm: int = 0

    def of(self, units: int) -> int:
        return max(self.least_units, _up(Fraction(units * self.ppm, PPM)))

    def payable(self, total: int) -> int:
        """The most that a payee can get out of `total` with its fee on top."""
        return max(0, min(total * PPM // (PPM + self.ppm), total - self.least_units))


@dataclass(frozen=True, slots=True)
class Terms:
    """`rate`: whole coins bought for one whole coin sold, above zero, before spread and fees."""

    rate: Decimal
    sell_decimals: int
    buy_decimals: int
    spread_ppm: int
    fee_ppm: int
    network: NetworkFee = NetworkFee()

    @property
    def units_rate(self) -> Fraction:
        """Atomic units that the inventory gives for one atomic unit."""
        exact = Fraction(self.rate) * Fraction(10) ** (self.buy_decimals - self.sell_decimals)
        return exact * Fraction(PPM - self.spread_ppm, PPM)


def rate_of(sell_price: Decimal, buy_price: Decimal) -> Decimal:
    """Coins bought for one coin sold, from the prices of both in one currency."""
    if not (sell_price.is_finite() and buy_price.is_finite() and sell_price > 0 and buy_price > 0):
        raise ValueError("a price is a number above zero")
    return _RATE.divide(sell_price, buy_price).normalize(_RATE)


def by_sell(terms: Terms, sell_units: int) -> Deal:
    """What this much sold buys; `buy_units` 0 when the fees eat all of it."""
    out = _down(sell_units * terms.units_rate)
    service = _up(Fraction(out * terms.fee_ppm, PPM))
    buy = terms.network.payable(out - service)
    network = terms.network.of(buy) if buy else 0
    return Deal(sell_units, buy, service, network, max(0, out - service - network - buy))


def by_buy(terms: Terms, buy_units: int) -> Deal:
    """The least to sell that buys this much (above zero)."""
    network = terms.network.of(buy_units)
    needed = _up(Fraction((buy_units + network) * PPM, PPM - terms.fee_ppm))
    service = _up(Fraction(needed * terms.fee_ppm, PPM))
    sell = _up(needed / terms.units_rate)
    out = _down(sell * terms.units_rate)
    return Deal(sell, buy_units, service, network, out - buy_units - service - network)


def sell_most(terms: Terms, *, buy_units: int | None = None, out_units: int | None = None) -> int:
    """The most that can be sold so that no more than this is bought, or leaves the inventory."""
    if out_units is not None:
        return max(0, _up((out_units + 1) / terms.units_rate) - 1)
    return by_buy(terms, (buy_units or 0) + 1).sell_units - 1


def _down(value: Fraction) -> int:
    return value.numerator // value.denominator


def _up(value: Fraction) -> int:
    return -(-value.numerator // value.denominator)
