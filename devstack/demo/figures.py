"""What the demo expects, kept apart from what Coffer says: whole satoshi, and a check that stops at a difference."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

COIN = 10**8


class Deviation(Exception):
    """Something is not what it must be; the message says what, expected and found."""


def btc(units: int) -> str:
    """`10_900` is `0.00010900`."""
    sign, units = ("-", -units) if units < 0 else ("", units)
    return f"{sign}{units // COIN}.{units % COIN:08d}"


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
class Customer:
    """One customer as the demo keeps count of them; amounts in satoshi."""

    name: str
    account: str = ""  #: id of the account at Coffer
    deposited: int = 0
    sent: int = 0  #: to other customers
    received: int = 0  #: from other customers
    withdrawn: int = 0
    fees: int = 0
    held: int = 0  #: bound by withdrawals under way

    @property
    def available(self) -> int:
        return self.deposited + self.received - self.sent - self.withdrawn - self.fees - self.held


@dataclass
class House:
    """What the shop's operator gains and pays; amounts in satoshi."""

    fees_earned: int = 0
    network_fees: int = 0
    dust: int = 0  #: deposits below the minimum


@dataclass
class Totals:
    """Everybody's figures."""

    customers: dict[str, Customer] = field(default_factory=dict)
    house: House = field(default_factory=House)

    @property
    def owed(self) -> int:
        return sum(c.available + c.held for c in self.customers.values())

    @property
    def on_chain(self) -> int:
        """What the wallet must hold: what is owed, and what is the house's own."""
        return self.owed + self.house.fees_earned - self.house.network_fees + self.house.dust
