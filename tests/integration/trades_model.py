"""What random trades are compared with: the rules of escrows and prices, written a second time in plain numbers."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from tests.flows.trade_engine import ASSETS, PRICES
from tests.flows.trade_shop import units_of

CODES = tuple(ASSETS)


@dataclass
class Deal:
    """An escrow as the model sees it, with the fee rule written a second time: cumulative, rounded down."""

    name: str
    buyer: str
    vendor: str
    code: str
    price: int
    fee: int
    by_buyer: bool
    held: int = 0
    released: int = 0
    refunded: int = 0
    taken: int = 0
    state: str = "awaiting_funds"

    @property
    def left(self) -> int:
        return self.price - self.released - self.refunded

    def due(self, released: int) -> int:
        return self.fee * released // self.price - self.taken

    @property
    def wanted(self) -> int:
        return self.price + (self.fee if self.by_buyer else 0)

    def gives(self, units: int) -> int:
        """So much of the price is released; what the vendor gets."""
        fee = self.due(self.released + units)
        got = units if self.by_buyer else units - fee
        self.released += units
        self.taken += fee
        self.held -= got + fee
        return got

    def returns(self, units: int) -> int:
        """So much of the price is refunded; what the buyer gets: with the fee that no longer falls due."""
        before = self.due(self.released + self.left)
        self.refunded += units
        back = units + (before - self.due(self.released + self.left) if self.by_buyer else 0)
        self.held -= back
        return back

    def ends(self) -> None:
        if self.left == 0:
            both = self.released and self.refunded
            self.state = "resolved" if both else "released" if self.released else "refunded"
            assert self.held == 0


def other(code: str) -> str:
    return next(each for each in CODES if each != code)


def worth(units: int, code: str, into: str) -> int:
    """So many units of one asset in units of the other, at the written rates, rounded down."""
    coins = Fraction(units, 10 ** ASSETS[code].decimals) * Fraction(PRICES[code]) / Fraction(PRICES[into])
    return int(coins * 10 ** ASSETS[into].decimals)


def given(quote: Any) -> int:
    """All that leaves the house's inventory."""
    return sum(units_of(quote[part]) for part in ("buy", "service_fee", "network_fee", "rounding"))
