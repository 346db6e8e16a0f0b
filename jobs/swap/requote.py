"""What a deposit that is not the quoted one may be exchanged for. Reads only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row

from jobs.assets import asset_of
from jobs.services import Services
from jobs.swap import books as swap_books
from jobs.swap import pricing
from jobs.swap import terms as swap_terms
from jobs.swap.pricing import PPM, Deal
from ledger import accounts, balances, policy
from ledger.db import Tx
from ledger.errors import InvalidAmount, InventoryShort, LimitExceeded
from ledger.money import format_units
from ledger.schema import quote

#: Units by which two roundings, of the quote and of the new price, can differ at the same rate.
ROUNDING_UNITS = 2


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why nothing is exchanged, as a word and for people."""

    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Priced:
    """A deal at new rates, and the rows of the rates that made it."""

    deal: Deal
    rate: str
    sell_rate_id: int
    buy_rate_id: int

    def columns(self) -> dict[str, Any]:
        rows = {"requote_sell_rate_id": self.sell_rate_id, "requote_buy_rate_id": self.buy_rate_id}
        return rows | {"rate": self.rate, "requote_since": None}


def as_quoted(tx: Tx, row: Row[Any], units: int) -> Deal | None:
    """The deal at the quoted rate for so many units; None when they miss the quoted amount by more than the tolerance.

    What came is scaled to, rounded against the customer. More than was quoted is exchanged only where the inventory
    has it; otherwise just the quoted amount is.
    """
    quoted = swap_books.deal_of(row)
    if _miss(tx, row, units) != 0:
        return None
    deal = scaled(quoted, units)
    if deal.buy_units <= 0:
        return None
    free = balances.get(tx, accounts.house("inventory"), row.buy_asset) + row.reserved_units
    return deal if deal.out_units <= free or units <= quoted.sell_units else quoted


def is_too_much(tx: Tx, row: Row[Any], units: int) -> bool:
    """Whether no further deposit can bring this near to the quoted amount."""
    return _miss(tx, row, units) > 0


def _miss(tx: Tx, row: Row[Any], units: int) -> int:
    """0 within the tolerance, otherwise -1 or 1: too little, too much."""
    off = units - row.sell_units
    allowed = policy.of(tx, row.sell_asset).swap_tolerance_ppm * row.sell_units // PPM
    return 0 if abs(off) <= allowed else 1 if off > 0 else -1


def scaled(quoted: Deal, sell_units: int) -> Deal:
    """The same price for another amount: the network fee stays, the service fee is scaled up, what is bought down."""
    if sell_units == quoted.sell_units:
        return quoted
    network = quoted.network_fee_units
    out = quoted.out_units * sell_units // quoted.sell_units
    buy = (quoted.buy_units + network) * sell_units // quoted.sell_units - network
    rest = out - network - buy
    service = min(rest, -(-quoted.service_fee_units * sell_units // quoted.sell_units))
    return Deal(sell_units, buy, service, network, rest - service)


def anew(tx: Tx, row: Row[Any], services: Services) -> Priced | Refusal:
    """All that the swap holds at the rates of now. Raises `RatesNotReady`."""
    sell, buy = asset_of(tx, row.sell_asset), asset_of(tx, row.buy_asset)
    if sell is None or buy is None:
        return Refusal("asset_disabled", f"{row.sell_asset} or {row.buy_asset} is no longer an asset here")
    payout = row.payout_address is not None
    market = swap_terms.market(tx, sell, buy, services, payout=payout, reserved_units=row.reserved_units)
    deal = pricing.by_sell(market.terms, row.held_units)
    try:
        market.check(deal)
    except (InvalidAmount, LimitExceeded, InventoryShort) as error:
        return Refusal(error.code, error.detail)
    least = least_accepted(swap_books.deal_of(_quote(tx, row)), row.held_units, row.slippage_ppm)
    if deal.buy_units < least:
        now, wanted = (format_units(units, buy.decimals) for units in (deal.buy_units, max(0, least)))
        detail = f"it would buy {now} {buy.code} now; quote and slippage ask for {wanted} or more"
        return Refusal("slippage_exceeded", detail)
    rate = f"{market.terms.rate:f}"
    return Priced(deal, rate, market.sell_price.rate_id, market.buy_price.rate_id)


def least_accepted(quoted: Deal, sell_units: int, slippage_ppm: int) -> int:
    """The least that a customer who accepted this quote takes for so much: its rate less the slippage. The network fee
    does not grow with the amount, so that it is no part of the rate; one that has risen since counts as slippage."""
    gross = (quoted.buy_units + quoted.network_fee_units) * sell_units * (PPM - slippage_ppm)
    return gross // (quoted.sell_units * PPM) - quoted.network_fee_units - ROUNDING_UNITS


def _quote(tx: Tx, row: Row[Any]) -> Row[Any]:
    return tx.one(quote.select().where(quote.c.id == row.quote_id))
