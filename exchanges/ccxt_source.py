"""Prices of one exchange through ccxt, in Decimal from the wire to the row. Imported by the rates worker only."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import Any

import ccxt

from exchanges.protocol import SourceFailed, Ticker

#: Calls of one fetch before the exchange is left out of it; one that failed last time is asked once until it answers.
ATTEMPTS = 5
PAUSE_SECONDS = 0.25  #: before the second attempt, doubled for each further one
TIMEOUT_MS = 4_000  #: of one call
#: How long an exchange's list of markets is believed: one that is closed since would spoil a call for many.
MARKETS_SECONDS = 6 * 3_600


class CcxtSource:
    """A `RateSource`. `base_url` takes the place of the exchange's own address: for recorded answers in tests."""

    def __init__(self, name: str, base_url: str | None = None, pause_seconds: float = PAUSE_SECONDS) -> None:
        self.name = name
        self._exchange = open_exchange(name, base_url=base_url)
        self._pause_seconds = pause_seconds
        self._failed = False
        self._by_one = False  #: its list of all tickers has no bid and ask: they are asked for one by one
        self._markets_until = 0.0
        self._mine = threading.Lock()

    def tickers(self, pairs: Collection[str]) -> Mapping[str, Ticker]:
        if not self._mine.acquire(blocking=False):
            raise SourceFailed("the last question is still unanswered")
        try:
            found = self._patiently(pairs)
        finally:
            self._mine.release()
        return {pair: _ticker(each) for pair, each in found.items()}

    def _patiently(self, pairs: Collection[str]) -> Mapping[str, Any]:
        attempts = 1 if self._failed else ATTEMPTS
        self._failed = True
        for attempt in range(1, attempts + 1):
            try:
                found = self._ask(pairs)
            except ccxt.NetworkError as error:
                if attempt == attempts:
                    raise SourceFailed(f"{attempts} attempts: {type(error).__name__}") from None
                time.sleep(self._pause_seconds * 2 ** (attempt - 1))
            except Exception as error:  # noqa: BLE001  # strangers' data, which ccxt reads without looking at it first
                self._markets_until = 0.0  # a market may be gone, which a new list tells
                told = str(error) if isinstance(error, SourceFailed) else f"{type(error).__name__}: {error}"
                raise SourceFailed(told[:200]) from None
            else:
                self._failed = False
                return found
        raise AssertionError("unreachable")

    def _ask(self, pairs: Collection[str]) -> Mapping[str, Any]:
        if time.monotonic() >= self._markets_until:
            if not self._exchange.load_markets(reload=True):
                raise SourceFailed("it lists no markets")
            self._markets_until = time.monotonic() + MARKETS_SECONDS
        known = [pair for pair in sorted(pairs) if self._is_open(pair)]
        if not known:
            return {}
        if not self._by_one and self._exchange.has.get("fetchTickers"):
            found = {pair: each for pair, each in self._exchange.fetch_tickers(known).items() if pair in known}
            if not found:
                raise SourceFailed("it tells nothing of its own markets")
            if any(each["bid"] is not None or each["ask"] is not None for each in found.values()):
                return found
            self._by_one = True
        return {pair: self._exchange.fetch_ticker(pair) for pair in known}

    def _is_open(self, pair: str) -> bool:
        market = self._exchange.markets.get(pair)
        return market is not None and bool(market.get("spot")) and market.get("active") is not False


def open_exchange(name: str, *, base_url: str | None = None, number: type = Decimal, **options: Any) -> Any:
    """An exchange of ccxt's whose numbers are of this kind, never floats. Raises `LookupError` for an unknown name."""
    if name not in ccxt.exchanges:
        raise LookupError(f"{name} is no exchange that ccxt {ccxt.__version__} knows")
    exchange = getattr(ccxt, name)({"timeout": TIMEOUT_MS, "enableRateLimit": True} | options)
    exchange.number = number
    if base_url is not None:
        exchange.urls["api"] = _moved(exchange.urls["api"], base_url)
        exchange.throttle = lambda *_: None  # our own server is asked as fast as it answers
    return exchange


def _moved(urls: Any, base_url: str) -> Any:
    """The same paths below another address."""
    if isinstance(urls, dict):
        return {key: _moved(value, base_url) for key, value in urls.items()}
    _, _, path = str(urls).partition("://")[2].partition("/")
    return f"{base_url}/{path}".rstrip("/")


def _ticker(found: Mapping[str, Any]) -> Ticker:
    at = found.get("timestamp")  # milliseconds
    return Ticker(_number(found.get("bid")), _number(found.get("ask")), None if at is None else int(at) * 1_000)


def _number(value: Any) -> Decimal | None:
    """As the exchange wrote it; what is no Decimal is no number, or has been through a float: no word at all."""
    return value if isinstance(value, Decimal) else None
