"""The node's and the wallet's condition: health, balance, price of block space."""

from __future__ import annotations

import time

from ledger.errors import NodeNotReady, NodeProtocolError, NodeUnavailable, WrongNetwork
from wallets.bitcoin.client import BitcoinClient, RpcRefused
from wallets.bitcoin.reply import Record, records_of
from wallets.protocol import ChainBalance, FeeMarket, NodeHealth, Tip

#: Between two blocks of main more than three hours pass about once in two thousand years.
TIP_AGE_SECONDS_MAX = 3 * 3600
_BALANCE_ATTEMPTS = 10


class NodeState:
    """Questions about one node and its wallet that change nothing."""

    def __init__(self, client: BitcoinClient, network: str) -> None:
        self._client = client
        self._network = network
        self._height_max = 0

    def health(self) -> NodeHealth:
        try:
            return self._health()
        except NodeUnavailable as error:
            return NodeHealth(False, str(error.context.get("reason", "unreachable")), error.detail)
        except NodeNotReady as error:
            return NodeHealth(False, "no_wallet", error.detail)
        except NodeProtocolError as error:
            return NodeHealth(False, "unreadable", error.detail)

    def _health(self) -> NodeHealth:
        chain = Record(self._client.read("getblockchaininfo"), "getblockchaininfo")
        if chain.text("chain") != self._network:
            raise WrongNetwork(f"the node is on {chain.text('chain')!r}, the settings say {self._network!r}")
        tip = Tip(chain.integer("blocks"), chain.text("bestblockhash"))
        # A lone regtest node counts its tip as old after a day's pause; there is nobody to be behind.
        local = self._network == "regtest"
        behind = chain.integer("headers") - tip.height
        # Each new block is one header ahead for a moment.
        if behind > 1 or (chain.boolean("initialblockdownload") and not local):
            return NodeHealth(False, "syncing", f"{behind} blocks behind the best known header", tip)
        # A node that lost its last blocks in a crash knows no better until a peer tells it; a reorganisation never
        # shortens the chain. Until it is back, what it does not see is no proof of anything.
        if tip.height < self._height_max:
            return NodeHealth(False, "syncing", f"the chain was {self._height_max} blocks long before", tip)
        self._height_max = tip.height
        wallet = Record(self._client.read("getwalletinfo"), "getwalletinfo")
        if wallet.record_or_none("scanning") is not None:
            return NodeHealth(False, "syncing", "the wallet is scanning the chain", tip)
        age_seconds = time.time() - chain.integer("time")
        if not local and age_seconds > TIP_AGE_SECONDS_MAX:
            return NodeHealth(False, "stale_tip", f"the last block is {age_seconds / 3600:.1f} hours old", tip)
        network = Record(self._client.read("getnetworkinfo"), "getnetworkinfo")
        if not local and network.integer("connections") == 0:
            return NodeHealth(False, "no_peers", "the node has no peers", tip)
        return NodeHealth(True, tip=tip)

    def balance(self) -> ChainBalance:
        """Held coins count in the total (the node's own sum includes locked ones) and are not spendable.

        A payment of ours that is in neither pool nor chain counts as spent, and its change as nothing, until it is
        sent again.
        """
        for _ in range(_BALANCE_ATTEMPTS):
            before = self._client.read("getbalances")
            coins = records_of(self._client.read("listunspent", 0, 9999999, [], False), "listunspent")
            if before == self._client.read("getbalances"):
                break
        else:
            raise NodeNotReady("the wallet's balance changes faster than it can be read")
        reply = Record(before, "getbalances")
        mine, at = reply.record("mine"), reply.record("lastprocessedblock")
        pending = mine.units("untrusted_pending")
        return ChainBalance(
            total_units=mine.units("trusted") + pending + mine.units("immature"),
            spendable_units=sum(coin.units("amount") for coin in coins if coin.boolean("spendable")),
            tip=Tip(at.integer("height"), at.text("hash")),
            pending_units=pending,
        )

    def unspent_at(self, address: str) -> int | None:
        """What the chain's unspent outputs pay to an address of others, in satoshi; None when the node cannot say now
        (a scan of all outputs takes minutes on main, and only one runs at a time)."""
        try:
            found = Record(self._client.read("scantxoutset", "start", [f"addr({address})"]), "scantxoutset")
        except (NodeUnavailable, RpcRefused):
            return None
        return found.units("total_amount") if found.boolean("success") else None

    def fee_market(self, blocks_target: int, rate_fallback: int) -> FeeMarket:
        """Satoshi per 1000 vB, never below what the node's pool takes at present."""
        estimate = Record(self._client.read("estimatesmartfee", blocks_target), "estimatesmartfee")
        pool = Record(self._client.read("getmempoolinfo"), "getmempoolinfo")
        floor = max(pool.units("mempoolminfee"), pool.units("minrelaytxfee"))
        if "feerate" in estimate:
            return FeeMarket(max(estimate.units("feerate"), floor), "estimate")
        return FeeMarket(max(rate_fallback, floor), "fallback")
