"""What Coffer needs of an exchange, and nothing else: the present bid and ask of some pairs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol

#: Prices are compared and kept in this currency; another quote currency is converted by its own price in it.
CURRENCY = "USD"


@dataclass(frozen=True, slots=True)
class Ticker:
    """What one source says of one pair. Nothing is checked yet: who uses it does (`jobs.rates_judge`)."""

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
