"""What the demo expects, kept apart from what Coffer says: whole units, and a check that stops at a difference."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

#: Decimal places that are shown always; more only where they are not zero.
_PLACES_MIN = 8


class Deviation(Exception):
    """Something is not what it must be; the message says what, expected and found."""


@dataclass(frozen=True)
class Coin:
    """What Coffer calls an asset."""

    code: str
    chain: str
    decimals: int

    def show(self, units: int) -> str:
        """The exact amount, as the API takes it: `10_900` satoshi is `0.00010900`."""
        sign, units = ("-", -units) if units < 0 else ("", units)
        whole, part = divmod(units, 10**self.decimals)
        digits = f"{part:0{self.decimals}d}"
        kept = min(_PLACES_MIN, self.decimals)
        return f"{sign}{whole}.{digits[:kept]}{digits[kept:].rstrip('0')}"

    def units(self, amount: str) -> int:
        """`0.5` is `50_000_000` satoshi."""
        whole, _, part = amount.partition(".")
        return int(whole + part.ljust(self.decimals, "0"))


BTC = Coin("BTC", "bitcoin", 8)
XMR = Coin("XMR", "monero", 12)
ETH = Coin("ETH", "ethereum", 18)
USDT = Coin("USDT", "ethereum", 6)
COINS = (BTC, XMR, ETH, USDT)


@dataclass
class Checks:
    """Counts what was compared."""

    made: int = 0

    def same(self, what: str, found: Any, expected: Any) -> None:
        """Raises Deviation when they differ."""
        self.made += 1
        if found != expected:
            raise Deviation(f"{what}\n  expected: {expected}\n  found:    {found}")


@dataclass
class Purse:
    """What one customer has of one coin."""

    deposited: int = 0
    sent: int = 0  #: to other customers, also through escrows
    received: int = 0  #: from other customers
    swapped: int = 0  #: got in swaps, less what was given in them
    withdrawn: int = 0
    fees: int = 0
    held: int = 0  #: bound by withdrawals under way
    escrowed: int = 0  #: in escrows that are not over

    @property
    def left(self) -> int:
        """All that is owed, wherever it stands."""
        return self.deposited + self.received - self.sent + self.swapped - self.withdrawn - self.fees

    @property
    def available(self) -> int:
        return self.left - self.held - self.escrowed

    @property
    def moved(self) -> bool:
        return bool(self.deposited or self.received or self.swapped)


@dataclass
class Customer:
    """One customer as the demo keeps count of them."""

    name: str
    account: str = ""  #: id of the account at Coffer
    purses: dict[Coin, Purse] = field(default_factory=lambda: defaultdict(Purse))


@dataclass
class House:
    """What the shop's operator gains and pays of one coin."""

    capital: int = 0  #: put in by the operator
    traded: int = 0  #: what swaps brought into its inventory, less what they took out of it
    rounding: int = 0  #: what exact arithmetic left over in its favour
    fees_earned: int = 0
    network_fees: int = 0
    dust: int = 0  #: deposits below the minimum


@dataclass
class Totals:
    """Everybody's figures."""

    customers: dict[str, Customer] = field(default_factory=dict)
    houses: dict[Coin, House] = field(default_factory=lambda: defaultdict(House))

    def owed(self, coin: Coin) -> int:
        return sum(customer.purses[coin].left for customer in self.customers.values())

    def on_chain(self, coin: Coin) -> int:
        """What must lie on chain: what is owed, and what is the house's own."""
        house = self.houses[coin]
        gained = house.traded + house.rounding + house.fees_earned
        return self.owed(coin) + house.capital + gained - house.network_fees + house.dust
