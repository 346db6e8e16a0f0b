"""Payments that stand in the books and that neither pool nor chain has: what of a shortfall they may explain.

A node that knows coins may go on counting the inputs of such a payment as spent, and its change as nothing, until it is
sent again (Bitcoin Core does); another counts them as here. Rows cannot tell which, so nobody loses by it until the
payment is seen again or dead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Row, select

from jobs.reconcile.chain import Sight
from ledger.db import Tx
from ledger.schema import deposit


def may_explain(tx: Tx, sights: Sequence[Sight]) -> Mapping[str, int | None]:
    """By asset, the units that may be missing because of lost payments: all that their inputs are. None: an input is
    change of ours, whose units no row tells."""
    found: dict[str, int | None] = {}
    for sight in sights:
        if not sight.lost:
            continue
        row, units = sight.payment, _inputs(tx, sight.payment)
        for code in {row.asset, row.fee_asset}:
            others = found.get(code, 0)
            found[code] = None if units is None or others is None else others + units
    return found


def _inputs(tx: Tx, row: Row[Any]) -> int | None:
    d, keys, found = deposit.c, list(row.proposal["spends"]), []
    for start in range(0, len(keys), 500):
        part = (d.chain == row.chain) & (d.asset == row.fee_asset) & d.output_key.in_(keys[start : start + 500])
        found += [each.units for each in tx.all(select(d.units).where(part))]
    return sum(found) if len(found) == len(keys) else None
