"""Quotes: a price that is kept for a minute, for one swap.

A quote reserves nothing and moves nothing. Accepting it is a compare-and-set of its row, in the transaction that makes
the swap: of any number that accept at once, one wins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, insert, select, update

from jobs.caller import Caller
from jobs.rates import usable as rates
from jobs.saga import SECOND
from jobs.services import Services
from jobs.swap import pricing
from jobs.swap import terms as swap_terms
from jobs.swap import view as swap_view
from jobs.tasks import Ran
from jobs.views import View
from ledger.db import Tx
from ledger.errors import InvalidInput, LedgerBroken, NotFound, QuoteExpired, QuoteUsed
from ledger.ids import is_id, new_id
from ledger.money import Asset
from ledger.schema import quote, swap, task

#: How long a quote can be accepted (SPEC decision 16).
OPEN_US = 60 * SECOND

#: Quotes that are closed in one go.
BATCH = 500


@dataclass(frozen=True, slots=True)
class Ask:
    """`side` says which amount is given in `units`: what is sold (`sell`), or what is bought (`buy`) net of all fees.
    `payout`: what is bought leaves at once, so that the price has its network fee in it."""

    sell: Asset
    buy: Asset
    side: str
    units: int
    payout: bool = False


def ask(tx: Tx, caller: Caller, wish: Ask, services: Services) -> View:
    """Price a swap; the quote as the API shows it.

    Raises `InvalidInput` (`same_asset`, `amount_below_minimum`), `LimitExceeded`, `InventoryShort`, `AssetPaused`,
    `RatesNotReady`.
    """
    if wish.sell.code == wish.buy.code:
        raise InvalidInput("/buy", "must be another asset than what is sold", "same_asset")
    swap_terms.check_open(tx, wish.sell.code, wish.buy.code, payout=wish.payout)
    market = swap_terms.market(tx, wish.sell, wish.buy, services, payout=wish.payout)
    priced = pricing.by_sell if wish.side == "sell" else pricing.by_buy
    deal = priced(market.terms, wish.units)
    market.check(deal, f"/{wish.side}_amount")
    _keep_fresh(tx)
    values: dict[str, Any] = {"public_id": new_id("qt"), "project_id": caller.project_id, "state": "open"}
    values |= {"sell_asset": wish.sell.code, "buy_asset": wish.buy.code, "side": wish.side, **deal.columns()}
    values |= {"rate": f"{market.terms.rate:f}", "spread_ppm": market.terms.spread_ppm, "payout": int(wish.payout)}
    values |= {"minimum_units": market.sell_least_units, "maximum_units": market.sell_most_units}
    values |= {"sell_rate_id": market.sell_price.rate_id, "buy_rate_id": market.buy_price.rate_id}
    values |= {"expires_at": tx.now + OPEN_US, "created_by": caller.key_id, "version": 1}
    return swap_view.quote_(tx, tx.insert(insert(quote).values(values | {"created_at": tx.now, "updated_at": tx.now})))


def accept(tx: Tx, caller: Caller, public_id: str) -> Row[Any]:
    """Take a quote for the swap that this transaction makes; its row.

    Raises `NotFound`, `QuoteUsed`, `QuoteExpired`.
    """
    q = quote.c
    query = select(quote).where(q.public_id == public_id, q.project_id == caller.project_id).with_for_update()
    row = tx.first(query) if is_id(public_id, "qt") else None
    if row is None:
        raise NotFound("no such quote")
    if row.state == "accepted":
        existing = tx.value(select(swap.c.public_id).where(swap.c.quote_id == row.id))
        raise QuoteUsed(f"the quote was accepted by {existing}", existing=existing)
    if row.state != "open" or row.expires_at <= tx.now:
        raise QuoteExpired("the quote is no longer open; ask for another one")
    taken = {"state": "accepted", "version": row.version + 1, "updated_at": tx.now}
    open_ = (q.id == row.id) & (q.state == "open") & (q.version == row.version)
    if tx.execute(update(quote).where(open_).values(taken)).rowcount != 1:
        raise LedgerBroken(f"quote {row.id} changed behind its lock")
    return row


def task_step(row: Row[Any], services: Services) -> Ran:
    """Task step for `quotes`: close what nobody took in time."""

    def close(tx: Tx, own: Row[Any]) -> None:
        q = quote.c
        over = tx.all(select(q.id).where(q.state == "open", q.expires_at <= tx.now).order_by(q.expires_at).limit(BATCH))
        still = q.id.in_([found.id for found in over]) & (q.state == "open")
        values = {"state": "expired", "version": q.version + 1, "updated_at": tx.now}
        tx.execute(update(quote).where(still).values(values))
        if len(over) == BATCH:
            tx.wake("task", own.id)

    return Ran(effect=close)


def _keep_fresh(tx: Tx) -> None:
    """Where customers ask for prices, the next one shall not have to wait for rates."""
    progress = tx.value(select(task.c.progress).where(task.c.name == "rates")) or {}
    if progress.get("wanted_until", 0) < tx.now + rates.WANTED_US // 2:
        rates.want(tx)
