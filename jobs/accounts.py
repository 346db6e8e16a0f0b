"""A project's accounts: created once a reference, read with what they own and what moved."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from sqlalchemy import Row, insert, select

from jobs import references
from jobs.caller import Caller
from ledger import balances
from ledger.db import Tx
from ledger.errors import NotFound
from ledger.ids import is_id, new_id
from ledger.schema import account, asset, deposit

#: What a project may create; the house is ours.
KINDS = ("user", "vendor", "order")

#: Deposits that are seen and not yet spendable.
_PENDING = ("detected", "confirming")


def create(tx: Tx, caller: Caller, reference: str, kind: str) -> Row[Any]:
    """The new account's row. Raises `ReferenceExists`."""
    values = {"public_id": new_id("ac"), "project_id": caller.project_id, "reference": reference, "kind": kind}
    with references.told_first(tx, account, caller.project_id, reference):
        row_id = tx.insert(insert(account).values(values | {"version": 1, "created_at": tx.now, "updated_at": tx.now}))
    return tx.one(select(account).where(account.c.id == row_id))


def find(tx: Tx, project_id: int, public_id: str) -> Row[Any]:
    """One of the project's accounts. Raises `NotFound` for any other text: malformed, unknown or foreign."""
    found = find_all(tx, project_id, [public_id])
    return found[public_id]


def find_all(tx: Tx, project_id: int, public_ids: list[str]) -> dict[str, Row[Any]]:
    """The project's accounts by public id, all or `NotFound`."""
    if any(not is_id(public_id, "ac") for public_id in public_ids):
        raise NotFound("no such account")
    a = account.c
    query = select(account).where(a.public_id.in_(set(public_ids)), a.project_id == project_id, a.kind != "house")
    found = {row.public_id: row for row in tx.all(query)}
    if len(found) != len(set(public_ids)):
        raise NotFound("no such account")
    return found


def owned(tx: Tx, account_id: int) -> list[dict[str, Any]]:
    """Units by asset: `available`, `held`, `escrow` and `swap` (what waits for one), `pending` (seen on chain, not yet
    spendable) and `receivable` (owed by the account after a reorganisation). Every asset is there, also with nothing.
    """
    stored = balances.of_account(tx, account_id)
    pending: dict[str, int] = defaultdict(int)
    d = deposit.c
    for row in tx.all(select(d.asset, d.units).where(d.account_id == account_id, d.state.in_(_PENDING))):
        pending[row.asset] += row.units
    return [
        {
            "asset": row.code,
            "decimals": row.decimals,
            "available": stored.get(row.code, {}).get("available", 0),
            "held": stored.get(row.code, {}).get("held", 0),
            "pending": pending[row.code],
            "escrow": stored.get(row.code, {}).get("escrow", 0),
            "swap": stored.get(row.code, {}).get("swap", 0),
            "receivable": stored.get(row.code, {}).get("receivable", 0),
        }
        for row in tx.all(select(asset.c.code, asset.c.decimals).order_by(asset.c.code))
    ]
