"""Rows of ownership histories as the API and the mirror show them: public ids, exact money, times in UTC."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Row, Table, select

from jobs.ownership.verify import TABLES
from jobs.views import View, money, when
from ledger.db import Tx
from ledger.schema import account, asset, deposit, escrow, internal_transfer, swap, withdrawal

#: cause_kind -> where its public id is.
_CAUSES: Mapping[str, Table] = {
    "account": account,
    "deposit": deposit,
    "escrow": escrow,
    "order": account,
    "swap": swap,
    "transfer": internal_transfer,
    "withdrawal": withdrawal,
}


def rows(tx: Tx, found: Sequence[Row[Any]]) -> list[View]:
    """`found` has the columns of `ownership`; any number of them with the same few queries. The house, whose account
    no shop knows, is an owner of None."""
    if not found:
        return []
    owners, decimals = _owners(tx, found), _decimals(tx, found)
    subjects = _public_ids(tx, TABLES, [(row.subject_kind, row.subject_id) for row in found])
    causes = _public_ids(tx, _CAUSES, [(row.cause_kind, row.cause_id) for row in found])
    return [
        {
            "subject": subjects.get((row.subject_kind, row.subject_id)),
            "kind": row.subject_kind,
            "number": row.number,
            "event": row.event,
            "owner": owners.get(row.account_id),
            "place": row.place,
            "amount": money(row.units, row.asset, decimals[row.asset]),
            "reason": row.reason,
            "cause": causes.get((row.cause_kind, row.cause_id)),
            "at": when(row.at),
            "previous_hash": row.previous_hash,
            "hash": row.hash,
        }
        for row in found
    ]


def _owners(tx: Tx, found: Sequence[Row[Any]]) -> dict[int, str]:
    a = account.c
    query = select(a.id, a.public_id).where(a.id.in_({row.account_id for row in found}), a.kind != "house")
    return {row.id: row.public_id for row in tx.all(query)}


def _decimals(tx: Tx, found: Sequence[Row[Any]]) -> dict[str, int]:
    query = select(asset.c.code, asset.c.decimals).where(asset.c.code.in_({row.asset for row in found}))
    return {row.code: row.decimals for row in tx.all(query)}


def _public_ids(tx: Tx, tables: Mapping[str, Table], wanted: Sequence[tuple[str, int]]) -> dict[tuple[str, int], str]:
    by_kind: dict[str, set[int]] = defaultdict(set)
    for kind, row_id in wanted:
        by_kind[kind].add(row_id)
    found: dict[tuple[str, int], str] = {}
    for kind, ids in by_kind.items():
        if kind in tables:
            t = tables[kind].c
            query = select(t.id, t.public_id).where(t.id.in_(ids))
            found |= {(kind, row.id): row.public_id for row in tx.all(query)}
    return found
