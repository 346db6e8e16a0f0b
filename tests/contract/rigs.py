"""A wallet on a chain that a test controls: the same controls over the model chain and over a real bitcoind."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from decimal import Decimal
from hashlib import sha256
from itertools import count
from typing import Any

from embit import bech32

from devstack.bitcoind import MINER_WALLET, Bitcoind, RpcError
from ledger.errors import NodeUnavailable
from tests.contract.fault_proxy import FaultProxy
from wallets.bitcoin.addresses import BitcoinAddressBook
from wallets.bitcoin.client import BitcoinClient
from wallets.bitcoin.wallet import BitcoinWallet
from wallets.fake import FakeAddressBook, FakeChain, FakeWallet
from wallets.protocol import AddressBook, ChainWallet, Output, SignedTransaction, TxState, TxStatus, WalletIdentity

PASSPHRASE = "correct horse"
#: Few keys ahead in each descriptor: a wallet is made in half the time.
NODE_OPTIONS = ("-keypool=25",)
WATCHED = 20
_names = count(1)

#: The RPC by which each protocol method acts.
_RPC = {"broadcast": "sendrawtransaction", "sign": "walletprocesspsbt", "hold": "lockunspent"}


def until(condition: Callable[[], bool], what: str, timeout_seconds: float = 20) -> None:
    """Wait for a condition with a deadline."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_seconds} s for {what}"
        time.sleep(0.01)


class Rig(ABC):
    """`wallet` is open and watches WATCHED addresses; the outside payer never runs out of coins."""

    wallet: ChainWallet
    addresses: AddressBook
    identity: WalletIdentity

    def address(self, index: int) -> str:
        return self.addresses.at(self.identity.account_public_key, index)

    def fund(self, index: int, units: int, blocks: int = 1) -> str:
        """An outsider's confirmed payment to one of our addresses. Its resource, `txid:vout`."""
        txid = self.pay(Output(self.address(index), units))
        self.mine(blocks)
        return self.key_of(txid, self.address(index))

    def key_of(self, txid: str, address: str) -> str:
        found = [d.key for d in self.wallet.deposits_since(None).deposits if d.txid == txid and d.address == address]
        assert len(found) == 1, found
        return found[0]

    def make(
        self, *outputs: Output, rate: int = 2000, rate_max: int = 100_000, excluded: Collection[str] = ()
    ) -> SignedTransaction:
        """Proposed and signed, not sent."""
        proposal = self.wallet.propose(outputs, rate, rate_max, excluded=excluded)
        return self.wallet.sign(proposal, outputs)

    def send(self, *outputs: Output) -> SignedTransaction:
        tx = self.make(*outputs)
        self.wallet.broadcast(tx)
        return tx

    def state(self, tx: SignedTransaction) -> TxState:
        return self.status(tx).state

    def status(self, tx: SignedTransaction) -> TxStatus:
        return self.wallet.look_up(tx)

    @abstractmethod
    def outside_address(self) -> str: ...

    @abstractmethod
    def pay(self, *outputs: Output) -> str:
        """An outsider pays; returns its id when the wallet has seen it in the pool."""

    @abstractmethod
    def replace(self, txid: str, *outputs: Output) -> str:
        """The outsider replaces a payment that is still in the pool."""

    @abstractmethod
    def mine(self, blocks: int = 1, coinbase_to: str | None = None) -> None: ...

    @abstractmethod
    def mine_instead(self, tx: SignedTransaction) -> None:
        """A block with exactly this transaction, whatever the pool prefers."""

    @abstractmethod
    def reorg(self, depth: int, *, double_spent: str | None = None) -> None:
        """Replace the last blocks by empty ones (one more); something else spends the inputs of `double_spent`."""

    @abstractmethod
    def evict(self, txid: str) -> None:
        """The node's pool forgets a transaction."""

    @abstractmethod
    def paid_by(self, tx: SignedTransaction) -> list[str]:
        """The addresses that a transaction of ours pays, change included."""

    @abstractmethod
    def received(self, address: str) -> int:
        """What pool and chain pay to an address, whoever owns it."""

    @abstractmethod
    def lose_reply(self, method: str, *, acted: bool) -> None:
        """The next call of a protocol method gets no answer; the node has acted, or never heard of it."""

    @abstractmethod
    def down(self) -> None: ...

    @abstractmethod
    def up(self) -> None: ...

    @abstractmethod
    def restart(self) -> None:
        """Stop the node and start it again, its disk as it was."""

    def close(self) -> None:
        return None


class FakeRig(Rig):
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


class BitcoinRig(Rig):
    """A fresh wallet of a shared node; what the wallet says to it goes through a proxy."""

    def __init__(self, node: Bitcoind, *, timeout_seconds: float = 30) -> None:
        self.node = node
        self.name = f"wallet-{next(_names)}"
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
        program = sha256(f"{self.name}/{next(_names)}".encode()).digest()[:20]
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


def unavailable(call: Callable[[], object]) -> bool:
    """Whether a call got no answer."""
    try:
        call()
    except NodeUnavailable:
        return True
    return False
