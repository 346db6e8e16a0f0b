"""The world outside Coffer: payers, miners and payees, on the model chain or on a real bitcoind.

Nothing here passes a crashpoint, so what the outside does happens once however often Coffer dies.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any

from embit import bech32

from wallets.bitcoin.client import BitcoinClient, RpcRefused
from wallets.fake import FakeChain
from wallets.fake.addresses import derive
from wallets.protocol import Output

WALLET = "coffer"
MINER = "miner"
#: The pool drops what is older than two weeks.
_POOL_SECONDS = 15 * 86_400


@dataclass(frozen=True)
class Receipt:
    """One output that the chain pays to an address of Coffer's wallet."""

    key: str  #: `txid:vout`
    units: int
    depth: int  #: 0 in the pool


class Outside(ABC):
    @abstractmethod
    def payee(self, name: str) -> str:
        """An address of nobody's, the same for the same name."""

    @abstractmethod
    def pay(self, outputs: Sequence[Output]) -> str:
        """An outsider's transaction, in the pool and seen by the wallet; its id."""

    @abstractmethod
    def mine(self, blocks: int) -> None: ...

    @abstractmethod
    def reorg(self, depth: int, *, double_spent: Sequence[str] = ()) -> None:
        """Other blocks instead of the last ones, one more of them. What they held is in the pool again, or spent."""

    @abstractmethod
    def empty_pool(self) -> None:
        """The node forgets every transaction that no block holds."""

    @abstractmethod
    def set_rate(self, rate: int | None) -> None:
        """What block space costs, per 1000 bytes (None: the node cannot tell)."""

    @abstractmethod
    def paid_to(self, address: str) -> list[int]:
        """Units of each output in pool and chain that pays this address: what the payee would count."""

    @abstractmethod
    def receipts(self) -> list[Receipt]:
        """Every output from outside that pays an address which Coffer's wallet watches."""


class FakeOutside(Outside):
    """The model chain in a file."""

    def __init__(self, path: Path) -> None:
        self.chain = FakeChain(path)

    def payee(self, name: str) -> str:
        return derive(f"payee/{name}")

    def pay(self, outputs: Sequence[Output]) -> str:
        return self.chain.pay(*outputs)

    def mine(self, blocks: int) -> None:
        self.chain.mine(blocks)

    def reorg(self, depth: int, *, double_spent: Sequence[str] = ()) -> None:
        self.chain.reorg(depth, double_spent=double_spent)

    def empty_pool(self) -> None:
        for txid in self.chain.pool:
            if txid in self.chain.pool:  # a parent takes its children along
                self.chain.evict(txid)

    def set_rate(self, rate: int | None) -> None:
        self.chain.set_rate(rate)

    def paid_to(self, address: str) -> list[int]:
        with self.chain.state() as s:
            active = [s.txs[txid] for txid in (*s.height_of, *s.pool)]
            return [output.units for tx in active for output in tx.outputs if output.address == address]

    def receipts(self) -> list[Receipt]:
        with self.chain.state() as s:
            owned = self.chain.owned(s, WALLET)
            return [
                Receipt(f"{txid}:{vout}", output.units, s.depth(txid))
                for txid in (*s.height_of, *s.pool)
                for vout, output in enumerate(s.txs[txid].outputs)
                if owned.get(output.address) is not None
            ]


class BitcoinOutside(Outside):
    """A regtest node of its own for each case; `admin_url` may call everything."""

    def __init__(self, admin_url: str) -> None:
        self._miner = BitcoinClient(admin_url, MINER)
        self._coffer = BitcoinClient(admin_url, WALLET)

    def payee(self, name: str) -> str:
        return str(bech32.encode("bcrt", 0, sha256(f"payee/{name}".encode()).digest()[:20]))

    def pay(self, outputs: Sequence[Output]) -> str:
        amounts = {output.address: str(Decimal(output.units).scaleb(-8)) for output in outputs}
        txid = str(self._miner.read("send", amounts, None, "unset", "2", {"replaceable": True})["txid"])
        until(lambda: self._seen(txid), f"the wallet to see {txid}")
        return txid

    def _seen(self, txid: str) -> bool:
        try:
            self._coffer.read("gettransaction", txid)
        except RpcRefused:
            return False
        return True

    def mine(self, blocks: int) -> None:
        self._miner.read("generatetoaddress", blocks, self._miner.read("getnewaddress"))

    def reorg(self, depth: int, *, double_spent: Sequence[str] = ()) -> None:
        if double_spent:
            raise NotImplementedError("double spends are tested on the model chain")
        height = int(self._miner.read("getblockcount"))
        self._miner.read("invalidateblock", self._miner.read("getblockhash", height - depth + 1))
        for _ in range(depth + 1):
            self._miner.read("generateblock", self._miner.read("getnewaddress"), [])

    def empty_pool(self) -> None:
        """By age, as a node does when the next transaction comes in."""
        try:
            self._miner.read("setmocktime", int(time.time()) + _POOL_SECONDS)
            self._miner.read("send", {self.payee("nobody"): "0.01"}, None, "unset", "2")
        finally:
            self._miner.read("setmocktime", 0)

    def set_rate(self, rate: int | None) -> None:
        raise NotImplementedError("fee estimation is driven on the model chain")

    def paid_to(self, address: str) -> list[int]:
        confirmed = self._miner.read("scantxoutset", "start", [f"addr({address})"])["unspents"]
        pool = [
            output["value"]
            for txid in self._miner.read("getrawmempool")
            for output in self._miner.read("getrawtransaction", txid, True)["vout"]
            if output["scriptPubKey"].get("address") == address
        ]
        return [int(value * 10**8) for value in [*(coin["amount"] for coin in confirmed), *pool]]

    def receipts(self) -> list[Receipt]:
        entries = self._coffer.read("listsinceblock", "", 1, False, False, False)["transactions"]
        return [_receipt(entry) for entry in entries if entry["category"] == "receive" and self._active(entry)]

    def _active(self, entry: dict[str, Any]) -> bool:
        return entry["confirmations"] > 0 or entry["txid"] in self._miner.read("getrawmempool")


def _receipt(entry: dict[str, Any]) -> Receipt:
    return Receipt(f"{entry['txid']}:{entry['vout']}", int(entry["amount"] * 10**8), entry["confirmations"])


def until(condition: Callable[[], bool], what: str, timeout_seconds: float = 30) -> None:
    """Wait for a condition, not for ever."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout_seconds:g} s for {what}")
        time.sleep(0.01)
