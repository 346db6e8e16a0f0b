"""Ethereum withdrawals: from the request until a node has them, one transaction each.

The node makes a block of each transaction at once, so that nothing waits for blocks. The limit is that node and bare
signing: the same number of transfers, signed one after the other and handed over.
"""

from __future__ import annotations

import json
import secrets
import tempfile
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

from eth_account import Account
from sqlalchemy import select

from bench.orders import Order, address, leave, wait
from bench.report import Row, tell
from bench.stack import BenchStack, customers
from devstack.anvil import CHAIN_ID, Anvil
from devstack.evm import TRANSFER_GAS
from ledger.db import Database
from ledger.money import UNITS_BOUND
from ledger.schema import deposit
from wallets.ethereum.hd import checksummed

ETHER, GWEI = 10**18, 10**9
CUSTOMERS = 16
_UNITS = 10**16


def measure(rounds: int, withdrawals: int) -> list[Row]:
    """One row, on SQLite."""
    with tempfile.TemporaryDirectory(prefix="coffer-bench-", ignore_cleanup_errors=True) as folder:
        tell("Ethereum: starting the stack")
        with BenchStack(Path(folder) / "s", "sqlite", chains=("ethereum",), token=True) as stack:
            database = stack.database()
            try:
                return [_measure(stack, database, rounds, withdrawals)]
            finally:
                database.close()


def _measure(stack: BenchStack, database: Database, rounds: int, withdrawals: int) -> Row:
    stack.policy("ETH", deposit_tiers=[[UNITS_BOUND, 1]], withdrawal_approval_above_units=10**24)
    ids = _fund(stack, database)
    stack.anvil.set_auto_mining(True)
    row = Row(f"ETH withdrawals, request to node, {withdrawals} at once (sqlite)", "/s")
    for number in range(rounds):
        tell(f"Ethereum: {withdrawals} withdrawals, round {number + 1} of {rounds}")
        alone = _node_alone(stack.anvil, withdrawals)
        amount = f"{Decimal(_UNITS).scaleb(-18):f}"
        orders = [Order(ids[n % len(ids)], "ETH", amount, "0x" + secrets.token_hex(20)) for n in range(withdrawals)]
        row.add(leave(stack, database, orders, patience=300), node_and_bare_signing=alone)
    return row


def _fund(stack: BenchStack, database: Database) -> list[str]:
    """Customers with money, and a hot wallet with more."""
    ids = customers(stack, CUSTOMERS)
    wire = stack.wire()
    for account in ids:
        stack.anvil.pay(address(wire, account, "ETH"), 100 * ETHER)
    wire.close()
    stack.anvil.pay(_hot(stack), 1_000 * ETHER)
    stack.anvil.mine(12)
    credited = select(deposit.c.id).where(deposit.c.credited == 1)
    wait(lambda: len(database.read(lambda tx: tx.all(credited))) >= CUSTOMERS + 1)
    return ids


def _hot(stack: BenchStack) -> str:
    return str(json.loads(stack.cli("eth", "seed", "show", "--json"))["hot_address"])


def _node_alone(node: Anvil, transfers: int) -> float:
    """Transfers a second by a key that has money and a loop."""
    account = Account.create()
    node.settle(node.pay(account.address, ETHER))
    fields: dict[str, Any] = {"gas": TRANSFER_GAS, "maxFeePerGas": 20 * GWEI, "maxPriorityFeePerGas": GWEI}
    start = time.perf_counter()
    for nonce in range(transfers):
        payee = checksummed(secrets.token_bytes(20))
        draft = fields | {"chainId": CHAIN_ID, "nonce": nonce, "to": payee, "value": GWEI}
        node.send_raw(account.sign_transaction(draft).raw_transaction.to_0x_hex())
    return transfers / (time.perf_counter() - start)
