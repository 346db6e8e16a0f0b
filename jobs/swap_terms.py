"""What a pair of assets trades at in this moment: the price, and how little and how much of it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from jobs import pricing, rates
from jobs.pricing import Deal, NetworkFee, Terms
from jobs.rates import Price
from jobs.services import Services
from jobs.withdrawal_terms import Order, fee_of, payee_of
from ledger import accounts, balances, pauses, policy
from ledger.db import Tx
from ledger.errors import InvalidAddress, InvalidAmount, InventoryShort, LimitExceeded, RatesNotReady
from ledger.money import Asset, format_units
from ledger.policy import AssetPolicy


@dataclass(frozen=True, slots=True)
class Market:
    """One pair now. All limits but `free_units` (what the inventory of the bought asset can give) are of the sold one.

    `sell_policy_units` is the most that the rules let pass, `sell_most_units` also what the inventory can pay for.
    """

    sell: Asset
    buy: Asset
    terms: Terms
    sell_price: Price
    buy_price: Price
    sell_least_units: int
    sell_policy_units: int
    sell_most_units: int
    free_units: int

    def check(self, deal: Deal, pointer: str = "/sell_amount") -> None:
        """Raises `InvalidAmount` (`amount_below_minimum`), `LimitExceeded`, `InventoryShort`, naming the bound."""
        if deal.buy_units <= 0 or deal.sell_units < self.sell_least_units:
            least = f"at least {self._sold(self.sell_least_units)} must be sold for {self.buy.code}"
            raise InvalidAmount(pointer, least, "amount_below_minimum")
        if deal.sell_units > self.sell_policy_units:
            most = f"at most {self._sold(self.sell_policy_units)} can be sold for {self.buy.code} in one swap"
            raise LimitExceeded(most, pointer=pointer)
        if deal.out_units > self.free_units:
            now = f"the house has {self.buy.code} for {self._sold(self.sell_most_units)} now"
            raise InventoryShort(now, pointer=pointer)

    def _sold(self, units: int) -> str:
        return f"{format_units(units, self.sell.decimals)} {self.sell.code}"


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
    least, most = buys.swap_minimum_units, buys.swap_maximum_units
    if payout:
        least, most = max(least, buys.withdrawal_minimum_units), min(most, buys.withdrawal_maximum_units)
    free = balances.get(tx, accounts.house("inventory"), buy.code) + reserved_units
    unbounded = pricing.by_buy(terms, most).out_units
    by_policy = min(sells.swap_maximum_units, pricing.sell_most(terms, buy_units=most, out_units=unbounded))
    return Market(
        sell,
        buy,
        terms,
        prices[sell.code],
        prices[buy.code],
        max(1, sells.swap_minimum_units, pricing.by_buy(terms, max(1, least)).sell_units),
        by_policy,
        min(by_policy, pricing.sell_most(terms, buy_units=most, out_units=free)),
        free,
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
