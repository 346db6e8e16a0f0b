"""Rates that quotes can be built on, written as the rates worker writes them."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from sqlalchemy import Row, insert

from exchanges.fixed import FixedSource
from exchanges.protocol import Desk
from jobs.rates import fetch as rates_fetch
from jobs.rates import usable as rates
from ledger.db import Database, Tx
from ledger.schema import rate

#: Dollars for one coin.
PRICES = {"BTC": "60000", "XMR": "150", "ETH": "3000", "USDT": "1", "USDC": "1"}


def desk(prices: Mapping[str, Any] | None = None) -> Desk:
    """A fixed table's desk, as `COFFER_RATES_FIXED` makes it."""
    table = PRICES if prices is None else prices
    return Desk((FixedSource({symbol: Decimal(str(price)) for symbol, price in table.items()}),), 1)


def write(database: Database, **changes: Any) -> None:
    """Fresh, usable rates of all enabled assets; `write(database, BTC="61000")` changes one. Call again for newer ones.
    A price of None leaves an asset without one (`rate_unavailable`)."""
    table = {symbol: price for symbol, price in (PRICES | changes).items() if price is not None}
    at = desk(table)

    def unit(tx: Tx) -> None:
        codes = rates_fetch.enabled(tx)
        heard = rates_fetch.fetch(at, codes, lambda: tx.now)
        rates_fetch.store(tx, rates_fetch.decide(at, codes, heard, tx.now))

    database.run(unit, "test_rates")


def age(database: Database, seconds: int, *codes: str) -> None:
    """As if no rates had come for so long: the newest of these assets (of all) again, but older: rows never change."""

    def unit(tx: Tx) -> None:
        for row in rates.newest(tx, codes or None).values():
            us = seconds * 1_000_000
            copy(tx, row, at=row.at - us, quoted_at=None if row.quoted_at is None else row.quoted_at - us)

    database.run(unit, "test_rates")


def copy(tx: Tx, row: Row[Any], **changes: Any) -> None:
    """Another row like this one, newer by its id."""
    values = {name: value for name, value in row._mapping.items() if name != "id"}
    tx.execute(insert(rate).values(values | changes))
