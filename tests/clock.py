"""Time that passes when a test says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import update

from jobs import bootstrap
from ledger.schema import lease


def end_leases(execute: Callable[[Any], Any]) -> None:
    """More than a lease's time has passed since whoever holds one was last heard of."""
    for saga in bootstrap.sagas().values():
        t = saga.table
        execute(update(t).where(t.c.lease_until > 0).values(lease_until=1))
    execute(update(lease).where(lease.c.until > 0).values(until=1))
