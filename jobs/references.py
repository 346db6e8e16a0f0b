"""A reference names one resource of a project for ever, and a call that repeats it is told so before anything else.

A shop that lost an answer asks again, perhaps under another idempotency key. Whatever would refuse the call by now (the
account was frozen, the money is spent, a deadline is over), it must not hear that nothing was made.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Table, select
from sqlalchemy.exc import IntegrityError

from ledger.db import Tx
from ledger.errors import InvalidInput, ReferenceExists, Refused, TryLater


@contextmanager
def told_first(tx: Tx, table: Table, project_id: int, reference: str) -> Iterator[None]:
    """What runs within ends with the row's INSERT, or before. Raises `ReferenceExists` in place of whatever it raises,
    if the project has a row of that reference."""
    try:
        yield
    except (InvalidInput, Refused, TryLater, IntegrityError) as error:
        t = table.c
        existing = tx.value(select(t.public_id).where(t.project_id == project_id, t.reference == reference))
        if existing is None:
            raise
        raise ReferenceExists(f"the reference was used by {existing}", existing=existing) from error
