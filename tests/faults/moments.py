"""The database's clock as a case sees it: ahead when the flow says so, at rest while a wreck or a twin waits."""

from __future__ import annotations

import time
from pathlib import Path

from sqlalchemy import Connection

from ledger.db import Database

#: How long the life had waited for the harness, and when it ended: written by a twin, read by the next life.
FILE = "clock"

_real_now = Database._now
_ahead_us = 0
_asleep_us = 0


def install(case: Path) -> None:
    """In a process that lives in this case, before it asks for the time."""
    global _asleep_us
    _asleep_us = 0
    noted = case / FILE
    if noted.exists():
        asleep, died = map(int, noted.read_text().split())
        _asleep_us = asleep + _host_us() - died
    Database._now = _now  # type: ignore[method-assign]


def go_ahead(microseconds: int) -> None:
    """For this life; the flow remembers it for the next."""
    global _ahead_us
    _ahead_us = microseconds


def note_death(case: Path) -> int:
    """What the next life needs; returns when that was."""
    died = _host_us()
    (case / FILE).write_text(f"{_asleep_us} {died}")
    return died


def slept_since(moment: int) -> None:
    global _asleep_us
    _asleep_us += _host_us() - moment


def _now(database: Database, connection: Connection) -> int:
    return _real_now(database, connection) + _ahead_us - _asleep_us


def _host_us() -> int:
    return time.time_ns() // 1000
