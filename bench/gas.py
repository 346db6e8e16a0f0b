"""What it costs to collect tokens, in gas for each address: one by one, with gas sent first, and in batches (EIP-7702).

Gas is counted by the chain's rules and does not depend on the machine: one round says it all.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection
from itertools import count
from pathlib import Path

from bench.report import Row, tell
from devstack.anvil import CHAIN_ID, Anvil
from wallets.ethereum.client import EthereumClient
from wallets.ethereum.contracts import creation, encode, load
from wallets.ethereum.keys import EthereumKeys
from wallets.ethereum.wallet import EthereumWallet
from wallets.protocol import HOT, Output, Spend

BATCHES = (1, 5, 20)
GWEI = 10**9
_UNITS = 10**6


class _Listed:
    """A `Directory` of one token."""

    def __init__(self, token: str) -> None:
        self._token = token

    def ours(self, addresses: Collection[str]) -> Collection[str]:
        return ()

    def tokens(self) -> Collection[str]:
        return (self._token,)


class Collector:
    """A wallet whose indices hold tokens, on a chain of its own."""

    def __init__(self, node: Anvil) -> None:
        self.node = node
        keys = EthereumKeys(b"bench" * 8)
        self.address = keys.address
        self.token = node.deploy(creation(load("GoodToken"), ("TOK", 6, node.payer, 10**15)))
        sweeper = node.deploy(creation(load("Sweeper"), (keys.address(0),)))
        client = EthereumClient(node.url)
        self.wallet = EthereumWallet(client, keys, _Listed(self.token), CHAIN_ID, sweeper=sweeper, trace=False)
        self._fresh = count(1)
        node.settle(node.pay(keys.address(0), 10 * 10**18))
        self.give(0)  # the hot wallet has had tokens before, as it has had after the first sweep of all

    def give(self, index: int) -> None:
        """Tokens from outside."""
        data = encode(load("GoodToken"), "transfer", (self.address(index), _UNITS))
        self.node.settle(self.node.send({"to": self.token, "data": data}))

    def stocked(self, number: int) -> list[int]:
        """So many new indices with tokens on them."""
        found = [next(self._fresh) for _ in range(number)]
        for index in found:
            self.give(index)
        return found

    def gas_of(self, spend: Spend) -> int:
        """What this takes, signed and mined."""
        rate = 3 * GWEI
        tx = self.wallet.sign(self.wallet.propose(spend, rate, 20 * rate), spend)
        self.wallet.broadcast(tx)
        receipt = self.node.settle(tx.txid)
        if receipt["status"] != "0x1":
            raise RuntimeError("the chain reverted it")
        return int(receipt["gasUsed"], 16)

    def one_by_one(self) -> int:
        """Gas for the index first, then its tokens."""
        [index] = self.stocked(1)
        top_up = Spend((Output(self.address(index), 10**15),), targets=(index,))
        return self.gas_of(top_up) + self.gas_of(self._collect([index], batched=False))

    def batch(self, indices: list[int]) -> float:
        return self.gas_of(self._collect(indices, batched=True)) / len(indices)

    def clear(self, indices: list[int]) -> float:
        """Their code is taken away again, as the engine does a day later."""
        return self.gas_of(Spend((), sources=tuple(indices), batched=True)) / len(indices)

    def _collect(self, indices: list[int], *, batched: bool) -> Spend:
        hot = Output(self.address(0), _UNITS)
        targets = tuple(HOT for _ in indices)
        outputs = tuple(hot for _ in indices)
        return Spend(outputs, self.token, tuple(indices), targets, batched=batched)

    def bare(self) -> int:
        """A token transfer from one of the outsider's hands to the hot wallet: what moving a token costs at least."""
        data = encode(load("GoodToken"), "transfer", (self.address(0), _UNITS))
        return int(self.node.settle(self.node.send({"to": self.token, "data": data}))["gasUsed"], 16)


def measure() -> list[Row]:
    """A row for each way."""
    tell("gas of collecting tokens")
    with tempfile.TemporaryDirectory(prefix="coffer-bench-", ignore_cleanup_errors=True) as folder:
        node = Anvil(Path(folder) / "anvil", keep_chain=False)
        node.start()
        try:
            return _measure(Collector(node))
        finally:
            node.stop()


def _measure(collector: Collector) -> list[Row]:
    bare = float(collector.bare())
    plain = Row("gas a token address, one by one with gas sent first", "gas")
    plain.add(collector.one_by_one(), bare_token_transfer=bare)
    rows = [plain]
    for size in BATCHES:
        indices = collector.stocked(size)
        first = Row(f"gas a token address, batch of {size}, code given to each", "gas")
        first.add(collector.batch(indices), bare_token_transfer=bare)
        for index in indices:
            collector.give(index)
        again = Row(f"gas a token address, batch of {size}, code there already", "gas")
        again.add(collector.batch(indices), bare_token_transfer=bare)
        rows += [first, again]
    cleared = Row(f"gas a token address, code taken away again, {BATCHES[-1]} at once", "gas")
    cleared.add(collector.clear(indices), bare_token_transfer=bare)
    return [*rows, cleared]
