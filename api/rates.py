"""Rates: what one coin is worth, who said so, and when."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints
from sqlalchemy import select

from api.answers import Answer, ok
from api.call import Call
from api.endpoints import Resource
from api.errors import invalid
from api.shapes import AssetCode, Range, moment_of
from api.validation import Query, Shown
from jobs.rates import view as rates_view
from jobs.rates.usable import CURRENCY
from ledger.db import Tx
from ledger.schema import asset, rate

resource = Resource("rates", __name__, "What one coin is worth")

Problem = Literal["stale", "divergent", "unavailable"]
Currency = Annotated[str, StringConstraints(max_length=8), Field(examples=["USD", "EUR"])]


class Source(Shown):
    source: str = Field(examples=["kraken"])
    pair: str | None = Field(examples=["BTC/USD"])
    bid: str | None
    ask: str | None
    price: str | None = Field(description="Its middle, in the currency of the rate")
    at: str | None
    used: bool
    reason: str | None = Field(description="Why it was not used: stale, outlier, bad_number, no_answer …")


class PastRate(Shown):
    asset: str
    currency: str
    price: str | None = Field(description="Of one whole coin; null: sources gave none that may be used")
    problem: Problem | None
    detail: str | None
    spread_percent: str | None = Field(description="How far the used sources lay apart")
    quoted_at: str | None = Field(description="Of the oldest source used")
    at: str | None = Field(description="When it was fetched; null: never yet")
    sources: list[Source] = Field(
        description="What each exchange said. Of a currency that prices are shown in: what it is worth in USD"
    )


class Rate(PastRate):
    usable: bool = Field(description="Whether quotes may be priced by it; one that is too old is fetched on demand")
    age_seconds: int | None = Field(description="Of the oldest source used")


class RateList(Shown):
    data: list[Rate]


class PastRateList(Shown):
    data: list[PastRate]
    next_cursor: str | None
    has_more: bool


class RateQuery(Query):
    currency: Currency = Field(CURRENCY, description="Swaps are priced in USD; others are shown only")


class HistoryQuery(Range):
    asset: AssetCode
    currency: Currency = CURRENCY


@resource.read("/rates", RateList, scope=None, query=RateQuery)
def list_rates(call: Call, tx: Tx, query: RateQuery) -> Answer:
    """Read the present rate of every asset."""
    found = rates_view.present(tx, query.currency)
    if query.currency != CURRENCY and all(each["at"] is None for each in found):
        raise invalid("currency", f"prices are not shown in it here; {CURRENCY} is always there")
    return ok({"data": found})


@resource.read("/rates/history", PastRateList, scope=None, query=HistoryQuery)
def list_rate_history(call: Call, tx: Tx, query: HistoryQuery) -> Answer:
    """List what was fetched for an asset, newest first.

    Rates that priced a quote or a swap are kept for ever, others for 90 days.
    """
    if tx.value(select(asset.c.code).where(asset.c.code == query.asset)) is None:
        raise invalid("asset", "is not an asset of this installation", "asset_unknown")
    r, given = rate.c, query.model_dump(exclude={"limit", "cursor"}, exclude_none=True)
    scope = ("rates", *sorted(given.items()))
    before = call.parts.cursors.take(scope, query.cursor)
    since, until = moment_of(query.created_from, "created_from"), moment_of(query.created_to, "created_to")
    wanted = select(rate).where(r.asset == query.asset, r.currency == query.currency)
    wanted = wanted if since is None else wanted.where(r.at >= since)
    wanted = wanted if until is None else wanted.where(r.at < until)
    wanted = wanted if before is None else wanted.where(r.id < before)
    rows = tx.all(wanted.order_by(r.id.desc()).limit(query.limit + 1))
    return ok(call.parts.cursors.page(scope, rows, query.limit, rates_view.past))
