"""Which sources and which venue the settings choose, and what they may not say."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from typing import Any

import pytest

from devstack.programs import ROOT
from exchanges import registry
from exchanges.registry import Misconfigured
from settings import Settings

KEY = {"hedge_api_key": "k", "hedge_api_secret": "c2VjcmV0"}


def settings(**values: Any) -> Settings:
    return Settings(**({"database_url": "sqlite:///x"} | values))


def test_a_fixed_table_is_one_source_that_is_enough() -> None:
    desk = registry.desk(settings(rates_fixed="BTC=60000, XMR=150.5"))
    assert ([source.name for source in desk.sources], desk.sources_min) == (["fixed"], 1)
    tickers = desk.sources[0].tickers(["BTC/USD", "XMR/USD", "ETH/USD"])
    assert {pair: ticker.bid for pair, ticker in tickers.items()} == {
        "BTC/USD": Decimal(60000),
        "XMR/USD": Decimal("150.5"),
    }


def test_exchanges_are_asked_together_and_two_must_agree() -> None:
    desk = registry.desk(settings(rates_exchanges="kraken, bitstamp", rates_symbols="WXMR=XMR", rates_fiat="EUR"))
    assert ([source.name for source in desk.sources], desk.sources_min) == (["kraken", "bitstamp"], 2)
    assert (desk.quotes, desk.fiat, desk.symbol("WXMR")) == (("USD", "USDT", "USDC"), ("EUR",), "XMR")


def test_without_any_source_there_is_a_desk_without_words() -> None:
    assert registry.desk(settings()).sources == ()


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"rates_fixed": "BTC=60000", "mode": "live"}, "COFFER_RATES_FIXED"),
        ({"rates_fixed": "BTC=60000", "rates_exchanges": "kraken,bitstamp"}, "COFFER_RATES_FIXED"),
        ({"rates_fixed": "BTC=0"}, "COFFER_RATES_FIXED"),
        ({"rates_fixed": "BTC=-1"}, "COFFER_RATES_FIXED"),
        ({"rates_fixed": "BTC=1e3"}, "COFFER_RATES_FIXED"),
        ({"rates_fixed": "BTC=NaN"}, "COFFER_RATES_FIXED"),
        ({"rates_fixed": "BTC"}, "COFFER_RATES_FIXED"),
        ({"rates_fixed": "BTC=1,BTC=2"}, "COFFER_RATES_FIXED"),
        ({"rates_exchanges": "kraken"}, "COFFER_RATES_EXCHANGES"),
        ({"rates_exchanges": "kraken,kraken"}, "COFFER_RATES_EXCHANGES"),
        ({"rates_exchanges": "kraken,mtgox"}, "COFFER_RATES_EXCHANGES"),
        ({"rates_quotes": "usd"}, "COFFER_RATES_QUOTES"),
        ({"rates_symbols": "WXMR"}, "COFFER_RATES_SYMBOLS"),
        ({"rates_fiat": "USD"}, "COFFER_RATES_FIAT"),
    ],
)
def test_a_wrong_setting_is_named(values: dict[str, Any], named: str) -> None:
    with pytest.raises(Misconfigured, match=named):
        registry.desk(settings(**values))


def test_hedging_is_off_unless_an_exchange_is_named() -> None:
    assert registry.hedging(settings(hedge_order_max="BTC=1")) is None


def test_a_venue_comes_with_its_key_and_the_most_of_an_order() -> None:
    found = registry.hedging(settings(hedge_exchange="kraken", hedge_order_max="BTC=0.5,XMR=100", **KEY))
    assert found is not None
    assert (found.venue.name, found.quote, found.order_max) == (
        "kraken",
        "USD",
        {"BTC": Decimal("0.5"), "XMR": Decimal(100)},
    )


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({}, "COFFER_HEDGE_API_KEY"),
        ({"hedge_order_max": "BTC=0"} | KEY, "COFFER_HEDGE_ORDER_MAX"),
        ({"hedge_quote": "USD,EUR"} | KEY, "COFFER_HEDGE_QUOTE"),
    ],
)
def test_a_wrong_venue_is_named(values: dict[str, Any], named: str) -> None:
    with pytest.raises(Misconfigured, match=named):
        registry.hedging(settings(hedge_exchange="kraken", **values))


def test_no_process_but_the_rates_worker_loads_the_exchanges_library() -> None:
    """It costs tens of megabytes and a third of a second."""
    code = (
        "import sys, api.app, cli.main, scheduler, workers.worker, jobs.bootstrap, exchanges.registry\n"
        "from settings import Settings\n"
        "exchanges.registry.desk(Settings(database_url='sqlite:///x', rates_fixed='BTC=1'))\n"
        "print(sorted(name for name in sys.modules if name.startswith('ccxt')))"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
