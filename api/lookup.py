"""A resource of the caller's project by its public id."""

from __future__ import annotations

from sqlalchemy import Table, select

from api.call import Call
from ledger.db import Tx
from ledger.errors import NotFound
from ledger.ids import is_id


def row_id(call: Call, tx: Tx, table: Table, prefix: str, public_id: str) -> int:
    """Its row id. Raises `NotFound` for any other text: malformed, unknown or foreign."""
    query = select(table.c.id).where(table.c.public_id == public_id, table.c.project_id == call.project_id)
    found = tx.value(query) if is_id(public_id, prefix) else None
    if found is None:
        raise NotFound(f"no such {table.name.removeprefix('internal_')}")
    return int(found)
