"""Monero wallets for the contract suite: wallet files on one real monero-wallet-rpc and one real monerod."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from devstack.monero_rpc import MoneroRpcError
from devstack.monero_wallet import MoneroWalletRpc, kept_wallet, prepared_chain
from devstack.monerod import SPENDABLE_DEPTH
from tests.contract.fault_proxy import FaultProxy
from tests.contract.rigs import WATCHED, Rig, Trait, until
from wallets.monero.addresses import Layout, MoneroAddressBook
from wallets.monero.blob import read_blob
from wallets.monero.prepared import Prepared
from wallets.monero.wallet import MoneroWallet
from wallets.protocol import Output, SignedTransaction

#: What takes long to make, for all test processes of this user: a chain with mature coins, and wallet files.
TEMPLATES = Path(tempfile.gettempdir()) / f"coffer-monero-{os.getuid()}"
WALLET_PASSWORD = "correct horse"  # of wallets that hold nothing outside a test

#: The RPC by which each protocol method acts.
_RPC = {"broadcast": "relay_tx", "hold": "freeze"}


class MoneroGround:
    """A node, the outsider who mines and pays, and the wallet-rpc that the wallets of tests share."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.node, self.payer = prepared_chain(folder, TEMPLATES / "chain")
        self.wallet_rpc = MoneroWalletRpc(folder / "hot", self.node)
        self.wallet_rpc.start()
        self._numbers = 0

    def new_wallet(self) -> str:
        """The name of a wallet file that this chain has not seen."""
        self._numbers += 1
        name = f"wallet-{self._numbers}"
        kept_wallet(TEMPLATES / "wallets", self._numbers, self.wallet_rpc.wallets, name, WALLET_PASSWORD)
        return name

    def stop(self) -> None:
        self.wallet_rpc.stop()
        self.payer.stop()
        self.node.stop()


class MoneroRig(Rig):
    """A fresh wallet file; what the wallet says to wallet-rpc and monerod goes through proxies."""

    traits = frozenset(
        {
            Trait.WAITS,
            Trait.POOL_DEPOSITS,
            Trait.REREADS,
            Trait.EVICTS,
            Trait.REORGS,
            Trait.RESTARTS,
            Trait.MANY_PAYEES,
            Trait.HOLDS,
            Trait.WATCHES,
        }
    )
    coin = 10**12
    rate = 1_200_000
    rate_max = 100_000_000
    rate_floor = 1
    fee_ample = 10**12
    foreign_address = "55LTR8KniP4LQGJSPtbYDacR7dz8RBFnsfAKMaMuwUNYX6aQbBcovzDPyrQF9KXF9tVU6Xk3K8no1BywnJX6GvZX8yJsXvt"
    foreign_cursor = f"100:{'ab' * 32}"
    unknown = (f"{'00' * 32}:0:1", "00" * 32)
    conflict_reason = "vanished"

    def __init__(self, ground: MoneroGround, *, layout: Layout = "subaddress", timeout_seconds: float = 60) -> None:
        self.ground, self.layout = ground, layout
        self.node, self.payer = ground.node, ground.payer
        self.name = ground.new_wallet()
        self.proxy, self.daemon_proxy = FaultProxy(ground.wallet_rpc.rpc.port), FaultProxy(ground.node.rpc.port)
        self.timeout_seconds = timeout_seconds
        self.wallet = self.new_adapter()
        self.addresses = MoneroAddressBook("regtest", layout)
        self.identity = self.wallet.open()
        self.rpc("refresh")  # more blocks than the wallet reads within one call of the adapter
        self.wallet.watch(WATCHED)

    def new_adapter(self, name: str | None = None) -> MoneroWallet:
        """What a restarted worker would start with; on another wallet file if one is named."""
        return MoneroWallet(
            _through(self.ground.wallet_rpc.url, self.ground.wallet_rpc.rpc.port, self.proxy),
            _through(self.node.url, self.node.rpc.port, self.daemon_proxy),
            network="regtest",
            name=name or self.name,
            password=WALLET_PASSWORD,
            layout=self.layout,
            timeout_seconds=self.timeout_seconds,
        )

    def rpc(self, method: str, **params: Any) -> dict[str, Any]:
        """A call about this wallet, past the adapter."""
        return self.ground.wallet_rpc.call(method, **params)

    def address(self, index: int) -> str:
        return self.wallet.addresses(index, 1)[0]

    def hot_address(self) -> str:
        return str(self.rpc("get_address", account_index=0, address_index=[0])["address"])

    def fund(self, index: int, units: int, blocks: int = SPENDABLE_DEPTH) -> str:
        """Deep enough to be spent, unless told otherwise."""
        return super().fund(index, units, blocks)

    def fee_bounds(self, rate: int, payees: int = 1) -> tuple[int, int]:
        """Fees come in four classes, each four to twelve times the one below."""
        weight = {1: 1_507, 2: 2_095}[payees]
        return weight * rate // 13, (weight + 5) * rate

    def outside_address(self) -> str:
        """A subaddress of the payer that nobody else is told of, in an account of its own."""
        if len(self._outside("get_accounts")["subaddress_accounts"]) < 2:
            self._outside("create_account")
        return str(self._outside("create_address", account_index=1)["address"])

    def pay(self, *outputs: Output) -> str:
        txid = self.payer.pay([(output.address, output.units) for output in outputs])
        self.rpc("refresh")
        return txid

    def mine(self, blocks: int = 1, coinbase_to: str | None = None) -> None:
        self.node.generate(blocks, coinbase_to or self.payer.address)
        self.rpc("refresh")

    def received(self, address: str) -> int:
        self._outside("refresh")
        found = self._outside("get_transfers", **{"in": True, "pool": True, "account_index": 1})
        entries = found.get("in", []) + found.get("pool", [])
        return sum(entry["amount"] for entry in entries if entry["address"] == address)

    def _outside(self, method: str, **params: Any) -> dict[str, Any]:
        return self.payer.wallet_rpc.call(method, **params)

    def reorg(self, depth: int, *, double_spent: str | None = None) -> None:
        lost = [] if double_spent is None else read_blob(self.bytes_of(double_spent)).key_images
        self.node.pop_blocks(depth)
        waiting = {txid: self.bytes_of(txid) for txid in self.node.pool()}
        self.node.flush_pool()
        if lost:
            self._spend_otherwise(lost)
        self.node.generate(depth + 1, self.payer.address)
        self._put_back(raw for txid, raw in waiting.items() if txid != double_spent)
        self.rpc("refresh")

    def _spend_otherwise(self, key_images: Iterable[str]) -> None:
        """Other transactions for the same outputs, by whichever wallet owns them."""
        outside = self.outside_address()
        for wallet in (self.payer.wallet_rpc, self.ground.wallet_rpc):
            wallet.call("refresh")
            known = wallet.call("incoming_transfers", transfer_type="available").get("transfers", [])
            for image in {coin["key_image"] for coin in known} & set(key_images):
                wallet.call("thaw", key_image=image)
                wallet.call("sweep_single", key_image=image, address=outside)

    def _put_back(self, raws: Iterable[str]) -> None:
        for raw in raws:
            self.node.rpc.post("send_raw_transaction", {"tx_as_hex": raw})

    def bytes_of(self, txid: str) -> str:
        """Of a transaction that the node has."""
        [found] = self.node.rpc.post("get_transactions", {"txs_hashes": [txid]})["txs"]
        return str(found["as_hex"])

    def evict(self, txid: str) -> None:
        self.node.flush_pool(txid)
        self.rpc("refresh")

    def paid_by(self, tx: SignedTransaction) -> list[str]:
        return [address for address, _ in Prepared.read(tx.payload).destinations] + [self.hot_address()]

    def lose_reply(self, method: str, *, acted: bool) -> None:
        self.proxy.lose(_RPC[method], delivered=acted)

    def down(self) -> None:
        for proxy in (self.proxy, self.daemon_proxy):
            proxy.down = True
            proxy.cut()

    def up(self) -> None:
        for proxy in (self.proxy, self.daemon_proxy):
            proxy.down = False

    def restart(self) -> None:
        """Both programs, one after the other."""
        self.ground.wallet_rpc.stop()
        self.node.restart()
        self.ground.wallet_rpc.start()
        until(self._outside_is_back, "the payer to find the node again")
        self.wallet.open()

    def _outside_is_back(self) -> bool:
        """Its first call after the node went away meets the old connection."""
        try:
            self._outside("refresh")
        except MoneroRpcError as error:
            if error.code != -38:
                raise
            return False
        return True

    def close(self) -> None:
        """What the pool holds is mined, so that the next test finds it empty."""
        self.up()
        if self.node.pool():
            self.node.generate(1, self.payer.address)
        for proxy in (self.proxy, self.daemon_proxy):
            proxy.close()


def _through(url: str, port: int, proxy: FaultProxy) -> str:
    return url.replace(f":{port}", f":{proxy.port}")
