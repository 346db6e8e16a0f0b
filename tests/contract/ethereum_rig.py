"""Ethereum wallets for the contract suite, on anvil and on a real geth."""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import suppress
from hashlib import sha256
from typing import Any

from devstack.anvil import Anvil
from devstack.evm import EvmNode
from devstack.geth import Geth
from tests.contract.fault_proxy import FaultProxy
from tests.contract.rigs import Rig, Trait, names, until
from wallets.ethereum.addresses import EthereumAddressBook
from wallets.ethereum.client import EthereumClient
from wallets.ethereum.contracts import creation, encode, load
from wallets.ethereum.hd import checksummed
from wallets.ethereum.keys import EthereumKeys
from wallets.ethereum.wallet import EthereumWallet
from wallets.protocol import HOT, Call, Output, SignedTransaction, Spend

_RPC = {"broadcast": "eth_sendRawTransaction"}
GWEI = 10**9


class HandedOut:
    """A `Directory`: the addresses that the test asked for, and the tokens it listed."""

    def __init__(self) -> None:
        self.addresses: set[str] = set()
        self.contracts: set[str] = set()
        self.asked = 0

    def ours(self, addresses: Collection[str]) -> Collection[str]:
        self.asked += 1
        return self.addresses & set(addresses)

    def tokens(self) -> Collection[str]:
        return self.contracts

    def account_public_key(self) -> str | None:
        return None


class EthereumRig(Rig):
    """A fresh seed on a shared node; what the wallet says to it goes through a proxy."""

    coin = 10**18
    rate = 3 * GWEI
    rate_max = 150 * GWEI
    rate_floor = 1
    fee_ample = 10**16
    foreign_address = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"
    foreign_cursor = f'[[3,"0x{"ab" * 32}"],[1,"0x{"cd" * 32}"]]'
    unknown = (f"0x{'00' * 32}:tx", f"0x{'00' * 32}")
    conflict_reason = "vanished"

    def __init__(self, node: EvmNode, *, timeout_seconds: float = 30, sweeper: str | None = None) -> None:
        self.node = node
        self.name = f"ethereum-{os.getpid()}-{next(names)}"
        self.keys = EthereumKeys(sha256(self.name.encode()).digest())
        self.proxy = FaultProxy(node.port)
        self.client = EthereumClient(f"http://127.0.0.1:{self.proxy.port}", timeout_seconds)
        self.directory = HandedOut()
        self.chain_id = node.chain_id()
        self.start_block = node.height() + 1
        self.wallet = self.wallet_with(sweeper)
        self.addresses = EthereumAddressBook(self.chain_id)
        self.identity = self.wallet.open()

    def wallet_with(self, sweeper: str | None = None, *, trace: bool = True) -> EthereumWallet:
        """Another view of the same wallet."""
        return EthereumWallet(
            self.client,
            self.keys,
            self.directory,
            self.chain_id,
            sweeper=sweeper,
            trace=trace,
            start_block=self.start_block,
        )

    def address(self, index: int) -> str:
        """Handed out by being asked for."""
        address = super().address(index)
        self.directory.addresses.add(address)
        return address

    def fee_bounds(self, rate: int, payees: int = 1) -> tuple[int, int]:
        assert payees == 1
        return 21_000 * rate, 21_000 * rate

    def outside_address(self) -> str:
        return checksummed(sha256(f"{self.name}/{next(names)}".encode()).digest()[:20])

    def pay(self, *outputs: Output) -> str:
        [output] = outputs
        return self.node.pay(output.address, output.units)

    def mine(self, blocks: int = 1, coinbase_to: str | None = None) -> None:
        assert coinbase_to is None
        self.node.mine(blocks)

    def received(self, address: str) -> int:
        return int(self.node.rpc("eth_getBalance", address, "pending"), 16)

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
        self.up()
        self.proxy.close()

    # --- what only this chain has --------------------------------------------------------------------------------

    def deploy(self, name: str, *args: Any) -> str:
        """An outsider deploys a contract of ours; its address in its canonical form."""
        return self.addresses.parse(self.node.deploy(creation(load(name), args)))

    def token(self, name: str = "GoodToken", *more: Any, listed: bool = True) -> str:
        """A new token with six decimals, all of which the outside payer has."""
        contract = self.deploy(name, "TOK", 6, self.node.payer, 10**15, *more)
        if listed:
            self.directory.contracts.add(contract)
        return contract

    def invoke(self, contract: str, name: str, function: str, *args: Any, wei: int = 0) -> str:
        """An outsider calls a contract; waits for a block. The transaction's id."""
        data = encode(load(name), function, args)
        txid = self.node.send({"to": contract, "data": data, "value": hex(wei)})
        self.node.settle(txid)
        return txid

    def give_tokens(self, token: str, index: int, units: int, name: str = "GoodToken") -> str:
        """An outsider's confirmed payment in a token to one of our addresses."""
        return self.invoke(token, name, "transfer", self.address(index), units)

    def token_balance(self, token: str, address: str) -> int:
        return int(self.node.call(token, encode(load("GoodToken"), "balanceOf", [address])), 16)

    def token_spend(self, token: str, address: str, units: int) -> Spend:
        return Spend((Output(address, units),), token=token)

    def sweep_spend(self, index: int, units: int, token: str | None = None) -> Spend:
        """What lies on an index goes to the hot wallet."""
        return Spend((Output(self.keys.address(0), units),), token=token, sources=(index,), targets=(HOT,))

    def do(self, spend: Spend, *, rate: int | None = None, excluded: Collection[str] = ()) -> SignedTransaction:
        """Proposed and signed, not sent."""
        proposal = self.wallet.propose(spend, rate or self.rate, self.rate_max, excluded=excluded)
        return self.wallet.sign(proposal, spend)

    def perform(self, spend: Spend) -> SignedTransaction:
        """Made, sent, and in a block."""
        tx = self.do(spend)
        self.wallet.broadcast(tx)
        self.node.settle(tx.txid)
        return tx

    def call(self, to: str | None, data: str) -> Spend:
        return Spend((), call=Call(to, data))


class AnvilRig(EthereumRig):
    """Blocks are made when the test says so, and can be taken back."""

    traits = frozenset(
        {
            Trait.WAITS,
            Trait.EVICTS,
            Trait.REORGS,
            Trait.RESTARTS,
            Trait.REPLACES,
            Trait.NONCES,
            Trait.APART,
            Trait.TOKENS,
        }
    )
    node: Anvil

    def mine_instead(self, tx: SignedTransaction) -> None:
        self.node.empty_pool()
        self.node.send_raw(tx.raw)
        self.node.mine()

    def reorg(self, depth: int, *, double_spent: str | None = None) -> None:
        """What the old blocks held waits again, as on a real network, except for what was spent otherwise."""
        height = self.node.height()
        old = [
            tx["hash"]
            for n in range(height - depth + 1, height + 1)
            for tx in self.node.block(n, full=True)["transactions"]
        ]
        bytes_of = {txid: str(self.node.rpc("eth_getRawTransactionByHash", txid)) for txid in old}
        spent = None if double_spent is None else self.node.rpc("eth_getTransactionByHash", double_spent)
        self.node.reorg(depth)
        if spent is not None:
            self.node.send({"nonce": spent["nonce"], "to": self.outside_address(), "value": "0x1", "gas": hex(21_000)})
        self.node.mine()
        for txid, raw in bytes_of.items():
            if txid != double_spent:
                self.node.send_raw(raw)

    def evict(self, txid: str) -> None:
        self.node.drop(txid)

    def as_another(self, transaction: dict[str, str]) -> str:
        """The first transaction of somebody who is neither us nor the outside payer; waits for a block."""
        other = self.outside_address()
        self.node.set_balance(other, self.coin)
        self.node.rpc("anvil_impersonateAccount", other)
        fields = {"from": other, "nonce": "0x0", "gas": hex(200_000)}
        return str(self.node.rpc("eth_sendTransaction", transaction | fields))

    def close(self) -> None:
        super().close()
        with suppress(OSError):
            self.node.empty_pool()


class GethRig(EthereumRig):
    """A block comes as soon as the pool holds something."""

    traits = frozenset({Trait.NONCES, Trait.APART, Trait.TOKENS})
    node: Geth

    def mine(self, blocks: int = 1, coinbase_to: str | None = None) -> None:
        """What was sent has its block already, or very soon; the last of these blocks is empty of it."""
        until(lambda: not self._waiting(), "the pool to be empty")
        super().mine(blocks, coinbase_to)

    def _waiting(self) -> bool:
        return int(self.node.rpc("txpool_status")["pending"], 16) > 0
