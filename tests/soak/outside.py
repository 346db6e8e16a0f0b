"""The world outside, of each chain: it mines, pays, takes payments back in reorganisations, and counts what came."""

from __future__ import annotations

import contextlib
import http.client
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pymysql
import requests

from devstack.bitcoind import MINER_WALLET, RpcError
from devstack.demo.figures import BTC, COINS, ETH, Coin
from devstack.demo.outside.bitcoin import OutsideBitcoin
from devstack.demo.outside.ethereum import OutsideEthereum
from devstack.demo.outside.monero import OutsideMonero
from devstack.evm import EvmError
from devstack.monero_rpc import MoneroRpcError
from devstack.stack import Stack
from tests.integration.storefront import nobodys_address

#: What a node that is down today, or has forgotten something, answers its own people with.
NODE_TROUBLE = (
    OSError, http.client.HTTPException, requests.RequestException, RpcError, MoneroRpcError, EvmError,
    ValueError, KeyError, RuntimeError, TimeoutError, pymysql.err.MySQLError,
)  # fmt: skip
#: Coins that a payer of Bitcoin who will take the payment back spends: mined long ago, in no block that is undone.
_OLD_BLOCKS = 101
_SUBADDRESSES_AT_ONCE = 64
#: Whose money no shop sees.
HOUSE = "the house"


@dataclass(frozen=True)
class Paid:
    """One payment from outside that a node took. Whether it stays is the chain's affair."""

    asset: str
    txid: str
    address: str
    units: int
    account: str  #: whose address it is; HOUSE: no customer's
    fickle: bool  #: the payer takes it back, if there is a reorganisation


class Chain:
    """One chain's outside. The lock keeps a miner from building on blocks that are just being undone."""

    def __init__(self) -> None:
        self.lock = threading.RLock()

    def mine(self, blocks: int = 1) -> None:
        raise NotImplementedError

    def payee(self, coin: Coin) -> str:
        raise NotImplementedError

    def pay(self, coin: Coin, address: str, units: int, *, fickle: bool) -> str:
        raise NotImplementedError

    def reorg(self, depth: int, fickle: set[str]) -> int:
        """Other blocks instead of the last ones and one more; how many of the fickle payments are gone for good."""
        raise NotImplementedError

    def mined(self, txids: Iterable[str]) -> set[str]:
        """Those that a block has."""
        raise NotImplementedError

    def waits(self, txid: str) -> bool:
        """Whether the node has it in its pool."""
        raise NotImplementedError

    def received(self, coin: Coin, payees: list[str]) -> Mapping[str, int]:
        """What reached each in blocks; those that got nothing may be left out."""
        raise NotImplementedError


class Bitcoin(Chain):
    def __init__(self, stack: Stack) -> None:
        super().__init__()
        self.node = stack.bitcoind
        self.world = OutsideBitcoin(stack.bitcoind, stack.settings["COFFER_BITCOIN_WALLET"])
        self._begun = self.world.height

    def mine(self, blocks: int = 1) -> None:
        with self.lock:
            self.world.mine(blocks)

    def payee(self, coin: Coin) -> str:
        return nobodys_address("soak")

    def pay(self, coin: Coin, address: str, units: int, *, fickle: bool) -> str:
        with self.lock:
            if not fickle:
                return self.world.pay({address: units})
            old = self.node.admin("listunspent", _OLD_BLOCKS, wallet=MINER_WALLET)[0]
            options = {"inputs": [{"txid": old["txid"], "vout": old["vout"]}], "add_inputs": False}
            amounts = {address: BTC.show(units)}
            return str(self.node.admin("send", amounts, None, "unset", "2", options, wallet=MINER_WALLET)["txid"])

    def reorg(self, depth: int, fickle: set[str]) -> int:
        with self.lock:
            height = self.node.admin("getblockcount")
            gone = [txid for n in range(height - depth + 1, height + 1) for txid in self._block(n) if txid in fickle]
            self.node.admin("invalidateblock", self.node.admin("getblockhash", height - depth + 1))
            instead = [raw for raw in map(self._respent, gone) if raw]
            for number in range(depth + 1):
                self.node.admin("generateblock", self.node.miner_address(), instead if number == 0 else [])
            return len(instead)

    def _respent(self, txid: str) -> str:
        """The same coins, to the payer; empty where they are of a block that is undone too."""
        tx = self.node.admin("gettransaction", txid, True, True, wallet=MINER_WALLET)["decoded"]
        inputs = [{"txid": vin["txid"], "vout": vin["vout"]} for vin in tx["vin"]]
        total = sum(out["value"] for out in tx["vout"])
        bare = self.node.admin("createrawtransaction", inputs, [{self.node.miner_address(): str(total)}])
        signed = self.node.admin("signrawtransactionwithwallet", bare, wallet=MINER_WALLET)
        return str(signed["hex"]) if signed["complete"] else ""

    def mined(self, txids: Iterable[str]) -> set[str]:
        there = {txid for n in range(self._begun, self.world.height + 1) for txid in self._block(n)}
        return there & set(txids)

    def waits(self, txid: str) -> bool:
        return self.world.waiting(txid) is not None

    def _block(self, number: int) -> list[str]:
        return list(self.node.admin("getblock", self.node.admin("getblockhash", number), 1)["tx"])

    def received(self, coin: Coin, payees: list[str]) -> Mapping[str, int]:
        found: dict[str, int] = {}
        described = [f"addr({payee})" for payee in payees]
        for unit in self.node.admin("scantxoutset", "start", described, timeout_seconds=120)["unspents"]:
            payee = unit["desc"].partition("(")[2].partition(")")[0]
            found[payee] = found.get(payee, 0) + int(Decimal(unit["amount"]).scaleb(BTC.decimals))
        return found


class Monero(Chain):
    def __init__(self, stack: Stack) -> None:
        super().__init__()
        self.node, self.payer = stack.monerod, stack.monero_payer
        self.world = OutsideMonero(stack.monerod, stack.monero_payer, stack.monero_wallet_rpc)
        self._payees: list[str] = []

    def mine(self, blocks: int = 1) -> None:
        with self.lock:
            self.world.mine(blocks)

    def payee(self, coin: Coin) -> str:
        with self.lock:
            if not self._payees:
                made = self.payer.wallet_rpc.call("create_address", account_index=0, count=_SUBADDRESSES_AT_ONCE)
                self._payees = list(made["addresses"])
            return self._payees.pop()

    def pay(self, coin: Coin, address: str, units: int, *, fickle: bool) -> str:
        with self.lock:
            return self.world.pay({address: units})

    def reorg(self, depth: int, fickle: set[str]) -> int:
        with self.lock:
            self.node.pop_blocks(depth)
            gone = [txid for txid in self.node.pool() if txid in fickle]
            if gone:
                self.node.flush_pool(*gone)
            self.node.generate(depth + 1, self.payer.address)
            return len(gone)

    def forget_given_up(self) -> int:
        """A deep reorganisation puts transactions back into the pool that are not valid while the chain is so short.
        monerod tries each once, never again while the block of that try stands, and keeps it for a week: its operator
        has it forget them, and who needs them sends them again. How many they were."""
        with self.lock:
            waiting = self.node.rpc.post("get_transaction_pool", {}).get("transactions", [])
            broken = [
                entry["id_hash"] for entry in waiting if entry["last_failed_height"] and self._still_failed(entry)
            ]
            if broken:
                self.node.flush_pool(*broken)
            return len(broken)

    def _still_failed(self, entry: Mapping[str, Any]) -> bool:
        height = entry["last_failed_height"]
        if height >= self.node.height():
            return False
        found = self.node.rpc.call("get_block_header_by_height", height=height)["block_header"]["hash"]
        return bool(found == entry["last_failed_id_hash"])

    def mined(self, txids: Iterable[str]) -> set[str]:
        found = {txid: self.world.transaction(txid) for txid in set(txids)}
        return {txid for txid, told in found.items() if told is not None and told["height"] is not None}

    def waits(self, txid: str) -> bool:
        return txid in self.node.pool()

    def received(self, coin: Coin, payees: list[str]) -> Mapping[str, int]:
        """By the payees' own wallet, which looks at the whole chain again: it does not follow reorganisations well."""
        self.payer.wallet_rpc.call("rescan_blockchain", timeout_seconds=300)
        found: dict[str, int] = {}
        told = self.payer.wallet_rpc.call("get_transfers", account_index=0, timeout_seconds=120, **{"in": True})
        for entry in told.get("in", []):
            found[entry["address"]] = found.get(entry["address"], 0) + entry["amount"]
        return {payee: found[payee] for payee in payees if payee in found}


class Ethereum(Chain):
    def __init__(self, stack: Stack) -> None:
        super().__init__()
        self.node = stack.anvil
        self.world = OutsideEthereum(stack.anvil)
        self.world.token = stack.token
        self._payer = self.world.payer.lower()

    def mine(self, blocks: int = 1) -> None:
        with self.lock:
            self.world.mine(blocks)

    def payee(self, coin: Coin) -> str:
        return self.world.new_address()

    def pay(self, coin: Coin, address: str, units: int, *, fickle: bool) -> str:
        with self.lock:
            pay = self.world.pay if coin == ETH else self.world.pay_token
            return pay(address, units)

    def reorg(self, depth: int, fickle: set[str]) -> int:
        """What payers sent waits in the pool again, or something else with its nonce does. What others sent is gone."""
        with self.lock:
            height = self.node.height()
            sent = [tx for n in range(height - depth + 1, height + 1) for tx in self._sent(n)]
            raw = {tx["hash"]: str(self.node.rpc("eth_getRawTransactionByHash", tx["hash"])) for tx in sent}
            self.node.reorg(depth)
            for tx in sent:
                if tx["hash"] in fickle:
                    self.node.send({"nonce": tx["nonce"], "to": self._payer, "value": "0x1"})
                else:
                    self.node.send_raw(raw[tx["hash"]])
            self.node.mine(1)
            return sum(tx["hash"] in fickle for tx in sent)

    def _sent(self, number: int) -> list[dict[str, Any]]:
        """The payers' own transactions of a block, in the order of their nonces."""
        found = self.node.block(number, full=True)["transactions"]
        return sorted((tx for tx in found if tx["from"].lower() == self._payer), key=lambda tx: int(tx["nonce"], 16))

    def mined(self, txids: Iterable[str]) -> set[str]:
        return {txid for txid in set(txids) if self.world.in_block(txid) is not None}

    def waits(self, txid: str) -> bool:
        return self.world.waiting(txid) is not None

    def received(self, coin: Coin, payees: list[str]) -> Mapping[str, int]:
        count: Callable[[str], int] = self.world.balance if coin == ETH else self.world.tokens
        return {payee: count(payee) for payee in payees}


class World:
    """All chains, miners for them, and what was ever paid in."""

    def __init__(self, stack: Stack) -> None:
        bitcoin, monero, ethereum = Bitcoin(stack), Monero(stack), Ethereum(stack)
        self.monero = monero
        self.chains: Mapping[str, Chain] = {"bitcoin": bitcoin, "monero": monero, "ethereum": ethereum}
        self.paid: list[Paid] = []
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._keep_mining, args=(chain, seconds), daemon=True)
            for chain, seconds in ((bitcoin, 5.0), (monero, 4.0), (ethereum, 4.0))
        ]

    def of(self, coin: Coin) -> Chain:
        return self.chains[coin.chain]

    def start_mining(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop_mining(self) -> None:
        self._over.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(120)

    def pay(self, coin: Coin, address: str, units: int, account: str, *, fickle: bool = False) -> Paid | None:
        """None when no node took it, as far as the payer knows: the chain may know better."""
        try:
            txid = self.of(coin).pay(coin, address, units, fickle=fickle)
        except NODE_TROUBLE:
            return None
        made = Paid(coin.code, txid, address, units, account, fickle)
        self.paid.append(made)
        return made

    def reorg(self, chain: str, depth: int, *, spent_again: bool) -> int:
        fickle = {one.txid for one in self.paid if one.fickle} if spent_again else set()
        return self.chains[chain].reorg(depth, fickle)

    def paid_in(self) -> list[Paid]:
        """What was paid to customers."""
        return [one for one in list(self.paid) if one.account != HOUSE]

    def waits(self, payment: Paid) -> bool:
        """Whether it is in a pool."""
        coin = next(coin for coin in COINS if coin.code == payment.asset)
        return self.of(coin).waits(payment.txid)

    def mined(self, payments: Iterable[Paid]) -> set[Paid]:
        """Those that are in a block, by the chains' own word."""
        wanted = list(payments)
        there = {
            (coin.code, txid)
            for coin in COINS
            for txid in self.of(coin).mined(one.txid for one in wanted if one.asset == coin.code)
        }
        return {one for one in wanted if (one.asset, one.txid) in there}

    def _keep_mining(self, chain: Chain, seconds: float) -> None:
        while not self._over.wait(seconds):
            with contextlib.suppress(*NODE_TROUBLE):  # the node is the one that is down today
                chain.mine()
