"""Bitcoin wallets for the contract suite: on the model chain, and on a real bitcoind."""

from __future__ import annotations

import time
from collections.abc import Collection
from decimal import Decimal
from hashlib import sha256
from typing import Any

from embit import bech32

from devstack.bitcoind import MINER_WALLET, Bitcoind, RpcError
from tests.contract.fault_proxy import FaultProxy
from tests.contract.rigs import WATCHED, Rig, Trait, names, until
from wallets.bitcoin.addresses import BitcoinAddressBook
from wallets.bitcoin.client import BitcoinClient
from wallets.bitcoin.wallet import BitcoinWallet
from wallets.fake import FakeAddressBook, FakeChain, FakeWallet
from wallets.protocol import Output, SignedTransaction

PASSPHRASE = "correct horse"
#: Few keys ahead in each descriptor: a wallet is made in half the time.
NODE_OPTIONS = ("-keypool=25",)

#: The RPC by which each protocol method acts.
_RPC = {"broadcast": "sendrawtransaction", "sign": "walletprocesspsbt", "hold": "lockunspent"}


class BitcoinLikeRig(Rig):
    """What the model chain has taken over from Bitcoin."""

    traits = frozenset(
        {
            Trait.WAITS,
            Trait.POOL_DEPOSITS,
            Trait.REREADS,
            Trait.OUTSIDE_REPLACES,
            Trait.EVICTS,
            Trait.REORGS,
            Trait.RESTARTS,
            Trait.COINBASE,
            Trait.COINS,
            Trait.DUST,
            Trait.MANY_PAYEES,
            Trait.HOLDS,
            Trait.WATCHES,
            Trait.REPLACES,
            Trait.POOL_CONFLICTS,
        }
    )
    coin = 10**8
    rate = 2_000
    rate_max = 100_000
    rate_floor = 100
    fee_ample = 10**6
    foreign_address = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"
    foreign_cursor = "ab" * 32
    unknown = ("00" * 32 + ":0", "00" * 32)

    def fee_bounds(self, rate: int, payees: int = 1) -> tuple[int, int]:
        low, high = {1: (130, 160), 2: (160, 185)}[payees]
        return low * rate // 1000, high * rate // 1000


class FakeRig(BitcoinLikeRig):
    def __init__(self) -> None:
        self.node = FakeChain()
        self.wallet = FakeWallet(self.node)
        self.addresses = FakeAddressBook()
        self.identity = self.wallet.open()
        self.wallet.watch(WATCHED)
        self.node.mine(10)

    def outside_address(self) -> str:
        return self.node.outside_address()

    def pay(self, *outputs: Output) -> str:
        return self.node.pay(*outputs)

    def replace(self, txid: str, *outputs: Output) -> str:
        return self.node.replace(txid, *outputs)

    def mine(self, blocks: int = 1, coinbase_to: str | None = None) -> None:
        self.node.mine(blocks, coinbase_to=coinbase_to)

    def mine_instead(self, tx: SignedTransaction) -> None:
        self.node.mine_instead(self.node.transaction(tx.txid))

    def reorg(self, depth: int, *, double_spent: str | None = None) -> None:
        self.node.reorg(depth, double_spent=[] if double_spent is None else [double_spent])

    def evict(self, txid: str) -> None:
        self.node.evict(txid)

    def paid_by(self, tx: SignedTransaction) -> list[str]:
        return [output.address for output in self.node.transaction(tx.txid).outputs]

    def received(self, address: str) -> int:
        return self.node.received(address)

    def lose_reply(self, method: str, *, acted: bool) -> None:
        self.node.lose_next_reply(method, accepted=acted)

    def down(self) -> None:
        self.node.down()

    def up(self) -> None:
        self.node.up()

    def restart(self) -> None:
        self.node.down()
        self.node.up()


class BitcoinRig(BitcoinLikeRig):
    """A fresh wallet of a shared node; what the wallet says to it goes through a proxy."""

    def __init__(self, node: Bitcoind, *, timeout_seconds: float = 30) -> None:
        self.node = node
        self.name = f"wallet-{next(names)}"
        self.proxy = FaultProxy(node.rpc_port)
        self.url = node.worker_url.replace(f":{node.rpc_port}", f":{self.proxy.port}")
        self.client = BitcoinClient(self.url, self.name, timeout_seconds)
        self.wallet = BitcoinWallet(self.client, "regtest", self.name, PASSPHRASE)
        self.addresses = BitcoinAddressBook("regtest")
        self.identity = self.wallet.open()
        self.wallet.watch(WATCHED)

    def rpc(self, method: str, *params: Any) -> Any:
        """A call about this wallet, past the adapter."""
        return self.node.admin(method, *params, wallet=self.name)

    def outside_address(self) -> str:
        """Nobody's: coins sent there stay there and can be counted."""
        program = sha256(f"{self.name}/{next(names)}".encode()).digest()[:20]
        return str(bech32.encode("bcrt", 0, program))

    def pay(self, *outputs: Output) -> str:
        txid = self.node.pay({output.address: Decimal(output.units).scaleb(-8) for output in outputs})
        self.until_seen(txid)
        return txid

    def until_seen(self, txid: str) -> None:
        """The node tells its wallets of pool transactions a moment later."""
        until(lambda: self._knows(txid), f"the wallet to see {txid}")

    def _knows(self, txid: str) -> bool:
        try:
            self.rpc("gettransaction", txid)
        except RpcError as error:
            if error.code != -5:
                raise
            return False
        return True

    def replace(self, txid: str, *outputs: Output) -> str:
        paid = [{output.address: str(Decimal(output.units).scaleb(-8))} for output in outputs]
        paid = paid or [{self.outside_address(): "0.1"}]
        bumped = self.node.admin("bumpfee", txid, {"fee_rate": 50, "outputs": paid}, wallet=MINER_WALLET)
        # Both are in the outsider's own wallet; ours learns of the new one only if it pays us.
        until(lambda: txid not in self.node.admin("getrawmempool"), "the pool to drop the replaced transaction")
        if self._pays_us(outputs):
            self.until_seen(bumped["txid"])
        else:
            until(lambda: bool(self.rpc("gettransaction", txid)["mempoolconflicts"]), "the wallet to see the conflict")
        return str(bumped["txid"])

    def _pays_us(self, outputs: Collection[Output]) -> bool:
        return any(self.rpc("getaddressinfo", output.address)["ismine"] for output in outputs)

    def mine(self, blocks: int = 1, coinbase_to: str | None = None) -> None:
        self.node.mine(blocks, coinbase_to)

    def mine_instead(self, tx: SignedTransaction) -> None:
        self.node.admin("generateblock", self.node.miner_address(), [tx.raw])

    def reorg(self, depth: int, *, double_spent: str | None = None) -> None:
        height = self.node.admin("getblockcount")
        self.node.admin("invalidateblock", self.node.admin("getblockhash", height - depth + 1))
        theft = [] if double_spent is None else [self._respend(double_spent)]
        for transactions in [theft, *[[]] * depth]:
            self.node.admin("generateblock", self.node.miner_address(), transactions)

    def _respend(self, txid: str) -> str:
        """Other signed bytes for the inputs of a transaction, by whichever wallet owns them."""
        tx = self.rpc("gettransaction", txid, True, True)["decoded"]
        inputs = [{"txid": vin["txid"], "vout": vin["vout"]} for vin in tx["vin"]]
        total = sum(out["value"] for out in tx["vout"])
        bare = self.node.admin("createrawtransaction", inputs, [{self.outside_address(): str(total)}])
        self.rpc("walletpassphrase", PASSPHRASE, 5)
        for wallet in (MINER_WALLET, self.name):
            signed = self.node.admin("signrawtransactionwithwallet", bare, wallet=wallet)
            if signed["complete"]:
                return str(signed["hex"])
        raise AssertionError(f"nobody can sign for the inputs of {txid}")

    def evict(self, txid: str) -> None:
        """By age: the pool drops what is older than two weeks when the next transaction comes in."""
        try:
            self.node.admin("setmocktime", int(time.time()) + 15 * 86400)
            self.node.pay({self.outside_address(): Decimal("0.01")})
            assert txid not in self.node.admin("getrawmempool")
        finally:
            self.node.admin("setmocktime", 0)

    def paid_by(self, tx: SignedTransaction) -> list[str]:
        return [out["scriptPubKey"]["address"] for out in self.rpc("decoderawtransaction", tx.raw)["vout"]]

    def received(self, address: str) -> int:
        confirmed = self.node.admin("scantxoutset", "start", [f"addr({address})"])["total_amount"]
        pool = sum(
            out["value"]
            for txid in self.node.admin("getrawmempool")
            for out in self.node.admin("getrawtransaction", txid, True)["vout"]
            if out["scriptPubKey"].get("address") == address
        )
        return int((confirmed + pool) * 10**8)

    def lose_reply(self, method: str, *, acted: bool) -> None:
        self.proxy.lose(_RPC[method], delivered=acted)

    def down(self) -> None:
        self.proxy.down = True
        self.proxy.cut()

    def up(self) -> None:
        self.proxy.down = False

    def restart(self) -> None:
        self.node.restart()

    def close(self) -> None:
        """The node forgets the wallet, and the pool is emptied for the next test."""
        self.up()
        self.node.mine(1)
        self.rpc("unloadwallet", self.name, False)
        self.proxy.close()
