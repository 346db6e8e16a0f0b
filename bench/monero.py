"""Monero payouts: from the request until the daemon has them, one payee a transaction and fifteen.

A transaction takes wallet-rpc a quarter of a second of proofs, and locks the outputs that it spends and its change for
ten blocks. The limit is wallet-rpc alone: `transfer` that signs and relays at once, nothing checked, nothing kept.
"""

from __future__ import annotations

import tempfile
import time
from decimal import Decimal
from hashlib import sha256
from itertools import count
from pathlib import Path

from monero.seed import Seed
from sqlalchemy import select

from bench.orders import Order, address, leave, wait
from bench.report import Row, tell
from bench.stack import BenchStack, customers
from devstack.monerod import SPENDABLE_DEPTH
from ledger.db import Database
from ledger.schema import deposit, payment

COIN = 10**12
#: Payees a transaction: alone, and as many as one can have.
SIZES = (1, 15)
#: Outputs that the hot wallet has: one for each transaction of all rounds and more.
OUTPUTS = 45
_UNITS = COIN // 100
_names = count(1)


def measure(rounds: int, transactions: int) -> list[Row]:
    """For each size how many payouts a second, and what each costs."""
    with tempfile.TemporaryDirectory(prefix="coffer-bench-", ignore_cleanup_errors=True) as folder:
        tell("Monero: starting the stack")
        with BenchStack(Path(folder) / "s", "sqlite", chains=("monero",)) as stack:
            database = stack.database()
            try:
                return _measure(stack, database, rounds, transactions)
            finally:
                database.close()


def _measure(stack: BenchStack, database: Database, rounds: int, transactions: int) -> list[Row]:
    stack.policy("XMR", withdrawal_minimum_units=1, hot_outputs=0, withdrawal_approval_above_units=10**18)
    [account] = customers(stack, 1)
    _fund(stack, database, account)
    rows = []
    for size in SIZES:
        speed = Row(f"Monero payouts, request to pool, {size} a transaction", "/s")
        cost = Row(f"Monero fee a payee, {size} a transaction", "XMR/1000")
        stack.policy("XMR", payment_outputs=size)
        for number in range(rounds):
            tell(f"Monero: {transactions} transactions of {size}, round {number + 1} of {rounds}")
            bare_speed, bare_fee = _wallet_alone(stack, size, transactions)
            payees = size * transactions
            orders = [Order(account, "XMR", f"{Decimal(_UNITS).scaleb(-12):f}", _payee()) for _ in range(payees)]
            ours = leave(stack, database, orders, patience=300)
            speed.add(ours, wallet_rpc_alone=bare_speed)
            cost.add(_fees(database, transactions) / payees / 1e9, wallet_rpc_alone=bare_fee / 1e9)
            stack.monero_payer.mine(SPENDABLE_DEPTH)
        rows += [speed, cost]
    return rows


def _fund(stack: BenchStack, database: Database, account: str) -> None:
    """Outputs enough that no transaction waits for the change of another."""
    wire = stack.wire()
    addresses = [address(wire, account, "XMR") for _ in range(OUTPUTS)]
    wire.close()
    for start in range(0, OUTPUTS, 15):
        stack.monero_payer.pay([(text, COIN // 2) for text in addresses[start : start + 15]])
        stack.monero_payer.mine(1)
    stack.monero_payer.mine(12)
    credited = select(deposit.c.id).where(deposit.c.credited == 1)
    wait(lambda: len(database.read(lambda tx: tx.all(credited))) == OUTPUTS)


def _payee() -> str:
    return str(Seed(sha256(f"payee {next(_names)}".encode()).hexdigest()).public_address())


def _wallet_alone(stack: BenchStack, size: int, transactions: int) -> tuple[float, float]:
    """Payees a second and the fee of each, by the outsider's own wallet."""
    wallet, fees = stack.monero_payer.wallet_rpc, 0
    wallet.call("refresh")
    batches = [[{"address": _payee(), "amount": _UNITS} for _ in range(size)] for _ in range(transactions)]
    start = time.perf_counter()
    for destinations in batches:
        fees += wallet.call("transfer", destinations=destinations)["fee"]
    seconds = time.perf_counter() - start
    stack.monero_payer.mine(1)
    return size * transactions / seconds, fees / size / transactions


def _fees(database: Database, transactions: int) -> float:
    """What the newest payments pay the network, as many of them as there should be."""
    newest = select(payment.c.fee_units).where(payment.c.purpose == "withdrawal").order_by(payment.c.id.desc())
    rows = database.read(lambda tx: tx.all(newest.limit(transactions)))
    return float(sum(row.fee_units for row in rows))
