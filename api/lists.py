"""The filters that lists of money share: account, asset, status, reference, time."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, Select, Table

from api.call import Call
from api.shapes import Range, moment_of
from jobs import accounts
from ledger.db import Tx

#: query field -> column
_COLUMNS = {"asset": "asset", "status": "state", "reference": "reference"}


def narrowed(
    call: Call, tx: Tx, name: str, wanted: Select[Any], table: Table, query: Range
) -> tuple[tuple[Any, ...], list[Row[Any]]]:
    """(scope for the cursor, at most limit + 1 rows newest first)."""
    given = query.model_dump(exclude={"limit", "cursor"}, exclude_none=True)
    scope = (name, call.project_id, *sorted(given.items()))
    before = call.parts.cursors.take(scope, query.cursor)
    for field, column in _COLUMNS.items():
        if field in given and column in table.c:
            wanted = wanted.where(table.c[column] == given[field])
    if "account" in given and "account_id" in table.c:
        wanted = wanted.where(table.c.account_id == accounts.find(tx, call.project_id, given["account"]).id)
    since, until = moment_of(query.created_from, "created_from"), moment_of(query.created_to, "created_to")
    wanted = wanted if since is None else wanted.where(table.c.created_at >= since)
    wanted = wanted if until is None else wanted.where(table.c.created_at < until)
    wanted = wanted if before is None else wanted.where(table.c.id < before)
    return scope, list(tx.all(wanted.order_by(table.c.id.desc()).limit(query.limit + 1)))
