"""Rates as the API and the operators' commands show them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Row, select

from jobs.rates import usable as rates
from jobs.rates.judge import moment
from jobs.views import maybe_when, when
from ledger.db import Tx
from ledger.schema import asset

View = dict[str, Any]


def present(tx: Tx, currency: str = rates.CURRENCY) -> list[View]:
    """What is known now of every enabled asset, also of one that nobody has priced yet."""
    codes = [row.code for row in tx.all(select(asset.c.code).where(asset.c.enabled == 1).order_by(asset.c.code))]
    rows = rates.newest(tx, codes, currency)
    return [_present(tx, code, currency, rows.get(code)) for code in codes]


def past(rows: Iterable[Row[Any]]) -> list[View]:
    return [_view(row) for row in rows]


def _present(tx: Tx, code: str, currency: str, row: Row[Any] | None) -> View:
    if row is None:
        nothing: View = dict.fromkeys(("price", "problem", "detail", "spread_percent", "quoted_at", "at"))
        nothing |= {"problem": "unavailable", "detail": "nothing was fetched yet", "sources": []}
        return {"asset": code, "currency": currency} | nothing | {"usable": False, "age_seconds": None}
    fresh = row.quoted_at is not None and row.quoted_at >= tx.now - rates.FRESH_US
    age = None if row.quoted_at is None else max(0, tx.now - row.quoted_at) // 1_000_000
    return _view(row) | {"usable": row.price is not None and fresh, "age_seconds": age}


def _view(row: Row[Any]) -> View:
    return {
        "asset": row.asset,
        "currency": row.currency,
        "price": row.price,
        "problem": row.problem,
        "detail": row.detail,
        "spread_percent": None if row.spread_ppm is None else percent(row.spread_ppm),
        "quoted_at": maybe_when(row.quoted_at),
        "at": when(row.at),
        "sources": [_source(source) for source in row.sources],
    }


def _source(kept: dict[str, Any]) -> View:
    """Rows of an older version hold whatever moment a source gave."""
    told = {key: kept.get(key) for key in ("source", "pair", "bid", "ask", "price", "used")}
    return told | {"at": maybe_when(moment(kept.get("at"))), "reason": kept.get("why")}


def percent(ppm: int) -> str:
    """15000 parts per million are `1.5`."""
    whole, rest = divmod(ppm, 10_000)
    return f"{whole}.{rest:04d}".rstrip("0").rstrip(".")
