"""The node's and the wallet's condition: health, balance, price of block space."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass

from ledger.errors import NodeNotReady, NodeProtocolError, NodeUnavailable
from wallets.monero.addresses import Layout, subaddress_of
from wallets.monero.client import MoneroClient, RpcRefused
from wallets.monero.coins import SPENDABLE_DEPTH, Coins
from wallets.monero.daemon import Daemon
from wallets.monero.incoming import Incoming
from wallets.monero.reply import Record
from wallets.monero.sync import Sync
from wallets.protocol import ChainBalance, FeeMarket, NodeHealth, Tip

#: A block comes every two minutes; more than two hours without one happens once in millions of years.
TIP_AGE_SECONDS_MAX = 2 * 3600
BLOCK_SECONDS = 120
_ATTEMPTS = 10


@dataclass(frozen=True, slots=True)
class _Holding:
    """What one account of the wallet holds."""

    total: int
    spendable: int
    locked: int
    pending: int
    unlocks_in_blocks: int


class NodeState:
    """Questions about one node and its wallet that change nothing."""

    def __init__(self, client: MoneroClient, network: str, layout: Layout) -> None:
        self._client = client
        self._network = network
        self._layout: Layout = layout
        self._apart = layout == "account"
        self._daemon = Daemon(client)
        self._sync = Sync(client, self._daemon)
        self._coins = Coins(client)
        self._incoming = Incoming(client)
        self._height_max = 0

    def health(self) -> NodeHealth:
        try:
            return self._health()
        except NodeUnavailable as error:
            return NodeHealth(False, str(error.context.get("reason", "unreachable")), error.detail)
        except NodeNotReady as error:
            return NodeHealth(False, str(error.context.get("reason", "syncing")), error.detail)
        except NodeProtocolError as error:
            return NodeHealth(False, "unreadable", error.detail)

    def _health(self) -> NodeHealth:
        info = self._daemon.info(self._network)
        tip = Tip(info.units("height") - 1, info.text("top_block_hash"))
        # A lone regtest node has nobody to be behind, and its tip is as old as the last test.
        local = self._network == "regtest"
        behind = info.units("target_height") - info.units("height")
        if not info.boolean("synchronized") or info.boolean("busy_syncing") or behind > 1:
            return NodeHealth(False, "syncing", f"{max(behind, 0)} blocks behind the best known height", tip)
        # A node that lost blocks knows no better until a peer tells it; a reorganisation never shortens the chain.
        if tip.height < self._height_max:
            return NodeHealth(False, "syncing", f"the chain was {self._height_max + 1} blocks long before", tip)
        self._height_max = tip.height
        if not local and (trouble := self._trouble(info)) is not None:
            return NodeHealth(False, *trouble, tip)
        return NodeHealth(True, tip=self._sync.caught_up())

    def _trouble(self, info: Record) -> tuple[str, str] | None:
        age_seconds = time.time() - self._daemon.tip_time()
        if age_seconds > TIP_AGE_SECONDS_MAX:
            return "stale_tip", f"the last block is {age_seconds / 3600:.1f} hours old"
        told = not info.boolean("restricted", False)  # its restricted port says 0 to everybody
        if told and info.units("outgoing_connections_count") + info.units("incoming_connections_count") == 0:
            return "no_peers", "the node has no peers"
        return None

    def balance(self, indices: Collection[int] = ()) -> ChainBalance:
        """Held outputs count in the total (wallet-rpc's own sum leaves frozen ones out) and are not spendable.

        Where money lies apart, the total is that of the hot account and of the indices asked for; else that of all
        accounts, for what came to one that no index stands for is ours too.
        """
        for _ in range(_ATTEMPTS):
            found = self._balance(indices, self._sync.caught_up())
            if found == self._balance(indices, self._sync.caught_up()):
                return found
        raise NodeNotReady("the wallet's balance changes faster than it can be read", reason="syncing")

    def _balance(self, indices: Collection[int], tip: Tip) -> ChainBalance:
        account_of = {index: subaddress_of(index, self._layout)[0] for index in indices} if self._apart else {}
        accounts = {0, *account_of.values()} if self._apart else {0, *self._accounts()}
        waiting = self._incoming.in_pool()
        holdings = {
            account: self._holding(account, sum(entry.units for entry in waiting if entry.at[0] == account))
            for account in sorted(accounts)
        }
        locked = sum(holding.locked for holding in holdings.values())
        return ChainBalance(
            total_units=sum(holding.total for holding in holdings.values()),
            spendable_units=holdings[0].spendable,
            tip=tip,
            pending_units=sum(holding.pending for holding in holdings.values()),
            locked_units=locked,
            unlocks_in_blocks=max(holding.unlocks_in_blocks for holding in holdings.values()) if locked else None,
            at_index={index: holdings[account].total for index, account in account_of.items()},
        )

    def _accounts(self) -> list[int]:
        found = Record(self._client.read("get_accounts"), "get_accounts").records("subaddress_accounts")
        return [account.units("account_index") for account in found]

    def _holding(self, account: int, pending: int) -> _Holding:
        """Of the wallet's own sum, which has what waits in the pool and the change of what it sent, but not the frozen
        outputs."""
        sums = Record(self._client.read("get_balance", account_index=account), "get_balance")
        coins = self._coins.unspent(account)
        frozen = sum(coin.units for coin in coins if coin.frozen)
        maturing = sum(coin.units for coin in coins if not coin.frozen and not coin.unlocked)
        listed, spendable = sums.units("balance"), sums.units("unlocked_balance")
        locked = listed - spendable - pending
        if locked < 0:
            raise NodeProtocolError("get_balance is less than what it says may be spent and what waits in the pool")
        blocks = max(sums.units("blocks_to_unlock"), -(-sums.units("time_to_unlock") // BLOCK_SECONDS))
        if locked > maturing:  # change that no block holds yet
            blocks = max(blocks, SPENDABLE_DEPTH)
        return _Holding(listed + frozen, spendable, locked, pending, blocks)

    def fee_market(self, blocks_target: int, rate_fallback: int) -> FeeMarket:
        """Piconero per byte. monerod has four rates, of which the lowest gets into the next block unless the pool is
        full; a shorter target takes a dearer one."""
        try:
            reply = Record(self._client.daemon("get_fee_estimate"), "get_fee_estimate")
        except RpcRefused:
            return FeeMarket(rate_fallback, "fallback")
        rates = sorted(reply.integers("fees"))
        if not rates or rates[0] <= 0:
            raise NodeProtocolError("get_fee_estimate.fees is not a list of rates")
        place = 0 if blocks_target > 5 else 1 if blocks_target > 1 else 2
        return FeeMarket(rates[min(place, len(rates) - 1)], "estimate")
