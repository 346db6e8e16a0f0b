"""Trying an operator's act again: while a worker is busy with the row, or when nobody knows whether it was stored."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from jobs.resolve.by_hand import Busy
from ledger.db import Database, Tx
from ledger.errors import CommitUnknown, DatabaseUnavailable

T = TypeVar("T")

#: An act of an operator's whose key was made beforehand.
Unit = Callable[[Tx], None]

TRIES = 40
WAIT_SECONDS = 0.25


def patiently(act: Callable[[], T]) -> T:
    """Run `act` until it does not meet a busy row, for about ten seconds. Raises what it raised last."""
    for _ in range(TRIES - 1):
        try:
            return act()
        except Busy:
            time.sleep(WAIT_SECONDS)
    return act()


def surely(database: Database, unit: Unit, name: str) -> None:
    """Run a unit that does nothing where it stands already, again if the reply to its COMMIT is lost. Raises
    `CommitUnknown` when the database is gone by then: the operator must look before he says it once more."""
    try:
        database.run(unit, name)
    except CommitUnknown as lost:
        try:
            database.run(unit, name)
        except (CommitUnknown, DatabaseUnavailable) as error:
            detail = f"{lost.detail}; it may be booked all the same: look at `coffer audit` before you repeat it"
            raise CommitUnknown(detail) from error
