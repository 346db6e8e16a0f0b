"""Enough outputs that may be spent on their own: each payment locks its change for ten blocks (NODES 3.3)."""

from __future__ import annotations

from collections.abc import Sequence

from ledger.errors import NodeProtocolError
from wallets.monero.client import MoneroClient
from wallets.monero.coins import Coins
from wallets.monero.own import OwnAddresses
from wallets.monero.reply import Record
from wallets.monero.spending import PAYEES_MAX
from wallets.protocol import Output

#: About the bytes of a payment to two payees, and of a split in many parts.
_PAYMENT_WEIGHT, _SPLIT_WEIGHT = 2_200, 9_000
#: The usual class of fees asks about four times the lowest rate.
_USUAL_RATES = 5
#: A part must be worth this many payments' fees, or it would be eaten by being spent.
_PART_FEES = 100


class Liquidity:
    """Looks at the hot wallet's outputs and says how to split them; spends nothing itself."""

    def __init__(self, client: MoneroClient, coins: Coins, own: OwnAddresses) -> None:
        self._client = client
        self._coins = coins
        self._own = own

    def split(self, parts: int, rate_max: int) -> Sequence[Output]:
        """Outputs to the hot wallet's own address that would make about `parts` of them, at most 15, from the largest
        that may be spent now.

        Locked outputs count as there: they come by themselves. Nothing is split below what is worth being spent, nor
        when the network asks more than `rate_max`.
        """
        rate = self._rate()
        floor = _PART_FEES * _PAYMENT_WEIGHT * rate
        coins = [coin for coin in self._coins.unspent(0) if not coin.frozen and coin.units >= floor]
        missing = min(parts - len(coins), PAYEES_MAX)
        ready = [coin.units for coin in coins if coin.unlocked]
        if missing <= 0 or not ready or rate > rate_max:
            return ()
        spare = max(ready) - _SPLIT_WEIGHT * min(rate_max, _USUAL_RATES * rate)
        count = min(missing, spare // floor - 1)
        if count <= 0:
            return ()
        return (Output(self._own.at(0, 0), spare // (count + 1)),) * count  # the change is the last part

    def _rate(self) -> int:
        """Piconero a byte that the network asks at least."""
        rate = Record(self._client.daemon("get_fee_estimate"), "get_fee_estimate").units("fee")
        if rate == 0:
            raise NodeProtocolError("get_fee_estimate tells no fee")
        return rate
