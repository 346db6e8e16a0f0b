"""Prices through ccxt from servers that answer as exchanges do: exact, bounded in time, never guessed."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest

from exchanges import ccxt_source
from exchanges.ccxt_source import ATTEMPTS, CcxtSource
from exchanges.protocol import SourceFailed
from tests.stranger import CUT, GARBAGE, HANG, Stranger, bitstamp, coinbase, kraken, strangers

PAIRS = ["BTC/USD", "XMR/USD", "BTC/USDT", "USDT/USD"]


@pytest.fixture
def server() -> Iterator[Stranger]:
    with strangers(kraken) as [stranger]:
        yield stranger


def source(stranger: Stranger, name: str = "kraken") -> CcxtSource:
    return CcxtSource(name, stranger.url, pause_seconds=0)


def test_prices_are_exact_decimals(server: Stranger) -> None:
    kraken(server, XXBTZUSD=("59990.123456789012345678", "60010.1"))
    found = source(server).tickers(PAIRS)
    assert sorted(found) == ["BTC/USD", "XMR/USD"]
    assert (found["BTC/USD"].bid, found["BTC/USD"].ask) == (Decimal("59990.123456789012345678"), Decimal("60010.1"))
    assert found["BTC/USD"].at is None


def test_an_exchange_that_tells_the_time_is_believed() -> None:
    with strangers(lambda stranger: bitstamp(stranger, at=1_700_000_000)) as [stranger]:
        found = source(stranger, "bitstamp").tickers(PAIRS)
    assert (found["XMR/USD"].bid, found["XMR/USD"].at) == (Decimal("150.0"), 1_700_000_000_000_000)


def test_where_the_list_has_no_bid_and_ask_each_pair_is_asked_for() -> None:
    with strangers(lambda stranger: coinbase(stranger, XMR_USD=("150.01", "150.02"))) as [stranger]:
        asked = source(stranger, "coinbase")
        found = asked.tickers(PAIRS)
        assert (found["BTC/USD"].bid, found["XMR/USD"].ask) == (Decimal("60005.11"), Decimal("150.02"))
        lists = stranger.count("/api/v3/brokerage/market/products")
        asked.tickers(PAIRS)
        assert stranger.count("/api/v3/brokerage/market/products") == lists


@pytest.mark.parametrize("trouble", [500, 502, 429, CUT])
def test_a_passing_trouble_costs_another_attempt(server: Stranger, trouble: object) -> None:
    server.troubles["/0/public/Ticker"] = [trouble] * (ATTEMPTS - 1)
    assert source(server).tickers(PAIRS)["BTC/USD"].bid == Decimal("59990.1")


def test_five_attempts_and_then_one_until_it_answers_again(server: Stranger) -> None:
    asked = source(server)
    server.troubles["/0/public/Ticker"] = [CUT] * (ATTEMPTS + 1)
    for expected in (ATTEMPTS, ATTEMPTS + 1):
        with pytest.raises(SourceFailed, match="attempts"):
            asked.tickers(PAIRS)
        assert server.count("/0/public/Ticker") == expected
    assert asked.tickers(PAIRS)["BTC/USD"].ask == Decimal("60010.1")


def test_a_call_that_hangs_ends(server: Stranger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ccxt_source, "TIMEOUT_MS", 200)
    server.troubles["/0/public/Ticker"] = [HANG] * ATTEMPTS
    with pytest.raises(SourceFailed, match="RequestTimeout"):
        source(server).tickers(PAIRS)


@pytest.mark.parametrize("answer", [{"error": ["EGeneral:Invalid arguments"]}, {"error": [], "result": [7]}, [1], None])
def test_an_answer_of_another_shape_is_a_failure(server: Stranger, answer: object) -> None:
    server.answers["/0/public/Ticker"] = answer
    with pytest.raises(SourceFailed):
        source(server).tickers(PAIRS)


def test_garbage_is_a_failure(server: Stranger) -> None:
    server.troubles["/0/public/AssetPairs"] = [GARBAGE] * ATTEMPTS
    with pytest.raises(SourceFailed):
        source(server).tickers(PAIRS)


@pytest.mark.parametrize("bid", ["", "n/a", None, [], {}])
def test_what_is_no_number_is_no_word(server: Stranger, bid: object) -> None:
    kraken(server, XXBTZUSD=(bid, "60010.1"))
    assert source(server).tickers(PAIRS)["BTC/USD"].bid is None


def test_a_market_that_is_closed_is_not_asked_for(server: Stranger) -> None:
    pairs = server.answers["/0/public/AssetPairs"]["result"]
    pairs["XXMRZUSD"]["status"] = "delisted"
    assert sorted(source(server).tickers(PAIRS)) == ["BTC/USD"]
    assert [values["pair"] for _, path, values in server.asked if path == "/0/public/Ticker"] == ["XXBTZUSD"]


def test_an_unknown_exchange_has_no_source() -> None:
    with pytest.raises(LookupError, match="mtgox"):
        CcxtSource("mtgox")
