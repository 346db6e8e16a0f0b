"""Cases on the model chain in a file, and on a real bitcoind."""

from __future__ import annotations

import shutil
import time
from collections.abc import Collection, Sequence
from decimal import Decimal
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from embit import bech32

from devstack.bitcoind import Bitcoind
from devstack.evm import until
from tests.faults.outside import Node, Outside, Receipt
from tests.faults.place import Place
from wallets.bitcoin.client import BitcoinClient, RpcRefused
from wallets.fake import FakeChain
from wallets.fake.addresses import derive
from wallets.protocol import Output

WALLET = "coffer"
MINER = "miner"
#: Blocks before the first case: the miner's first coins can be spent.
FIRST_BLOCKS = 110
#: A small keypool: a wallet is made in a third of the time.
NODE_OPTIONS = ("-keypool=25", "-printtoconsole=0", "-debuglogfile=0")
#: The pool drops what is older than two weeks.
_POOL_SECONDS = 15 * 86_400
POLICY = {"BTC": {"payment_window_ms": 0, "address_watch_ahead": 100, "withdrawal_approval_above_units": 600_000}}


def settings(place: Place) -> dict[str, Any]:
    url = place.urls.get("worker") or f"fake:{chain_file(place.path)}"
    return {"bitcoin_rpc_url": url, "bitcoin_daily_outflow_cap": "1000"}


def outside(place: Place) -> Outside:
    return BitcoinOutside(place.urls["admin"]) if "admin" in place.urls else FakeOutside(chain_file(place.path))


def chain_file(case: Path) -> Path:
    return case / "chain.pickle"


class FakeNode(Node):
    """A file among those of the case."""

    def make(self, case: Path) -> None:
        FakeChain(chain_file(case)).mine(FIRST_BLOCKS)


class BitcoinNode(Node):
    """A node whose data folder is copied anew for each case."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._node = Bitcoind(folder / "node", NODE_OPTIONS)

    @property
    def urls(self) -> dict[str, str]:
        return {"worker": self._node.worker_url, "admin": self._node.admin_url}

    def make(self, case: Path) -> None:
        self._node.start()
        self._node.mine(FIRST_BLOCKS)

    def save(self, kept: Path) -> None:
        self._node.stop()
        shutil.copytree(self._node.folder / "regtest", kept / "regtest")

    def restore(self, kept: Path) -> None:
        self._node.kill()
        shutil.rmtree(self._node.folder / "regtest")
        shutil.copytree(kept / "regtest", self._node.folder / "regtest")
        self._node.start()

    def close(self) -> None:
        self._node.kill()


class FakeOutside(Outside):
    """The model chain in a file."""

    wallet = WALLET

    def __init__(self, path: Path) -> None:
        self.chain = FakeChain(path)

    def payee(self, name: str) -> str:
        return derive(f"payee/{name}")

    def pay(self, outputs: Sequence[Output], token: str | None = None) -> str:
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

    def paid_to(self, address: str, token: str | None = None) -> list[int]:
        with self.chain.state() as s:
            active = [s.txs[txid] for txid in (*s.height_of, *s.pool)]
            return [output.units for tx in active for output in tx.outputs if output.address == address]

    def receipts(self) -> list[Receipt]:
        with self.chain.state() as s:
            owned = self.chain.owned(s, self.wallet)
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

    def pay(self, outputs: Sequence[Output], token: str | None = None) -> str:
        amounts = {output.address: str(Decimal(output.units).scaleb(-8)) for output in outputs}
        txid = str(self._miner.read("send", amounts, None, "unset", "2", {"replaceable": True})["txid"])
        until(partial(self._seen, txid), f"the wallet to see {txid}", 30)
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

    def paid_to(self, address: str, token: str | None = None) -> list[int]:
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

    def used(self, known: Collection[str]) -> set[str]:
        """Of the known inputs; nobody else could have spent them, and the wallet knows no others of its own."""
        return {key for key in known if self._miner.read("gettxout", *_outpoint(key), True) is None}


def _outpoint(key: str) -> tuple[str, int]:
    txid, _, vout = key.partition(":")
    return txid, int(vout)


def _receipt(entry: dict[str, Any]) -> Receipt:
    return Receipt(f"{entry['txid']}:{entry['vout']}", int(entry["amount"] * 10**8), entry["confirmations"])
