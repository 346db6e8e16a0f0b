"""What the books expect on each index, on chains where money lies apart until it is swept."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, insert, select, update

from ledger.db import Tx
from ledger.schema import holding


def add(tx: Tx, chain: str, asset: str, index: int, units: int) -> None:
    """Change what an index should hold. It may pass below zero for a moment when a reorganisation undoes a deposit
    that was swept on; the balance sync compares, nothing is refused here."""
    h = holding.c
    here = (h.chain == chain) & (h.asset == asset) & (h.idx == index)
    row = tx.first(select(h.units).where(here).with_for_update())
    if row is None:
        values = {"chain": chain, "asset": asset, "idx": index, "units": units}
        tx.execute(insert(holding).values(values | {"present": int(units != 0), "updated_at": tx.now}))
        return
    after = row.units + units
    tx.execute(update(holding).where(here).values(units=after, present=int(after != 0), updated_at=tx.now))


def present(tx: Tx, chain: str, asset: str) -> list[Row[Any]]:
    """Every index that should hold some of this asset, in index order."""
    h = holding.c
    query = select(h.idx, h.units, h.updated_at).where(h.chain == chain, h.asset == asset, h.present == 1)
    return list(tx.all(query.order_by(h.idx)))


def total(tx: Tx, chain: str, asset: str) -> int:
    """All of an asset that lies on indices, by the books."""
    return sum(row.units for row in present(tx, chain, asset))


def at(tx: Tx, chain: str, asset: str, index: int) -> int:
    """What one index should hold."""
    h = holding.c
    return int(tx.value(select(h.units).where(h.chain == chain, h.asset == asset, h.idx == index)) or 0)
