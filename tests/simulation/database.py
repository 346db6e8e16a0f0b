"""A database in memory that forgets all that happened in a run, in a moment.

The ground that every run stands on is made once. A run then lies within one transaction that is never committed, and
each unit of work is a savepoint of it: the engine's own statements, constraints and triggers work on real SQLite, and
going back to the ground costs nothing. What a lock, a file or another process would do is for other tests.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import sqlalchemy
from sqlalchemy import event
from sqlalchemy.pool import StaticPool

from ledger import db
from ledger.db import Database, Tx

T = TypeVar("T")


class _Connection(sqlite3.Connection):
    """Commits and rolls back to its outer transaction once there is one."""

    sealed = False
    begun = False

    def begin(self, statement: str) -> None:
        assert not self.begun, "a unit of work inside another"
        self.begun = True
        self.execute("SAVEPOINT unit" if self.sealed else statement)

    def commit(self) -> None:
        self._end(("RELEASE unit",), super().commit)

    def rollback(self) -> None:
        self._end(("ROLLBACK TO unit", "RELEASE unit"), super().rollback)

    def _end(self, statements: Sequence[str], plain: Callable[[], None]) -> None:
        if not self.sealed:
            plain()
        elif self.begun:
            for statement in statements:
                self.execute(statement)
        self.begun = False


class MemoryDatabase(Database):
    """`clock` tells the time; `before` is called before each unit of work and each read, where others may run."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self.raw = sqlite3.connect(":memory:", factory=_Connection, check_same_thread=False)
        self.engine = sqlalchemy.create_engine("sqlite://", creator=lambda: self.raw, poolclass=StaticPool)
        event.listen(self.engine, "connect", db._prepare_sqlite)
        event.listen(self.engine, "begin", self._begin)
        self.sqlite = True
        self.on_commit = None
        self._turns = None
        self.before: Callable[[str], None] = lambda _: None

    def _begin(self, connection: Any) -> None:
        self.raw.begin("BEGIN IMMEDIATE")

    def run(self, unit: Callable[[Tx], T], name: str) -> T:
        self.before(name)
        return super().run(unit, name)

    def read(self, unit: Callable[[Tx], T], *, consistent: bool = False) -> T:
        self.before("read")
        return super().read(unit, consistent=consistent)

    def seal(self) -> None:
        """What is there now is the ground."""
        self.raw.execute("BEGIN")
        self.raw.sealed = True

    def forget(self) -> None:
        """Back to the ground."""
        self.raw.begun = False
        self.raw.execute("ROLLBACK")
        self.raw.execute("BEGIN")
