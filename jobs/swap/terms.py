"""What a pair of assets trades at in this moment: the price, and how little and how much of it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from jobs.rates import usable as rates
from jobs.rates.usable import Price
from jobs.services import Services
from jobs.swap import pricing
from jobs.swap.pricing import Deal, NetworkFee, Terms
from jobs.withdrawal_terms import Order, fee_of, payee_of
from ledger import accounts, balances, pauses, policy
from ledger.db import Tx
from ledger.errors import InvalidAddress, InvalidAmount, InventoryShort, LimitExceeded, RatesNotReady
from ledger.money import Asset, format_units
from ledger.policy import AssetPolicy


@dataclass(frozen=True, slots=True)
class Market:
    """One pair now. Both sides have their bounds by the rules; `free_units` is what the inventory of the bought asset
    can give. `sell_least_units` and `sell_most_units` are what can be sold by all of these together."""

    sell: Asset
    buy: Asset
    terms: Terms
    sell_price: Price
    buy_price: Price
    sell_bounds: tuple[int, int]
    buy_bounds: tuple[int, int]
    sell_least_units: int
    sell_most_units: int
    free_units: int

    def check(self, deal: Deal, pointer: str = "/sell_amount") -> None:
        """Raises `InvalidAmount` (`amount_below_minimum`), `LimitExceeded`, `InventoryShort`, naming the bound."""
        sides = ((deal.sell_units, self.sell_bounds, self.sell), (deal.buy_units, self.buy_bounds, self.buy))
        for units, (least, most), coin in sides:
            if units < least:
                rule = f"{_amount(least, coin)} is the least, which takes {_amount(self.sell_least_units, self.sell)}"
                raise InvalidAmount(pointer, rule, "amount_below_minimum")
            if units > most:
                raise LimitExceeded(f"{_amount(most, coin)} is the most in one swap", pointer=pointer)
        if deal.out_units > self.free_units:
            now = f"the house has {self.buy.code} for {_amount(self.sell_most_units, self.sell)} now"
            raise InventoryShort(now, pointer=pointer)


def market(tx: Tx, sell: Asset, buy: Asset, services: Services, *, payout: bool, reserved_units: int = 0) -> Market:
    """`payout`: what is bought leaves at once, so that its network fee and the limits of withdrawals count too.
    `reserved_units` of inventory are set aside for this very swap already. Raises `RatesNotReady`."""
    prices = rates.usable(tx, {sell.code, buy.code})
    sells, buys = policy.of(tx, sell.code), policy.of(tx, buy.code)
    network = _network_fee(tx, buy, buys, services) if payout else NetworkFee()
    terms = Terms(
        _rate(prices[sell.code], prices[buy.code]),
        sell.decimals,
        buy.decimals,
        max(sells.swap_spread_ppm, buys.swap_spread_ppm),
        max(sells.swap_fee_ppm, buys.swap_fee_ppm),
        network,
    )
    least, most = max(1, buys.swap_minimum_units), buys.swap_maximum_units
    if payout:
        least, most = max(least, buys.withdrawal_minimum_units), min(most, buys.withdrawal_maximum_units)
    free = balances.get(tx, accounts.house("inventory"), buy.code) + reserved_units
    sell_most = min(pricing.sell_most(terms, buy_units=most), pricing.sell_most(terms, out_units=free))
    return Market(
        sell,
        buy,
        terms,
        prices[sell.code],
        prices[buy.code],
        sell_bounds=(max(1, sells.swap_minimum_units), sells.swap_maximum_units),
        buy_bounds=(least, most),
        sell_least_units=max(1, sells.swap_minimum_units, pricing.by_buy(terms, least).sell_units),
        sell_most_units=min(sells.swap_maximum_units, sell_most),
        free_units=free,
    )


def check_open(tx: Tx, sell: str, buy: str, *, payout: bool) -> None:
    """Raises `AssetPaused` while either asset may not be swapped, or what is bought may not leave."""
    for code in (sell, buy):
        pauses.check(tx, code, "swaps")
    if payout:
        pauses.check(tx, buy, "withdrawals")


def payee(tx: Tx, text: str, asset: Asset, account_id: int, services: Services, pointer: str) -> str:
    """The canonical form of an address that a swap shall pay. Raises `InvalidAddress` at `pointer`."""
    try:
        return payee_of(tx, Order(account_id, asset.code, None, text, ""), asset, services)
    except InvalidAddress as error:
        raise InvalidAddress(pointer, f"{error.detail} (it must be paid in {asset.code})", error.code) from None


def _amount(units: int, coin: Asset) -> str:
    return f"{format_units(units, coin.decimals)} {coin.code}"


def _rate(sell: Price, buy: Price) -> Decimal:
    try:
        return pricing.rate_of(sell.price, buy.price)
    except ValueError:
        detail = f"{sell.asset} or {buy.asset} has no price above zero"
        raise RatesNotReady(detail, "rate_unavailable", rates.RETRY_SECONDS, remember=rates.want) from None


def _network_fee(tx: Tx, asset: Asset, rules: AssetPolicy, services: Services) -> NetworkFee:
    if rules.withdrawal_fee_kind == "percent":
        return NetworkFee(rules.withdrawal_fee_units, rules.withdrawal_fee_ppm)
    return NetworkFee(fee_of(tx, 1, asset, rules, services))
