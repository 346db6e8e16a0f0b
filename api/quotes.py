"""Quotes: what one asset costs in another, kept for a minute."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from sqlalchemy import select

from api import lookup
from api.answers import Answer, created, ok
from api.call import Call
from api.endpoints import Resource
from api.lists import narrowed
from api.shapes import Amount, AssetCode, Money, Range, asset
from api.validation import Model, Shown
from jobs.swap import quotes
from jobs.swap import view as swap_view
from jobs.swap.quotes import Ask
from ledger.db import Tx
from ledger.errors import InvalidInput
from ledger.money import parse_amount
from ledger.schema import quote as table

resource = Resource("quotes", __name__, "What one asset costs in another, for a minute")

Status = Literal["open", "accepted", "expired"]


class NewQuote(Model):
    sell: AssetCode = Field(description="What is given")
    buy: AssetCode = Field(description="What is got")
    sell_amount: Amount | None = Field(None, description="All that is given. Either this or buy_amount")
    buy_amount: Amount | None = Field(None, description="All that is got, after all fees")
    payout: bool = Field(False, description="What is bought leaves to an address: its network fee is in the price")


class UsedRate(Shown):
    asset: str
    currency: str
    price: str = Field(description="Of one whole coin")
    at: str = Field(description="Of the oldest source")


class Quote(Shown):
    id: str
    sell: Money
    buy: Money = Field(description="What is got after all fees")
    side: Literal["sell", "buy"] = Field(description="Which of the two was named")
    rate: str = Field(description="Coins bought for one coin sold, before spread and fees")
    spread_percent: str = Field(description="By how much the price is below the rate")
    service_fee: Money = Field(description="Taken from what is bought, as is the network fee")
    network_fee: Money
    rounding: Money = Field(description="What the last atomic unit sold buys too much; it stays with the house")
    minimum: Money = Field(description="What could be sold, by the rules and by what the house had to give")
    maximum: Money
    payout: bool
    rates: list[UsedRate]
    swap: str | None = Field(description="The swap that accepted it")
    status: Status
    expires_at: str
    created_at: str


class QuoteList(Shown):
    data: list[Quote]
    next_cursor: str | None
    has_more: bool


class QuoteQuery(Range):
    status: Literal["open", "accepted", "expired"] | None = None


_ERRORS = (
    "same_asset",
    "asset_unknown",
    "asset_disabled",
    "amount_invalid",
    "amount_precision_exceeded",
    "amount_below_minimum",
    "limit_exceeded",
    "inventory_short",
    "rate_stale",
    "rate_divergent",
    "rate_unavailable",
)


@resource.write("/quotes", {201: Quote}, scope="swaps:write", body=NewQuote, errors=_ERRORS, etag=True)
def create_quote(call: Call, tx: Tx, body: NewQuote) -> Answer:
    """Price a swap, by the amount to sell or by the amount to buy.

    Nothing is reserved or moved. While rates are being fetched the answer is 503 with Retry-After: ask again then.
    """
    sell, buy = asset(tx, body.sell, "/sell"), asset(tx, body.buy, "/buy")
    if (body.sell_amount is None) is (body.buy_amount is None):
        raise InvalidInput("/sell_amount", "give either sell_amount or buy_amount")
    if body.sell_amount is not None:
        wish = Ask(sell, buy, "sell", parse_amount(body.sell_amount, sell, "/sell_amount"), body.payout)
    else:
        wish = Ask(sell, buy, "buy", parse_amount(body.buy_amount, buy, "/buy_amount"), body.payout)
    return created(quotes.ask(tx, call.caller, wish, call.parts.services), "/quotes")


@resource.read("/quotes", QuoteList, scope="swaps:read", query=QuoteQuery)
def list_quotes(call: Call, tx: Tx, query: QuoteQuery) -> Answer:
    """List quotes, newest first. One whose time is over counts as open until it is closed, some seconds later."""
    wanted = select(table.c.id).where(table.c.project_id == call.project_id)
    scope, rows = narrowed(call, tx, "quotes", wanted, table, query)
    return ok(call.parts.cursors.page(scope, rows, query.limit, lambda r: swap_view.quotes(tx, [row.id for row in r])))


@resource.read("/quotes/<quote_id>", Quote, scope="swaps:read", etag=True)
def get_quote(call: Call, tx: Tx, quote_id: str) -> Answer:
    """Read a quote."""
    return ok(swap_view.quote_(tx, lookup.row_id(call, tx, table, "qt", quote_id)))
