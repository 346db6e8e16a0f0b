"""What the chain sees: withdrawals from request to broadcast, and blocks until deposits are credited."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import partial
from typing import Any

from sqlalchemy import func, select

from bench.orders import Order, address, leave, wait
from bench.report import Row, tell
from bench.stack import BenchStack, btc, customers, memory_mb
from bench.web import outside
from devstack.bitcoind import MINER_WALLET
from ledger.db import Database
from ledger.schema import deposit

WITHDRAWALS = 300
OUTPUTS = 100
UNITS = 50_000


def measure(stack: BenchStack, rounds: int, blocks: int) -> list[Row]:
    """Deposits first: they bring the coins that the withdrawals spend."""
    database = stack.database()
    stack.policy(withdrawal_fee_units=1_000)
    ids = customers(stack, 32)
    rows = [*_deposits(stack, database, ids, blocks), _withdrawals(stack, database, ids, rounds)]
    for name in ("worker-bitcoin", "worker-tasks", "scheduler"):
        row = Row(f"{name}, resident ({stack.db})", "MB")
        row.add(memory_mb(stack.processes[name].pid))
        rows.append(row)
    database.close()
    return rows


# Deposits


def _deposits(stack: BenchStack, database: Database, ids: Sequence[str], blocks: int) -> list[Row]:
    one = Row(f"block to credited, one deposit ({stack.db})", "ms")
    many = Row(f"block to credited, {OUTPUTS} deposits in the block ({stack.db})", "ms")
    notified = BlockTimes(stack.bitcoind.zmq_url)
    wire = stack.wire()
    for number in range(blocks + 3):
        count = 1 if number < blocks else OUTPUTS
        row = one if count == 1 else many
        if number in (0, blocks):
            tell(f"{stack.db}: {row.name}")
        addresses = [address(wire, ids[i % len(ids)]) for i in range(count)]
        # One confirmation is asked of amounts up to 0.01 BTC; the first block's coins pay the withdrawals later.
        stack.bitcoind.pay({text: btc(1_000_000) for text in addresses})
        if number == 0:
            stack.bitcoind.pay({address(wire, account): "5" for account in ids})
        before, asked = _credited(database), time.perf_counter()
        [block] = stack.bitcoind.mine()
        told = notified.of(block)
        wait(partial(_has_credited, database, before + count))
        row.add((time.perf_counter() - told) * 1000, block_made_to_ZMQ_hashblock=(told - asked) * 1000)
    stack.bitcoind.mine(6)  # the larger ones need more
    wait(lambda: _credited(database) >= blocks + 3 * OUTPUTS + len(ids))
    notified.close()
    wire.close()
    one.remark = many.remark = "the limit is the node's own notice: asked to mine until its message was here"
    return [one, many]


def _has_credited(database: Database, count: int) -> bool:
    return _credited(database) >= count


def _credited(database: Database) -> int:
    query = select(func.count()).select_from(deposit).where(deposit.c.credited == 1)
    return int(database.read(lambda tx: tx.value(query)))


class BlockTimes:
    """When the node's message about each block was here."""

    def __init__(self, url: str) -> None:
        import zmq

        self._socket: Any = zmq.Context.instance().socket(zmq.SUB)
        self._socket.setsockopt(zmq.SUBSCRIBE, b"hashblock")
        self._socket.connect(url)
        self._times: dict[str, float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        time.sleep(0.3)  # subscriptions have no answer to wait for

    def of(self, block: str) -> float:
        wait(lambda: block in self._times)
        return self._times[block]

    def close(self) -> None:
        self._stop.set()
        self._thread.join(5)
        self._socket.close(linger=0)

    def _listen(self) -> None:
        while not self._stop.is_set():
            if self._socket.poll(100):
                parts = self._socket.recv_multipart()
                self._times[parts[1].hex()] = time.perf_counter()


# Withdrawals


def _withdrawals(stack: BenchStack, database: Database, ids: Sequence[str], rounds: int) -> Row:
    row = Row(f"Bitcoin withdrawals, request to broadcast, {WITHDRAWALS} at once ({stack.db})", "/s")
    for number in range(rounds):
        tell(f"{stack.db}: {WITHDRAWALS} withdrawals, round {number + 1} of {rounds}")
        node = _node_batches(stack)
        orders = [Order(ids[n % len(ids)], "BTC", btc(UNITS), outside()) for n in range(WITHDRAWALS)]
        ours = leave(stack, database, orders)
        row.add(ours, node_alone_in_batches_of_100=node)
        stack.bitcoind.mine(3)
    row.remark = "from the first request of 32 clients until the last is in the node's pool"
    return row


def _node_batches(stack: BenchStack) -> float:
    """The same number of payments by the node alone: fund, sign and send, a hundred outputs at a time."""
    batches = [[{outside(): str(Decimal(btc(UNITS)))} for _ in range(OUTPUTS)] for _ in range(WITHDRAWALS // OUTPUTS)]
    start = time.perf_counter()
    for outputs in batches:
        node: Callable[..., Any] = stack.bitcoind.admin
        options = {"lockUnspents": True, "fee_rate": "5", "replaceable": True}
        funded = node("walletcreatefundedpsbt", [], outputs, 0, options, wallet=MINER_WALLET)
        signed = node("walletprocesspsbt", funded["psbt"], wallet=MINER_WALLET)
        node("sendrawtransaction", signed["hex"])
    return WITHDRAWALS / (time.perf_counter() - start)
