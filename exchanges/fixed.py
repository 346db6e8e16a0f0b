"""A table of prices for development and tests. It never changes, and no live installation takes it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from decimal import Decimal

from exchanges.protocol import CURRENCY, Ticker


class FixedSource:
    """Knows `SYMBOL/USD` of what its table names."""

    name = "fixed"

    def __init__(self, prices: Mapping[str, Decimal]) -> None:
        self._prices = {f"{symbol}/{CURRENCY}": price for symbol, price in prices.items()}

    def tickers(self, pairs: Collection[str]) -> Mapping[str, Ticker]:
        return {pair: Ticker(self._prices[pair], self._prices[pair], None) for pair in pairs if pair in self._prices}
