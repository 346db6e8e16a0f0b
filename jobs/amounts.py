"""Amounts as people read them."""

from __future__ import annotations

from sqlalchemy import select

from ledger.db import Tx
from ledger.money import format_units
from ledger.schema import asset


def amount(tx: Tx, units: int, code: str) -> str:
    """`0.00012345 BTC`."""
    return f"{format_units(units, decimals(tx, code))} {code}"


def decimals(tx: Tx, code: str) -> int:
    return int(tx.value(select(asset.c.decimals).where(asset.c.code == code)))
