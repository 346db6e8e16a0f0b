"""What customers ask for, and when it has happened."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from sqlalchemy import func, select

from bench.stack import BenchStack
from bench.web import Wire
from ledger.db import Database
from ledger.schema import withdrawal

CLIENTS = 32
_PATIENCE_SECONDS = 90
#: A node has it: the payment has been observed there after the send.
_SENT = ("broadcast", "confirming", "completed")


@dataclass(frozen=True)
class Order:
    """One withdrawal; `amount` as the API takes it."""

    account: str
    asset: str
    amount: str
    address: str


def address(wire: Wire, account: str, asset: str = "BTC") -> str:
    """A new deposit address."""
    for _ in range(100):
        found = json.loads(wire.post(f"/v1/accounts/{account}/addresses", {"asset": asset}))
        if found["status"] == "ready":
            return str(found["address"])
        time.sleep(0.1)
    raise TimeoutError("no address becomes ready")


def leave(stack: BenchStack, database: Database, orders: Sequence[Order], patience: float = _PATIENCE_SECONDS) -> float:
    """Withdrawals a second, from the first request until a node has the last."""

    def ask(mine: Sequence[Order]) -> None:
        wire = stack.wire()
        for number, order in enumerate(mine):
            body = {"account": order.account, "asset": order.asset, "amount": order.amount, "address": order.address}
            wire.post("/v1/withdrawals", body | {"reference": f"w{time.time_ns()}:{id(mine)}:{number}"})
        wire.close()

    before, start = sent(database), time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(ask, [orders[n::CLIENTS] for n in range(CLIENTS)]))
    wait(lambda: sent(database) >= before + len(orders), patience)
    return len(orders) / (time.perf_counter() - start)


def sent(database: Database) -> int:
    """Withdrawals that are in a node's pool or on chain."""
    query = select(func.count()).select_from(withdrawal).where(withdrawal.c.state.in_(_SENT))
    return int(database.read(lambda tx: tx.value(query)))


def wait(condition: Callable[[], bool], patience: float = _PATIENCE_SECONDS) -> None:
    """Until it is so; not for ever."""
    end = time.monotonic() + patience
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("it never happened")
        time.sleep(0.004)
