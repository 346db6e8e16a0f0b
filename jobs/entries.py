"""An account's postings from its own point of view: what each moved, and which resource it belongs to."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from sqlalchemy import Row, select

from jobs.views import View, when
from ledger.db import Tx
from ledger.money import format_units
from ledger.postings import DEBIT_NORMAL
from ledger.schema import (
    CUSTOMER_KINDS,
    asset,
    deposit,
    escrow,
    internal_transfer,
    ledger_account,
    posting,
    swap,
    transfer,
    withdrawal,
)

#: ref_kind of a transfer -> the table whose public id tells what it was for.
_RESOURCES = {
    "deposit": deposit,
    "withdrawal": withdrawal,
    "transfer": internal_transfer,
    "escrow": escrow,
    "swap": swap,
}


def of_account(tx: Tx, account_id: int, code: str | None, before: int | None, limit: int) -> list[Row[Any]]:
    """At most `limit` postings that touch the account (in one asset, or None for all), newest first, older than
    posting `before`."""
    kinds = _own(tx, account_id)
    if not kinds:
        return []
    p = posting.c
    found: dict[int, Row[Any]] = {}
    for side in (p.debit_id, p.credit_id):  # one index each; an OR would use neither
        query = select(posting, transfer.c.kind, transfer.c.ref_kind, transfer.c.ref_id, transfer.c.created_at)
        query = query.join(transfer, transfer.c.id == p.transfer_id).where(side.in_(kinds))
        if code is not None:
            query = query.where(p.asset == code)
        if before is not None:
            query = query.where(p.id < before)
        found |= {row.id: row for row in tx.all(query.order_by(p.id.desc()).limit(limit))}
    return [found[i] for i in sorted(found, reverse=True)[:limit]]


def render(tx: Tx, account_id: int, rows: list[Row[Any]]) -> list[View]:
    """`changes` are signed decimal strings by balance: a hold shows as available down and held up. The public id of
    an entry is the caller's to add: postings have none."""
    kinds, resources = _own(tx, account_id), _resources(tx, rows)
    query = select(asset.c.code, asset.c.decimals).where(asset.c.code.in_({row.asset for row in rows}))
    decimals = {row.code: row.decimals for row in tx.all(query)}
    return [
        {
            "type": row.kind,
            "asset": row.asset,
            "changes": {k: _change(u, decimals[row.asset], row.asset) for k, u in _changes(row, kinds).items()},
            "resource": resources.get((row.ref_kind, row.ref_id)),
            "at": when(row.created_at),
        }
        for row in rows
    ]


def _own(tx: Tx, account_id: int) -> dict[int, str]:
    a = ledger_account.c
    query = select(a.id, a.kind).where(a.account_id == account_id, a.kind.in_(CUSTOMER_KINDS))
    return {row.id: row.kind for row in tx.all(query)}


def _changes(row: Row[Any], kinds: dict[int, str]) -> dict[str, int]:
    changes = {}
    for row_id, units in ((row.debit_id, -row.units), (row.credit_id, row.units)):
        if row_id in kinds:
            changes[kinds[row_id]] = -units if kinds[row_id] in DEBIT_NORMAL else units
    return changes


def _change(units: int, decimals: int, code: str) -> View:
    sign = "+" if units > 0 else ""
    return {"amount": sign + format_units(units, decimals), "asset": code, "units": f"{sign}{units}"}


def _resources(tx: Tx, rows: list[Row[Any]]) -> dict[tuple[str, int], str]:
    wanted: dict[str, set[int]] = defaultdict(set)
    for row in rows:
        wanted[row.ref_kind].add(row.ref_id)
    found: dict[tuple[str, int], str] = {}
    for kind, ids in wanted.items():
        table = _RESOURCES.get(kind)
        if table is not None:
            query = select(table.c.id, table.c.public_id).where(table.c.id.in_(ids))
            found |= {(kind, row.id): row.public_id for row in tx.all(query)}
    return found
