"""The rates task on both databases: what is stored, what may be used, and when it is fetched again."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Row, select, update

from exchanges.protocol import Desk, SourceFailed, Ticker
from jobs import rates
from jobs.bootstrap import runtime
from jobs.services import Services
from ledger.db import Database
from ledger.errors import RatesNotReady
from ledger.schema import rate, task
from tests import rates as rows
from wallets.fake import FakeAddressBook

SECOND = 1_000_000


class Market:
    """A source that says what a test wants."""

    def __init__(self, name: str, **prices: Any) -> None:
        self.name = name
        self.prices = prices
        self.asked = 0
        self.at: int | None = None

    def tickers(self, pairs: Any) -> dict[str, Ticker]:
        self.asked += 1
        if not self.prices:
            raise SourceFailed("down")
        found = {}
        for symbol, price in self.prices.items():
            value = None if price is None else Decimal(str(price))
            found[symbol if "/" in symbol else f"{symbol}/USD"] = Ticker(value, value, self.at)
        return {pair: ticker for pair, ticker in found.items() if pair in pairs}


class Bench:
    """A rates worker whose time passes when a test says so."""

    def __init__(self, database: Database, desk: Desk) -> None:
        self.database = database
        self.services = Services(database, "test", lambda _: FakeAddressBook(), desk=desk)

    def fetch(self) -> Row[Any]:
        """Run the task once, long after it ran last."""
        t = task.c
        row = self.task()
        progress = dict(row.progress or {})
        progress.pop("fetched_at", None)
        self.database.run(lambda tx: tx.execute(update(task).where(t.id == row.id).values(progress=progress)), "test")
        assert runtime(self.services).advance("task", row.id, woken=True) == 1
        return self.task()

    def task(self) -> Row[Any]:
        return self.database.read(lambda tx: tx.one(select(task).where(task.c.name == "rates")))

    def newest(self, code: str) -> Row[Any]:
        return self.database.read(lambda tx: rates.newest(tx, [code])[code])

    def usable(self, *codes: str) -> dict[str, Decimal]:
        return {code: p.price for code, p in self.database.run(lambda tx: rates.usable(tx, codes), "test").items()}


@pytest.fixture
def markets() -> tuple[Market, Market, Market]:
    return (
        Market("one", BTC=60_000, XMR=150, ETH=3_000),
        Market("two", BTC=60_100, XMR=151, ETH=3_001),
        Market("three", BTC=60_200, XMR=149, ETH=3_002),
    )


@pytest.fixture
def bench(database: Database, markets: tuple[Market, ...]) -> Bench:
    return Bench(database, Desk(markets, 2))


def test_the_median_of_all_is_the_price_and_its_sources_are_kept(bench: Bench) -> None:
    bench.fetch()
    assert bench.usable("BTC", "XMR") == {"BTC": Decimal(60_100), "XMR": Decimal(150)}
    kept = bench.newest("BTC")
    assert [(s["source"], s["price"], s["used"]) for s in kept.sources] == [
        ("one", "60000", True),
        ("two", "60100", True),
        ("three", "60200", True),
    ]


def test_written_rates_can_be_used(database: Database) -> None:
    rows.write(database, XMR="151.25")
    bench = Bench(database, rows.desk())
    assert bench.usable("BTC", "XMR") == {"BTC": Decimal(60_000), "XMR": Decimal("151.25")}
    rows.write(database, XMR=None)
    with pytest.raises(RatesNotReady) as refused:
        bench.usable("BTC", "XMR")
    assert refused.value.code == "rate_unavailable"
    assert database.read(lambda tx: tx.value(select(rate.c.price).where(rate.c.asset == "XMR").limit(1))) == "151.25"
