"""What a shop does to swap: ask for a price, take it. Beside a `TradeEngine`, as the API would call the flows."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sqlalchemy import func, select

from jobs.caller import Caller
from jobs.swap import balance as swap_balance
from jobs.swap import quotes
from jobs.swap.books import Wish
from jobs.swap.quotes import Ask
from jobs.views import View
from ledger.schema import posting, swap, withdrawal
from tests.flows.trade_engine import ASSETS, TradeEngine

#: Atomic units of one coin.
BTC, XMR = 10**8, 10**12


def ask(
    engine: TradeEngine, sell: str, buy: str, *, by: Caller | None = None, payout: bool = False, **named: int
) -> View:
    """`ask(engine, "BTC", "XMR", sells=BTC)` or `buys=`; the quote as the API shows it."""
    ((side, units),) = named.items()
    wish = Ask(ASSETS[sell], ASSETS[buy], side.removesuffix("s"), units, payout)
    return engine.database.run(lambda tx: quotes.ask(tx, by or engine.caller, wish, engine.services), "test_ask")


def accept(engine: TradeEngine, account_id: int, made: View, *, by: Caller | None = None, **wish: Any) -> View:
    """The swap as the API shows it."""
    said = Wish(account_id, wish.pop("reference", None) or secrets.token_hex(8), **wish)
    return engine.database.run(
        lambda tx: swap_balance.make(tx, by or engine.caller, made["id"], said, engine.services), "test_accept"
    )


def together(calls: list[Callable[[], Any]]) -> list[Any]:
    """What each returned or raised; they start at the same moment."""
    start = threading.Barrier(len(calls))

    def one(call: Callable[[], Any]) -> Any:
        start.wait()
        try:
            return call()
        except Exception as error:  # noqa: BLE001  # the test judges it
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(one, calls))


def units(view: View, name: str) -> int:
    """Atomic units of one of its amounts."""
    return int(view[name]["units"])


def written(engine: TradeEngine) -> list[int]:
    """How many rows there are of all that a swap writes."""
    tables = (swap, posting, withdrawal)
    return [engine.database.read(lambda tx, t=t: tx.value(select(func.count()).select_from(t))) for t in tables]
