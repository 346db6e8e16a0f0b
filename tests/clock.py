"""Time that passes when a test says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, update

from jobs import bootstrap
from ledger.db import Database
from ledger.schema import lease


def end_leases(execute: Callable[[Any], Any]) -> None:
    """More than a lease's time has passed since whoever holds one was last heard of."""
    for saga in bootstrap.sagas().values():
        t = saga.table
        execute(update(t).where(t.c.lease_until > 0).values(lease_until=1))
    execute(update(lease).where(lease.c.until > 0).values(until=1))


class Clock:
    """The database's clock, which a test puts forward: what was due then is over, also what no statement may change."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._ahead_us = 0
        real = Database._now

        def now(database: Database, connection: Connection) -> int:
            return real(database, connection) + self._ahead_us

        monkeypatch.setattr(Database, "_now", now)

    def forward(self, *, seconds: int = 0, minutes: int = 0, hours: int = 0) -> None:
        self._ahead_us += (seconds + 60 * minutes + 3_600 * hours) * 1_000_000
