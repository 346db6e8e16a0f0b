"""Why the wallet cannot pay now: it holds too little, or enough that is locked, and then for how many blocks."""

from __future__ import annotations

from collections.abc import Sequence

from ledger.errors import FundsLocked, InsufficientHotFunds
from wallets.monero.client import MoneroClient
from wallets.monero.coins import SPENDABLE_DEPTH, Coin, Coins
from wallets.monero.reply import Record


def shortage(
    client: MoneroClient, coins: Coins, account: int, needed_units: int, usable: Sequence[Coin], detail: str
) -> InsufficientHotFunds:
    """`FundsLocked` with the blocks until enough of these outputs (and of change on its way) may be spent, or
    `InsufficientHotFunds`. The fee is not counted, so that a payment of the very last coin may be told to wait once
    more than it need.

    Held outputs belong to payments that have not left yet; what they do not use comes back as change, a block and the
    lock later. How much that is is not known here: all of it is counted.
    """
    reply = Record(client.read("get_balance", account_index=account), "get_balance")
    height = Record(client.read("get_height"), "get_height").units("height")
    longest = {at.units("address_index"): at.units("blocks_to_unlock") for at in reply.some_records("per_subaddress")}
    waits = [(_blocks(coin, height, longest.get(coin.minor, 0)), coin.units) for coin in usable]
    waits.append((SPENDABLE_DEPTH, _change(client, account, reply.units("balance"), coins.unspent(account))))
    for blocks, _ in sorted(waits):
        if blocks and sum(units for wait, units in waits if wait <= blocks) >= needed_units:
            return FundsLocked(f"{detail}; enough is unlocked in {blocks} blocks", blocks=blocks)
    return InsufficientHotFunds(detail)


def _change(client: MoneroClient, account: int, balance_units: int, unspent: Sequence[Coin]) -> int:
    """What sent payments bring back once a block holds them. The balance counts it, and what outsiders have sent."""
    listing = Record(client.read("get_transfers", pool=True, account_index=account), "get_transfers")
    outsiders = sum(record.units("amount") for record in listing.some_records("pool"))
    return max(balance_units - outsiders - sum(coin.units for coin in unspent if not coin.frozen), 0)


def _blocks(coin: Coin, height: int, longest: int) -> int:
    """Blocks until this output may be spent. `longest` is the wait of the last output at its address: the wallet tells
    of mined coins and unlock times only there. `height` counts blocks: the tip's height and one."""
    if coin.frozen:
        return SPENDABLE_DEPTH + 1
    if coin.unlocked:
        return 0
    usual = coin.height + SPENDABLE_DEPTH - height
    return usual if usual > 0 and longest <= SPENDABLE_DEPTH else max(longest, usual, 1)
