"""The node's and the wallet's condition: health, balance, price of gas."""

from __future__ import annotations

import time
from collections.abc import Collection

from ledger.errors import NodeNotReady, NodeProtocolError, NodeUnavailable, TokenUnreadable, WrongNetwork
from ledger.money import UNITS_BOUND
from wallets.ethereum.addresses import HOT_INDEX
from wallets.ethereum.client import Call, EthereumClient, RpcRefused
from wallets.ethereum.reply import Block, Record, base_fee_of, block_of, quantity_of
from wallets.ethereum.tokens import balance_call, uint_of
from wallets.ethereum.transaction import Keys
from wallets.protocol import ChainBalance, FeeMarket, NodeHealth, Tip

#: anvil's and geth's own development chains: one node, no peers, and no block unless somebody pays.
LOCAL_CHAIN_IDS = frozenset({31337, 1337})
#: A block comes every 12 seconds; fifty missed in a row means that we do not see the chain.
TIP_AGE_SECONDS_MAX = 600
_BALANCE_ATTEMPTS = 5


def final_height(client: EthereumClient) -> int | None:
    """Up to here the chain calls its blocks final; None where the node cannot say (yet)."""
    try:
        answer = client.read("eth_getBlockByNumber", "finalized", False)
    except RpcRefused:
        return None
    return None if answer is None else block_of(answer, "eth_getBlockByNumber").number


def latest(client: EthereumClient) -> Block:
    return block_of(client.read("eth_getBlockByNumber", "latest", False), "eth_getBlockByNumber")


class NodeState:
    """Questions about one node and its wallet that change nothing."""

    def __init__(self, client: EthereumClient, keys: Keys, chain_id: int) -> None:
        self._client = client
        self._keys = keys
        self._chain_id = chain_id
        self._local = chain_id in LOCAL_CHAIN_IDS
        self._height_max = 0

    def check_network(self) -> None:
        """Raises `WrongNetwork`."""
        found = quantity_of(self._client.read("eth_chainId"), "eth_chainId")
        if found != self._chain_id:
            raise WrongNetwork(f"the node is on chain {found}, the settings say {self._chain_id}")

    def health(self) -> NodeHealth:
        try:
            return self._health()
        except NodeUnavailable as error:
            return NodeHealth(False, str(error.context.get("reason", "unreachable")), error.detail)
        except NodeNotReady as error:
            return NodeHealth(False, "syncing", error.detail)
        except NodeProtocolError as error:
            return NodeHealth(False, "unreadable", error.detail)

    def _health(self) -> NodeHealth:
        self.check_network()
        head = latest(self._client)
        tip = Tip(head.number, head.hash)
        behind = self._behind()
        if behind is not None:
            return NodeHealth(False, "syncing", behind, tip)
        # A node that lost its last blocks in a crash knows no better until it has caught up. Until it is back, what
        # it does not see is no proof of anything.
        if tip.height < self._height_max:
            return NodeHealth(False, "syncing", f"the chain was {self._height_max} blocks long before", tip)
        self._height_max = tip.height
        if self._local:
            return NodeHealth(True, tip=tip)
        age_seconds = time.time() - head.seconds
        if age_seconds > TIP_AGE_SECONDS_MAX:
            return NodeHealth(False, "stale_tip", f"the last block is {age_seconds / 60:.0f} minutes old", tip)
        if quantity_of(self._client.read("net_peerCount"), "net_peerCount") == 0:
            return NodeHealth(False, "no_peers", "the node has no peers", tip)
        return NodeHealth(True, tip=tip)

    def _behind(self) -> str | None:
        """How far the node is behind; None when it is not. geth also counts an index of transactions that is not
        ready: what it does not find then may exist."""
        answer = self._client.read("eth_syncing")
        if answer is False:
            return None
        record = Record(answer, "eth_syncing")
        missing = record.quantity("highestBlock") - record.quantity("currentBlock")
        return f"{missing} blocks behind the best known block"

    def balance(self, token: str | None, indices: Collection[int]) -> ChainBalance:
        """The hot wallet and these indices at one block. Own payments that wait in the pool are not subtracted.

        Raises `TokenUnreadable`."""
        wanted = sorted({HOT_INDEX, *indices})
        addresses = [self._keys.address(index) for index in wanted]
        for _ in range(_BALANCE_ATTEMPTS):
            head = latest(self._client)
            at = {"blockHash": head.hash}
            calls = [balance_question(token, address, at) for address in addresses]
            try:
                units = [balance_answer(token, answer) for answer in self._client.read_many(calls)]
                held = sum(units)
                if held >= UNITS_BOUND:
                    raise NodeProtocolError("its balances together have more digits than any amount here")
            except NodeProtocolError as error:
                if latest(self._client).hash != head.hash:
                    continue  # the block may have left the best chain
                raise self._whose(error, token, at) from None
            at_index = dict(zip(wanted, units, strict=True))
            return ChainBalance(held, at_index[HOT_INDEX], Tip(head.number, head.hash), at_index=at_index)
        raise NodeNotReady("the chain moves faster than it can be read")

    def balance_of(self, address: str, token: str | None) -> int:
        """Raises `TokenUnreadable`."""
        method, params = balance_question(token, address, "latest")
        try:
            return balance_answer(token, self._client.read(method, *params))
        except NodeProtocolError as error:
            raise self._whose(error, token, "latest") from None

    def _whose(self, error: NodeProtocolError, token: str | None, at: object) -> NodeProtocolError:
        """A contract that was broken, or closed, answers as a node does that refuses: this one tells of the coin."""
        if token is None:
            return error
        self._client.read("eth_getBalance", self._keys.address(HOT_INDEX), at)
        return TokenUnreadable(f"{token}: {error.detail}")

    def fee_market(self, rate_fallback: int) -> FeeMarket:
        """Wei per gas, tip included: the base fee can double in six blocks at most (EIP-1559)."""
        head, suggested = self._client.try_many(
            [("eth_getBlockByNumber", ["latest", False]), ("eth_maxPriorityFeePerGas", [])]
        )
        if isinstance(head, RpcRefused):
            raise head
        base_fee = base_fee_of(head, "eth_getBlockByNumber")
        if isinstance(suggested, RpcRefused):
            return FeeMarket(max(rate_fallback, base_fee), "fallback")
        return FeeMarket(2 * base_fee + quantity_of(suggested, "eth_maxPriorityFeePerGas"), "estimate")


def balance_question(token: str | None, address: str, at: object) -> Call:
    return ("eth_getBalance", [address, at]) if token is None else balance_call(token, address, at)


def balance_answer(token: str | None, answer: object) -> int:
    if token is None:
        return quantity_of(answer, "eth_getBalance")
    units = uint_of(answer, "balanceOf")
    if units >= UNITS_BOUND:
        raise NodeProtocolError("balanceOf has more digits than any amount here")
    return units
