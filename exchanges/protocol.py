"""What Coffer needs of an exchange, and nothing else: the present bid and ask of some pairs, and one kind of order."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol

from ledger.errors import NodeUnavailable

#: Prices are compared and kept in this currency; another quote currency is converted by its own price in it.
CURRENCY = "USD"


@dataclass(frozen=True, slots=True)
class Ticker:
    """What one source says of one pair. Nothing is checked yet: who uses it does (`jobs.rates.judge`)."""

    bid: Decimal | None
    ask: Decimal | None
    at: int | None  #: microseconds UTC, as the source says; None: it does not say


class SourceFailed(Exception):
    """A source gave no usable answer at all. The text is for operators; it holds no secret."""


class RateSource(Protocol):
    """One place that knows prices."""

    name: str

    def tickers(self, pairs: Collection[str]) -> Mapping[str, Ticker]:
        """The tickers of those of `pairs` (`BTC/USD`) that it knows. Bounded in time. Raises `SourceFailed`."""
        ...


@dataclass(frozen=True)
class Desk:
    """The sources of this installation, and how they are asked."""

    sources: tuple[RateSource, ...] = ()
    sources_min: int = 2  #: fewer words than this on an asset price nothing
    symbols: Mapping[str, str] = field(default_factory=dict)  #: asset code -> its name on exchanges, where they differ
    quotes: tuple[str, ...] = (CURRENCY,)  #: what prices may be given in, the best first
    fiat: tuple[str, ...] = ()  #: further currencies that prices are shown in

    def symbol(self, code: str) -> str:
        """The asset's name on exchanges: `USDC.ETH` is traded as USDC."""
        return self.symbols.get(code, code.partition(".")[0])


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be traded: at `limit` or better, at once or not at all; what is not filled at once is dropped."""

    client_order_id: str
    pair: str  #: `BTC/USD`
    side: str  #: buy or sell
    amount: Decimal  #: of the first of the pair; cut down to the venue's steps
    limit: Decimal  #: of the second for one of the first


@dataclass(frozen=True, slots=True)
class FoundOrder:
    """An order as the venue shows it."""

    venue_order_id: str
    done: bool  #: nothing more of it can be filled
    filled: Decimal
    average_price: Decimal | None
    cost: Decimal | None


class OrderRefused(Exception):
    """The venue, or the check before it was asked, said no: there is no such order. The text holds no secret."""


class OutcomeUnknown(Exception):
    """It was sent and nothing certain came back: it may stand, or stand later. Only looking it up can tell."""


class VenueUnavailable(NodeUnavailable):
    """No usable answer to a question that changes nothing."""

    code = "exchange_unavailable"


class HedgeVenue(Protocol):
    """Where the house trades what its inventory has too much or too little of."""

    name: str

    def place(self, order: Order) -> str:
        """Send the order, once, and return the venue's id of it. Raises `OrderRefused` or `OutcomeUnknown`."""
        ...

    def find(self, pair: str, client_order_id: str) -> FoundOrder | None:
        """The order of this id, however it came there; None when the venue shows none. Raises `VenueUnavailable`."""
        ...


@dataclass(frozen=True)
class Hedging:
    """Where, in which currency and at most how much at a time: an asset that is not named is not hedged."""

    venue: HedgeVenue
    quote: str
    order_max: Mapping[str, Decimal]  #: asset code -> coins of one order
