"""The rates task on both databases: what is stored, what may be used, and when it is fetched again."""

from __future__ import annotations

import threading
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Row, insert, select, update

from exchanges.ccxt_source import CcxtSource
from exchanges.protocol import Desk, SourceFailed, Ticker
from jobs.bootstrap import runtime
from jobs.rates import fetch as rates_fetch
from jobs.rates import usable as rates
from jobs.services import Services
from ledger.db import Database, Tx
from ledger.errors import RatesNotReady
from ledger.ids import new_id
from ledger.schema import alarm, quote, rate, task
from tests import rates as rows
from tests.stranger import bitstamp, kraken, strangers
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

    def rates(self) -> list[Row[Any]]:
        return list(self.database.read(lambda tx: tx.all(select(rate).order_by(rate.c.id))))

    def until_due(self) -> int:
        return int(self.task().due_at - self.database.now())

    def let_pass(self, seconds: int) -> None:
        """All that is remembered is this much older."""
        us, progress = seconds * SECOND, dict(self.task().progress)
        progress |= {key: progress[key] - us for key in ("fetched_at", "wanted_until") if key in progress}

        def unit(tx: Tx) -> None:
            for row in rates.newest(tx).values():
                rows.copy(tx, row, at=row.at - us, quoted_at=row.quoted_at - us)
            tx.execute(update(task).where(task.c.name == "rates").values(progress=progress))

        self.database.run(unit, "test")

    def alarms(self) -> set[tuple[str, str]]:
        rows = self.database.read(lambda tx: tx.all(select(alarm).where(alarm.c.open == 1)))
        return {(row.name, row.subject) for row in rows}

    def refused(self, *codes: str) -> str:
        """The code of the refusal; what it asks to be remembered is."""
        with pytest.raises(RatesNotReady) as refusal:
            self.usable(*codes)
        assert refusal.value.remember is not None
        self.database.run(refusal.value.remember, "test")
        return refusal.value.code

    def quote(self, rate_id: int) -> None:
        """A quote that was priced by this rate."""
        now, empty = self.database.now(), {"rounding_units": 0, "service_fee_units": 0, "network_fee_units": 0}
        values = {"public_id": new_id("qt"), "project_id": 1, "sell_asset": "BTC", "buy_asset": "XMR", "side": "sell"}
        values |= {"sell_units": 1, "buy_units": 1, "rate": "1", "spread_ppm": 0, "payout": 0, "state": "expired"}
        values |= {"sell_rate_id": rate_id, "buy_rate_id": rate_id, "expires_at": now} | empty
        values |= {"minimum_units": 1, "maximum_units": 1} if "minimum_units" in quote.c else {}
        values |= {"created_at": now, "updated_at": now}
        self.database.run(lambda tx: tx.execute(insert(quote).values(values)), "test")

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


def test_an_absurd_number_of_one_source_leaves_the_others_their_prices(database: Database) -> None:
    """Decimal takes it for a number like any other, until something is added to it."""
    wild = Market("wild", **{"BTC": "9e999999", "XMR": 150, "USD/EUR": "9e-999999"})
    sound = [Market(name, **{"BTC": 60_000, "XMR": 150, "USD/EUR": "0.8"}) for name in ("one", "two")]
    bench = Bench(database, Desk((wild, *sound), 2, fiat=("EUR",)))
    bench.fetch()
    assert bench.usable("BTC", "XMR") == {"BTC": Decimal(60_000), "XMR": Decimal(150)}
    assert [each["why"] for each in bench.newest("BTC").sources] == ["bad_number", None, None]
    euro = database.read(lambda tx: rates.newest(tx, ["BTC"], "EUR")["BTC"])
    assert euro.price == "48000"


def test_written_rates_can_be_used(database: Database) -> None:
    rows.write(database, XMR="151.25")
    bench = Bench(database, rows.desk())
    assert bench.usable("BTC", "XMR") == {"BTC": Decimal(60_000), "XMR": Decimal("151.25")}
    rows.write(database, XMR=None)
    with pytest.raises(RatesNotReady) as refused:
        bench.usable("BTC", "XMR")
    assert refused.value.code == "rate_unavailable"
    assert database.read(lambda tx: tx.value(select(rate.c.price).where(rate.c.asset == "XMR").limit(1))) == "151.25"


def test_refused_rates_are_wanted_for_ten_minutes_and_fetched_every_twenty_seconds(bench: Bench) -> None:
    bench.fetch()
    assert bench.until_due() == pytest.approx(900 * SECOND, abs=60 * SECOND)
    bench.let_pass(61)
    assert bench.refused("BTC") == "rate_stale"
    assert bench.until_due() <= 0
    bench.fetch()
    assert bench.until_due() == pytest.approx(20 * SECOND, abs=15 * SECOND)
    assert bench.usable("BTC") == {"BTC": Decimal(60_100)}
    bench.let_pass(600)
    bench.fetch()
    assert bench.until_due() == pytest.approx(900 * SECOND, abs=60 * SECOND)


def test_being_woken_all_the_time_asks_no_more_often(bench: Bench, markets: tuple[Market, ...]) -> None:
    bench.fetch()
    for _ in range(3):
        runtime(bench.services).advance("task", bench.task().id, woken=True)
    assert markets[0].asked == 1


def test_a_wish_made_during_a_fetch_is_kept(bench: Bench, markets: tuple[Market, ...]) -> None:
    asked = markets[0].tickers

    def tickers(pairs: Any) -> dict[str, Ticker]:
        bench.database.run(rates.want, "test")
        return asked(pairs)

    markets[0].tickers = tickers  # type: ignore[method-assign]
    bench.fetch()
    assert bench.task().progress["wanted_until"] > bench.database.now()
    assert bench.until_due() <= 0


def test_one_exchange_that_fails_does_not_stop_the_others(bench: Bench, markets: tuple[Market, ...]) -> None:
    markets[0].prices = {}
    bench.fetch()
    assert bench.usable("BTC") == {"BTC": Decimal(60_150)}
    assert [s["why"] for s in bench.newest("BTC").sources] == ["no_answer", None, None]


def test_one_exchange_that_breaks_its_adapter_does_not_stop_the_others(
    bench: Bench, markets: tuple[Market, ...]
) -> None:
    markets[1].tickers = lambda pairs: 1 / 0  # type: ignore[method-assign,assignment,return-value]
    bench.fetch()
    assert [s["why"] for s in bench.newest("XMR").sources] == [None, "not_understood", None]


def test_one_exchange_that_never_answers_does_not_hold_up_the_others(
    bench: Bench, markets: tuple[Market, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()
    markets[2].tickers = lambda pairs: over.wait(60) and {}  # type: ignore[method-assign,assignment,return-value]
    monkeypatch.setattr(rates_fetch.fetch, "__defaults__", (3.0,))
    bench.fetch()
    over.set()
    assert [s["why"] for s in bench.newest("BTC").sources] == [None, None, "too_slow"]
    assert bench.usable("BTC") == {"BTC": Decimal(60_050)}


def test_a_jump_of_one_source_is_never_a_price(bench: Bench, markets: tuple[Market, ...]) -> None:
    markets[0].prices["BTC"] = 600_000
    bench.fetch()
    assert bench.usable("BTC") == {"BTC": Decimal(60_150)}
    markets[1].prices["BTC"] = None
    bench.fetch()
    assert bench.refused("BTC") == "rate_divergent"
    assert bench.newest("BTC").price is None
    assert bench.usable("ETH") == {"ETH": Decimal(3_001)}


def test_old_words_of_exchanges_price_nothing(bench: Bench, markets: tuple[Market, ...]) -> None:
    for market in markets[:2]:
        market.at = bench.database.now() - 61 * SECOND
    bench.fetch()
    assert bench.newest("BTC").problem == "stale"
    assert bench.refused("BTC") == "rate_stale"


def test_an_asset_that_no_exchange_knows_is_unavailable_alone(bench: Bench, markets: tuple[Market, ...]) -> None:
    for market in markets:
        del market.prices["XMR"]
    bench.fetch()
    assert bench.refused("BTC", "XMR") == "rate_unavailable"
    assert bench.usable("BTC")


def test_an_alarm_after_three_fetches_and_none_once_it_is_back(bench: Bench, markets: tuple[Market, ...]) -> None:
    markets[0].prices["XMR"], markets[1].prices["XMR"] = 0, -5
    for _ in range(2):
        bench.fetch()
    assert bench.alarms() == set()
    bench.fetch()
    assert bench.alarms() == {("rate_unusable", "rate:XMR")}
    markets[0].prices["XMR"] = 150
    bench.fetch()
    assert bench.alarms() == set()
    assert bench.task().progress["failures"] == {}


def test_a_desk_without_sources_says_unavailable(database: Database) -> None:
    bench = Bench(database, Desk())
    bench.fetch()
    assert bench.refused("BTC") == "rate_unavailable"


def test_prices_in_another_coin_are_converted_by_its_own_price(database: Database) -> None:
    one = Market("one", **{"BTC/USDT": 60_000, "USDT/USD": "0.9"})
    two = Market("two", **{"BTC/USD": 54_000})
    bench = Bench(database, Desk((one, two), 2, {}, ("USD", "USDT")))
    bench.fetch()
    assert bench.usable("BTC") == {"BTC": Decimal(54_000)}
    assert [s["pair"] for s in bench.newest("BTC").sources] == ["BTC/USDT", "BTC/USD"]
    del one.prices["USDT/USD"]
    bench.fetch()
    assert bench.newest("BTC").sources[0]["why"] == "no_conversion"
    assert bench.refused("BTC") == "rate_unavailable"


def test_fiat_prices_are_beside_the_dollar_and_never_in_its_place(database: Database) -> None:
    markets = Market("one", BTC=54_000, EUR="1.08"), Market("two", **{"BTC/USD": 54_000, "USD/JPY": 150})
    bench = Bench(database, Desk(markets, 2, {}, ("USD",), ("EUR", "JPY", "GBP")))
    bench.fetch()
    found = {row.currency: row.price for row in bench.rates() if row.asset == "BTC"}
    assert found == {"USD": "54000", "EUR": "50000", "JPY": "8100000", "GBP": None}
    assert bench.usable("BTC") == {"BTC": Decimal(54_000)}


def test_tokens_are_known_by_the_name_before_the_point_or_the_one_that_was_set() -> None:
    desk = Desk(symbols={"WXMR": "XMR"})
    assert [desk.symbol(code) for code in ("BTC", "USDC.ETH", "WXMR")] == ["BTC", "USDC", "XMR"]


def test_old_rates_go_and_those_that_priced_something_stay(bench: Bench) -> None:
    bench.fetch()
    for _ in range(3):
        bench.database.run(lambda tx: [rows.copy(tx, row, at=1) for row in rates.newest(tx).values()], "test")
    kept = bench.newest("BTC")
    bench.quote(kept.id)
    before = len(bench.rates())
    bench.fetch()
    left = bench.rates()
    assert [row.id for row in left if row.at == 1] == [kept.id]
    assert len(left) < before


def test_two_exchanges_through_their_library(database: Database) -> None:
    with strangers(kraken, bitstamp) as [one, two]:
        sources = CcxtSource("kraken", one.url, 0), CcxtSource("bitstamp", two.url, 0)
        bench = Bench(database, Desk(sources, 2, {}, ("USD",)))
        bench.fetch()
        assert bench.usable("BTC", "XMR") == {"BTC": Decimal("60005.05"), "XMR": Decimal("150.1")}
        assert bench.newest("ETH").problem == "unavailable"
        two.answers["/api/v2/ticker/"] = {"error": "maintenance"}
        bench.fetch()
        assert bench.refused("BTC") == "rate_unavailable"
        bitstamp(two)
        bench.fetch()
        assert bench.usable("BTC")
