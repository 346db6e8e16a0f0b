"""A server on this machine that answers as an exchange would, from answers written down beforehand.

The answers have the shapes of the exchanges' own documents (Kraken REST, Bitstamp v2, Coinbase Advanced Trade v3).
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

#: What a test may have happen to one request instead of an answer.
HANG, CUT, GARBAGE = "hang", "cut", "garbage"


class Stranger:
    """`answers`: path -> JSON, or a function of the request's parameters that makes it. `troubles`: path -> what
    happens to the next requests there instead, in order: an HTTP status, HANG, CUT or GARBAGE, None for an answer."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.troubles: dict[str, list[Any]] = {}
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self._over = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def count(self, path: str) -> int:
        return sum(path == asked for _, asked, _ in self.asked)

    def close(self) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        stranger = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                stranger._serve(self, "")

            def do_POST(self) -> None:
                stranger._serve(self, self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())

            def log_message(self, *_: Any) -> None:
                pass

        return Handler

    def _serve(self, call: BaseHTTPRequestHandler, body: str) -> None:
        parts = urlsplit(call.path)
        values = _values(parts.query) | _values(body)
        self.asked.append((call.command, parts.path, values))
        waiting = self.troubles.get(parts.path)
        trouble = waiting.pop(0) if waiting else None
        after = None
        if isinstance(trouble, tuple):  # it acts on the request, and then its reply gets lost
            after, trouble = trouble[0], None
        answer = self._answer(parts.path, values) if trouble is None else {}
        self._reply(call, after or trouble, answer)

    def _reply(self, call: BaseHTTPRequestHandler, trouble: Any, answer: Any) -> None:
        if trouble == HANG:
            self._over.wait(60)
        if trouble in (HANG, CUT):
            call.close_connection = True
            call.connection.close()
            return
        status = trouble if isinstance(trouble, int) else 200 if answer is not None else 404
        raw = b"<html>oops" if trouble == GARBAGE else json.dumps(answer).encode()
        call.send_response(status)
        call.send_header("Content-Type", "application/json")
        call.send_header("Content-Length", str(len(raw)))
        call.end_headers()
        call.wfile.write(raw)

    def _answer(self, path: str, values: dict[str, str]) -> Any:
        found = self.answers.get(path)
        return found(values) if callable(found) else found


@contextmanager
def strangers(*fills: Callable[[Stranger], None]) -> Iterator[list[Stranger]]:
    """One server for each exchange."""
    servers = [Stranger() for _ in fills]
    for server, fill in zip(servers, fills, strict=True):
        fill(server)
    yield servers
    for server in servers:
        server.close()


def _values(text: str) -> dict[str, str]:
    if text.startswith("{"):
        return {str(key): str(value) for key, value in json.loads(text).items()}
    return {key: value[-1] for key, value in parse_qs(text).items()}


#: Kraken's own ids of what the tests trade.
KRAKEN_PAIRS = {"XXBTZUSD": ("XXBT", "ZUSD"), "XXMRZUSD": ("XXMR", "ZUSD"), "ZEURZUSD": ("ZEUR", "ZUSD")}


def kraken(stranger: Stranger, **prices: tuple[str, str]) -> None:
    """Kraken's public calls; `prices`: its pair id -> (bid, ask)."""
    told = {"XXBTZUSD": ("59990.10000", "60010.10000"), "XXMRZUSD": ("149.90000", "150.10000")} | prices
    stranger.answers |= {
        "/0/public/Assets": {"error": [], "result": {}},
        "/0/public/AssetPairs": {"error": [], "result": {pair: _kraken_pair(pair) for pair in KRAKEN_PAIRS}},
        "/0/public/Ticker": lambda asked: {
            "error": [],
            "result": {
                pair: {"a": [told[pair][1], "1", "1.000"], "b": [told[pair][0], "1", "1.000"], "c": ["1", "1"]}
                for pair in asked["pair"].split(",")
                if pair in told
            },
        },
    }


def _kraken_pair(pair: str) -> dict[str, Any]:
    base, quote = KRAKEN_PAIRS[pair]
    sizes = {"pair_decimals": 2, "lot_decimals": 8, "ordermin": "0.0001", "costmin": "0.5", "tick_size": "0.01"}
    words = {"altname": f"{base[1:]}{quote[1:]}", "wsname": f"{base[1:]}/{quote[1:]}", "base": base, "quote": quote}
    fees = {"fees": [[0, 0.26]], "fees_maker": [[0, 0.16]], "leverage_buy": [], "leverage_sell": []}
    return words | sizes | fees | {"status": "online", "aclass_base": "currency", "aclass_quote": "currency"}


def bitstamp(stranger: Stranger, at: int | None = None, **prices: tuple[str, str]) -> None:
    """Bitstamp's; it tells when a ticker is from, in seconds."""
    told = {"BTC/USD": ("60000", "60020"), "XMR/USD": ("150.0", "150.4")} | {
        name.replace("_", "/"): pair for name, pair in prices.items()
    }
    stranger.answers |= {
        "/api/v2/markets/": [_bitstamp_market(*name.split("/")) for name in told],
        "/api/v2/ticker/": lambda _: [
            {
                "timestamp": str(int(time.time()) if at is None else at),
                "bid": bid,
                "ask": ask,
                "last": bid,
                "pair": name,
                "volume": "1",
                "vwap": bid,
            }
            for name, (bid, ask) in told.items()
        ],
    }


def _bitstamp_market(base: str, counter: str) -> dict[str, Any]:
    return {
        "name": f"{base}/{counter}",
        "market_symbol": f"{base}{counter}".lower(),
        "base_currency": base,
        "base_decimals": 8,
        "counter_currency": counter,
        "counter_decimals": 2,
        "minimum_order_value": "10",
        "trading": "Enabled",
        "description": f"{base} / {counter}",
        "market_type": "SPOT",
    }


def coinbase(stranger: Stranger, **prices: tuple[str, str]) -> None:
    """Coinbase's, whose list of products has a price but no bid and ask."""
    told = {"BTC-USD": ("60005.11", "60005.12")} | {name.replace("_", "-"): pair for name, pair in prices.items()}
    stranger.answers |= {
        "/v2/currencies": {"data": []},
        "/v2/currencies/crypto": {"data": []},
        "/v2/exchange-rates": {"data": {"currency": "USD", "rates": {}}},
        "/api/v3/brokerage/market/products": lambda asked: {
            "products": [] if asked.get("product_type") == "FUTURE" else [_coinbase_product(name) for name in told]
        },
    }
    for name, (bid, ask) in told.items():
        trade = {"trade_id": "1", "product_id": name, "price": bid, "size": "0.01", "side": "BUY"}
        path = f"/api/v3/brokerage/market/products/{name}/ticker"
        stranger.answers[path] = lambda _, trade=trade, bid=bid, ask=ask: {
            "trades": [trade | {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}],
            "best_bid": bid,
            "best_ask": ask,
        }


def _coinbase_product(name: str) -> dict[str, Any]:
    base, quote = name.split("-")
    return {
        "product_id": name,
        "price": "60000",
        "base_increment": "0.00000001",
        "quote_increment": "0.01",
        "base_min_size": "0.0001",
        "status": "online",
        "trading_disabled": False,
        "product_type": "SPOT",
        "base_currency_id": base,
        "quote_currency_id": quote,
        "base_name": base,
        "quote_name": quote,
    }
