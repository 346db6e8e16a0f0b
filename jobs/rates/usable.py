"""Exchange rates as they may be used: the newest word on each asset, or a refusal that says why.

The `rates` worker writes them (`jobs.rates.fetch`). Who needs a rate that is too old asks for new ones by being
refused: `RatesNotReady` remembers that somebody asked, and rates stay fresh for ten minutes after.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import Row, select, update

from ledger.db import Tx
from ledger.errors import RatesNotReady
from ledger.schema import asset, rate, task

#: Prices are kept in this currency; a pair's rate is one price over the other.
CURRENCY = "USD"

#: A price whose oldest source is older than this prices nothing.
FRESH_US = 60 * 1_000_000

#: How long rates are kept fresh after somebody needed them.
WANTED_US = 600 * 1_000_000

RETRY_SECONDS = 3


@dataclass(frozen=True, slots=True)
class Price:
    """`price` is in `CURRENCY` for one whole coin; `rate_id` is the stored row with its sources."""

    rate_id: int
    asset: str
    price: Decimal
    quoted_at: int  #: microseconds, of the oldest source used


def usable(tx: Tx, codes: Collection[str]) -> dict[str, Price]:
    """The present price of each asset. Raises `RatesNotReady`: `rate_unavailable`, `rate_divergent` or `rate_stale`."""
    rows = newest(tx, codes)
    found = {}
    for code in sorted(codes):
        row = rows.get(code)
        if row is not None and row.problem is not None and row.at > tx.now - FRESH_US:
            raise _not_ready(f"rate_{row.problem}", f"{code}: {row.detail or row.problem}")
        if row is None or row.price is None or row.quoted_at < tx.now - FRESH_US:
            raise _not_ready("rate_stale", f"the rate of {code} is being fetched")
        found[code] = Price(row.id, code, Decimal(row.price), row.quoted_at)
    return found


def newest(tx: Tx, codes: Collection[str] | None = None, currency: str = CURRENCY) -> dict[str, Row[Any]]:
    """The newest row of each asset (of all, without `codes`), whatever it says."""
    r, found = rate.c, {}
    for code in sorted(codes) if codes is not None else [row.code for row in tx.all(select(asset.c.code))]:
        mine = (r.asset == code) & (r.currency == currency)
        row = tx.first(select(rate).where(mine).order_by(r.id.desc()).limit(1))  # one step in the index
        if row is not None:
            found[code] = row
    return found


def want(tx: Tx) -> None:
    """Have rates fetched now, and kept fresh for a while."""
    t = task.c
    row = tx.first(select(t.id, t.progress).where(t.name == "rates").with_for_update())
    if row is None:
        return
    progress = dict(row.progress or {}) | {"wanted_until": tx.now + WANTED_US}
    tx.execute(update(task).where(t.id == row.id).values(progress=progress, due_at=tx.now, wakes=t.wakes + 1))
    tx.wake("task", row.id)


def _not_ready(code: str, detail: str) -> RatesNotReady:
    return RatesNotReady(detail, code, RETRY_SECONDS, remember=want)
