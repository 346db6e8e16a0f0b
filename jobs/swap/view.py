"""Quotes and swaps as the API shows them and as their events carry them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BindParameter, Row, bindparam, select

from jobs.views import View, by_id, histories, maybe_when, money, when
from ledger import history
from ledger.db import Tx
from ledger.schema import account, address, asset, quote, rate, swap, withdrawal

_IDS: BindParameter[Any] = bindparam("ids", expanding=True)
_SOLD, _BOUGHT = asset.alias("sold"), asset.alias("bought")
_PAYOUT, _REFUND = withdrawal.alias("payout"), withdrawal.alias("refund")
_SELL_RATE, _BUY_RATE = rate.alias("sell_rate"), rate.alias("buy_rate")

QUOTES = (
    select(
        quote,
        _SOLD.c.decimals.label("sell_decimals"),
        _BOUGHT.c.decimals.label("buy_decimals"),
        _SELL_RATE.c.price.label("sell_price"),
        _SELL_RATE.c.quoted_at.label("sell_quoted_at"),
        _BUY_RATE.c.price.label("buy_price"),
        _BUY_RATE.c.quoted_at.label("buy_quoted_at"),
        _SELL_RATE.c.currency,
        swap.c.public_id.label("swap"),
    )
    .join(_SOLD, _SOLD.c.code == quote.c.sell_asset)
    .join(_BOUGHT, _BOUGHT.c.code == quote.c.buy_asset)
    .join(_SELL_RATE, _SELL_RATE.c.id == quote.c.sell_rate_id)
    .join(_BUY_RATE, _BUY_RATE.c.id == quote.c.buy_rate_id)
    .outerjoin(swap, swap.c.quote_id == quote.c.id)
    .where(quote.c.id.in_(_IDS))
)

SWAPS = (
    select(
        swap,
        account.c.public_id.label("owner"),
        quote.c.public_id.label("quote"),
        _SOLD.c.decimals.label("sell_decimals"),
        _BOUGHT.c.decimals.label("buy_decimals"),
        address.c.public_id.label("place_id"),
        address.c.address.label("place"),
        address.c.state.label("place_state"),
        _PAYOUT.c.public_id.label("payout"),
        _REFUND.c.public_id.label("refund"),
    )
    .join(account, account.c.id == swap.c.account_id)
    .join(quote, quote.c.id == swap.c.quote_id)
    .join(_SOLD, _SOLD.c.code == swap.c.sell_asset)
    .join(_BOUGHT, _BOUGHT.c.code == swap.c.buy_asset)
    .outerjoin(address, address.c.id == swap.c.address_id)
    .outerjoin(_PAYOUT, _PAYOUT.c.id == swap.c.withdrawal_id)
    .outerjoin(_REFUND, _REFUND.c.id == swap.c.refund_withdrawal_id)
    .where(swap.c.id.in_(_IDS))
)


def tell(tx: Tx, swap_id: int, event: str | None = None) -> View:
    """Store the event `swap.<event>` (its state, when none is named) with the swap as it is now; the swap."""
    row = tx.one(select(swap.c.project_id, swap.c.state).where(swap.c.id == swap_id))
    shown = swaps(tx, [swap_id])[0]
    history.emit(tx, row.project_id, f"swap.{event or row.state}", shown["id"], shown)
    return shown


def quote_(tx: Tx, quote_id: int) -> View:
    return quotes(tx, [quote_id])[0]


def quotes(tx: Tx, ids: Sequence[int]) -> list[View]:
    """In the order of the ids."""
    rows = by_id(tx, QUOTES, ids)
    return [_quote(rows[i], tx.now) for i in ids]


def _quote(row: Row[Any], now: int) -> View:
    over = row.state == "open" and row.expires_at <= now  # the task that writes it so comes later

    def sold(units: int) -> View:
        return money(units, row.sell_asset, row.sell_decimals)

    def bought(units: int) -> View:
        return money(units, row.buy_asset, row.buy_decimals)

    return {
        "id": row.public_id,
        "sell": sold(row.sell_units),
        "buy": bought(row.buy_units),
        "side": row.side,
        "rate": row.rate,
        "spread_percent": percent(row.spread_ppm),
        "service_fee": bought(row.service_fee_units),
        "network_fee": bought(row.network_fee_units),
        "rounding": bought(row.rounding_units),
        "minimum": sold(row.minimum_units),
        "maximum": sold(row.maximum_units),
        "payout": bool(row.payout),
        "rates": [
            {
                "asset": row.sell_asset,
                "currency": row.currency,
                "price": row.sell_price,
                "at": when(row.sell_quoted_at),
            },
            {"asset": row.buy_asset, "currency": row.currency, "price": row.buy_price, "at": when(row.buy_quoted_at)},
        ],
        "swap": row.swap,
        "status": "expired" if over else row.state,
        "expires_at": when(row.expires_at),
        "created_at": when(row.created_at),
    }


def swap_(tx: Tx, swap_id: int) -> View:
    return swaps(tx, [swap_id])[0]


def swaps(tx: Tx, ids: Sequence[int]) -> list[View]:
    """In the order of the ids."""
    rows = by_id(tx, SWAPS, ids)
    told = histories(tx, "swap", ids)
    return [_swap(rows[i], told[i]) for i in ids]


def _swap(row: Row[Any], history: list[View]) -> View:
    def bought(units: int) -> View:
        return money(units, row.buy_asset, row.buy_decimals)

    return {
        "id": row.public_id,
        "account": row.owner,
        "quote": row.quote,
        "form": row.form,
        "reference": row.reference,
        "sell": money(row.sell_units, row.sell_asset, row.sell_decimals),
        "buy": bought(row.buy_units),
        "rate": row.rate,
        "service_fee": bought(row.service_fee_units),
        "network_fee": bought(row.network_fee_units),
        "rounding": bought(row.rounding_units),
        "payout_address": row.payout_address,
        "withdrawal": row.payout,
        "deposit": _deposit(row),
        "metadata": row.metadata,
        "status": row.state,
        "status_reason": row.status_reason,
        "status_detail": row.status_detail,
        "history": history,
        "executed_at": maybe_when(row.executed_at),
        "created_at": when(row.created_at),
        "updated_at": when(row.updated_at),
    }


def _deposit(row: Row[Any]) -> View | None:
    """Where it is waited for, and what became of it; None for a swap from a balance."""
    if row.form != "deposit":
        return None
    ready = row.place_state == "ready"  # before that the node does not watch it: showing it could lose a payment
    return {
        "address_id": row.place_id,
        "address": row.place if ready else None,
        "address_status": row.place_state,
        "until": maybe_when(row.deposit_deadline),
        "received": money(row.received_units, row.sell_asset, row.sell_decimals),
        "held": money(row.held_units, row.sell_asset, row.sell_decimals),
        "slippage_percent": percent(row.slippage_ppm),
        "refund_address": row.refund_address,
        "refund_withdrawal": row.refund,
    }


def percent(ppm: int) -> str:
    """Parts per million as a percentage in plain decimals."""
    whole, rest = divmod(ppm, 10_000)
    return f"{whole}.{rest:04d}".rstrip("0").rstrip(".")
