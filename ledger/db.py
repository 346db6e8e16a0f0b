"""The database behind one small door: engines set up safely, units of work that commit whole or not at all.

A unit of work is a function of a `Tx`. `Database.run` retries it when the database gave up on it (deadlock, lock
wait, lost connection before COMMIT) and never when COMMIT itself was lost: then `CommitUnknown` is raised and the
caller re-reads by natural key. No node call belongs inside a unit of work.
"""

from __future__ import annotations

import logging
import random
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

from sqlalchemy import Connection, CursorResult, Executable, Row, event, exc, text
from sqlalchemy import create_engine as sa_create_engine
from sqlalchemy.engine import Engine, make_url

from ledger.crashpoint import crashpoint
from ledger.errors import CommitUnknown, DatabaseUnavailable, UnsafeDatabase
from ledger.turns import Turns
from ledger.types import SqliteTotal

T = TypeVar("T")

log = logging.getLogger("coffer.db")

#: How often a unit that the database rolled back is run again before the caller is told.
UNIT_TRIES_MAX = 6

#: Seconds a statement waits for another writer's lock.
LOCK_WAIT_SECONDS = 10

#: Seconds after which MariaDB rolls a transaction back whose process sends nothing: a worker that was stopped inside it
#: would keep its locks, and its postings unseen, for as long as it sleeps. One that has written nothing may take
#: longer, for its process may be at work on what it read; but not for ever, for it may hold locks.
IDLE_WRITER_SECONDS = 60
IDLE_READER_SECONDS = 300

Wake = tuple[str, int]


class Tx:
    """One open transaction. `now` is the database's clock in microseconds, read once.

    What runs in every step is a statement made once, with its values as `parameters`: to build one anew and to find
    what it was compiled to costs several times what SQLite takes to run it.
    """

    def __init__(self, connection: Connection, now: int, *, sqlite: bool) -> None:
        self.connection = connection
        self.now = now
        self.sqlite = sqlite
        self.wakes: list[Wake] = []
        #: facts that cannot change while this transaction lasts; forgotten when part of it is undone
        self.memo: dict[Any, Any] = {}

    def execute(self, statement: Executable, parameters: Any = None) -> CursorResult[Any]:
        return self.connection.execute(statement, parameters)

    def all(self, statement: Executable, parameters: Any = None) -> Sequence[Row[Any]]:
        return self.connection.execute(statement, parameters).all()

    def first(self, statement: Executable, parameters: Any = None) -> Row[Any] | None:
        return self.connection.execute(statement, parameters).first()

    def one(self, statement: Executable, parameters: Any = None) -> Row[Any]:
        return self.connection.execute(statement, parameters).one()

    def value(self, statement: Executable, parameters: Any = None) -> Any:
        return self.connection.execute(statement, parameters).scalar()

    def insert(self, statement: Executable, parameters: Any = None) -> int:
        """Run an INSERT and return the new row's id."""
        key = self.connection.execute(statement, parameters).inserted_primary_key
        if key is None:
            raise TypeError("not an INSERT of one row")
        return int(key[0])

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """What happens inside can be undone alone, by raising."""
        try:
            with self.connection.begin_nested():
                yield
        except BaseException:  # whatever ended it, what was remembered inside is undone with it
            self.memo.clear()
            raise

    def wake(self, kind: str, row_id: int) -> None:
        """Ask that `advance(kind, row_id)` runs soon after this commits. A hint: it may be lost."""
        if (kind, row_id) not in self.wakes:
            self.wakes.append((kind, row_id))


class Database:
    """An engine with Coffer's promises. Safe to share between threads; call `after_fork` in a forked child."""

    def __init__(self, url: str, *, pool_size: int = 10, clock: Callable[[], int] | None = None) -> None:
        """`clock` tells an embedded database the time, in microseconds; by default it is its host's."""
        self.engine = create_engine(url, pool_size=pool_size)
        self.sqlite = self.engine.dialect.name == "sqlite"
        self._clock = clock or _host_clock
        self.on_commit: Callable[[Sequence[Wake]], None] | None = None
        self._turns = Turns(f"{self.engine.url.database}-turn", LOCK_WAIT_SECONDS) if self.sqlite else None

    def run(self, unit: Callable[[Tx], T], name: str) -> T:
        """Run `unit` in one transaction and commit it; its wake-ups go out after the commit.

        `name` is the place in crash tests: `name.before_commit`, `name.after_commit`. The unit may run several
        times, so its only effects are those of its transaction. Raises `DatabaseUnavailable` (nothing written),
        `CommitUnknown`, and whatever the unit raises (after a rollback).
        """
        for attempt in range(1, UNIT_TRIES_MAX + 1):
            try:
                return self._once(unit, name)
            except exc.DBAPIError as error:
                cannot_write = _cannot_write(error)
                if not cannot_write and not _rolled_back_by_the_database(error):
                    raise
                if cannot_write or attempt == UNIT_TRIES_MAX:
                    raise DatabaseUnavailable(f"{name}: {type(error.orig).__name__}") from error
                time.sleep(random.uniform(0.01, 0.05) * attempt)
        raise AssertionError("unreachable")

    def read(self, unit: Callable[[Tx], T], *, consistent: bool = False) -> T:
        """Run a unit that writes nothing; on SQLite it takes no write lock.

        `consistent`: all its statements see one and the same moment, as they always do on SQLite. Needed by whatever
        compares rows of several statements: at READ COMMITTED each of them sees its own moment.
        """
        options: dict[str, Any] = {"coffer_read": True}
        if consistent and not self.sqlite:
            options["isolation_level"] = "REPEATABLE READ"
        driver = self.engine.dialect.loaded_dbapi  # its errors come as they are while the isolation level is set
        try:
            with self.engine.connect() as connection:
                connection.execution_options(**options)
                with connection.begin():
                    return unit(Tx(connection, self._now(connection), sqlite=self.sqlite))
        except (exc.OperationalError, exc.InterfaceError, exc.TimeoutError) as error:
            raise DatabaseUnavailable(type(error).__name__) from error
        except (driver.OperationalError, driver.InterfaceError) as error:
            raise DatabaseUnavailable(type(error).__name__) from error

    def _once(self, unit: Callable[[Tx], T], name: str) -> T:
        with self._turns.mine() if self._turns is not None else nullcontext():
            result, wakes = self._in_transaction(unit, name)
        crashpoint(f"{name}.after_commit")
        if wakes and self.on_commit is not None:
            try:
                self.on_commit(wakes)
            except Exception:  # the unit stands: whatever is wrong with its wake-ups, they are only hints
                log.exception("wake-ups failed after %s", name)
        return result

    def _in_transaction(self, unit: Callable[[Tx], T], name: str) -> tuple[T, list[Wake]]:
        try:
            connection = self.engine.connect()
        except exc.DBAPIError as error:
            raise DatabaseUnavailable(f"{name}: no connection") from error
        except exc.TimeoutError as error:
            raise DatabaseUnavailable(f"{name}: all connections are busy") from error
        with connection:
            transaction = connection.begin()
            try:
                tx = Tx(connection, self._now(connection), sqlite=self.sqlite)
                result = unit(tx)
                crashpoint(f"{name}.before_commit")
            except BaseException:
                transaction.close()
                raise
            _commit(transaction, name)
        return result, tx.wakes

    def _now(self, connection: Connection) -> int:
        if self.sqlite:
            return self._clock()
        return int(connection.execute(_MARIADB_NOW).scalar_one())

    def now(self) -> int:
        """The database's clock, microseconds UTC."""
        return self.read(lambda tx: tx.now)

    def after_fork(self) -> None:
        """Forget, without closing, the connections that belong to the parent process."""
        self.engine.dispose(close=False)
        if self._turns is not None:
            self._turns.after_fork()

    def close(self) -> None:
        self.engine.dispose()
        if self._turns is not None:
            self._turns.close()


def _host_clock() -> int:
    return time.time_ns() // 1000


_MARIADB_NOW = text("SELECT CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)")

#: 1213 deadlock, 1205 lock wait, 1020 changed since last read; 2002-2013 connection refused, gone or lost;
#: 1305 savepoint gone: a deadlock inside it has rolled back the whole transaction.
_MARIADB_RETRY = frozenset({1213, 1205, 1020, 1305, 2002, 2003, 2006, 2013, 1053, 1927})


#: 1021 disk full; 1026 error writing a file; 1036 table read only; 1114 table full; 1290 and 1836 server read only.
_MARIADB_CANNOT_WRITE = frozenset({1021, 1026, 1036, 1114, 1290, 1836})

#: As primary result codes: the driver reports extended ones, whose low byte they are (https://sqlite.org/rescode.html).
_SQLITE_CANNOT_WRITE = frozenset(
    {sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}
)


def _cannot_write(error: exc.DBAPIError) -> bool:
    """Whether the disk is full or read only: nothing was written, and trying again at once would not help."""
    orig = error.orig
    if isinstance(orig, sqlite3.Error):
        return (getattr(orig, "sqlite_errorcode", 0) & 0xFF) in _SQLITE_CANNOT_WRITE
    arguments: tuple[Any, ...] = getattr(orig, "args", ())
    return len(arguments) > 0 and arguments[0] in _MARIADB_CANNOT_WRITE


def _rolled_back_by_the_database(error: exc.DBAPIError) -> bool:
    if error.connection_invalidated:
        return True
    orig = error.orig
    if orig is not None and type(orig).__module__.startswith("sqlite3"):
        return "locked" in str(orig) or "busy" in str(orig)
    arguments: tuple[Any, ...] = getattr(orig, "args", ())
    return len(arguments) > 0 and arguments[0] in _MARIADB_RETRY


def _commit(transaction: Any, name: str) -> None:
    try:
        transaction.commit()
    except exc.DBAPIError as error:
        if error.orig is not None and type(error.orig).__module__.startswith("sqlite3"):
            transaction.close()
            raise  # SQLite refused the commit: it did not happen
        raise CommitUnknown(f"{name}: the reply to COMMIT was lost") from error


def create_engine(url: str, *, pool_size: int = 10) -> Engine:
    """An engine whose every connection is set up for durability; unsafe servers are refused by `check_safe`."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        if not parsed.database or parsed.database == ":memory:":
            raise UnsafeDatabase("SQLite needs a file: what is in memory only is lost with the process")
        engine = sa_create_engine(parsed, pool_size=pool_size, max_overflow=20, pool_timeout=30)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    else:
        engine = sa_create_engine(
            parsed,
            pool_size=pool_size,
            max_overflow=20,
            pool_timeout=30,
            pool_pre_ping=True,
            pool_recycle=1800,
            isolation_level="READ COMMITTED",
            connect_args={"connect_timeout": 5, "read_timeout": 60, "write_timeout": 60, "charset": "utf8mb4"},
        )
        event.listen(engine, "connect", _prepare_mariadb)
    return engine


def _prepare_sqlite(raw: Any, _record: Any) -> None:
    raw.isolation_level = None  # the driver must not begin transactions on its own: see _begin_sqlite
    cursor = raw.cursor()
    cursor.execute(f"PRAGMA busy_timeout={LOCK_WAIT_SECONDS * 1000}")
    _write_ahead(cursor)
    for pragma in (
        "synchronous=FULL",
        "foreign_keys=ON",
        "recursive_triggers=ON",
        "trusted_schema=OFF",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
    raw.create_aggregate("units_total", 1, SqliteTotal)


def _write_ahead(cursor: sqlite3.Cursor) -> None:
    """Turn the write-ahead log on. SQLite refuses that at once, without its busy timeout, while several processes do it
    to a new file (https://sqlite.org/c3ref/busy_handler.html); the one that was first has then done it for all."""
    deadline = time.monotonic() + LOCK_WAIT_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first and writes later would get SQLITE_BUSY at the upgrade, whatever the timeout.
    read_only = connection.get_execution_options().get("coffer_read", False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")


def _prepare_mariadb(raw: Any, _record: Any) -> None:
    with raw.cursor() as cursor:
        cursor.execute(
            "SET SESSION sql_mode='STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION', "
            f"SESSION innodb_lock_wait_timeout={LOCK_WAIT_SECONDS}, SESSION time_zone='+00:00'"
            # MySQL has no such variables, and takes what is for MariaDB 10.3.2 and later as a comment.
            f" /*M!100302 , SESSION idle_write_transaction_timeout={IDLE_WRITER_SECONDS},"
            f" SESSION idle_readonly_transaction_timeout={IDLE_READER_SECONDS} */"
        )


def check_safe(database: Database) -> None:
    """Refuse a database that could lose an acknowledged commit. Raises `UnsafeDatabase` naming the setting."""
    with database.engine.connect() as connection:
        wrong = _sqlite_faults(connection) if database.sqlite else _mariadb_faults(connection)
    if wrong:
        raise UnsafeDatabase("; ".join(wrong))


def _sqlite_faults(connection: Connection) -> list[str]:
    wanted = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
    actual = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in wanted}
    return [f"PRAGMA {n} must be {w}, is {actual[n]}" for n, w in wanted.items() if actual[n] != w]


def _mariadb_faults(connection: Connection) -> list[str]:
    rows = connection.exec_driver_sql(
        "SHOW VARIABLES WHERE Variable_name IN ('innodb_flush_log_at_trx_commit', 'sync_binlog', 'log_bin', "
        "'sql_mode', 'innodb_doublewrite', 'wsrep_on')"
    )
    server = {str(name).lower(): str(value) for name, value in rows}
    faults = []
    if server.get("innodb_flush_log_at_trx_commit") != "1":
        faults.append("innodb_flush_log_at_trx_commit must be 1")
    if server.get("log_bin") == "ON" and server.get("sync_binlog") != "1":
        faults.append("sync_binlog must be 1 while log_bin is on")
    if "STRICT_TRANS_TABLES" not in server.get("sql_mode", ""):
        faults.append("sql_mode must contain STRICT_TRANS_TABLES")
    if server.get("innodb_doublewrite") == "OFF":
        faults.append("innodb_doublewrite must be ON: a torn page would lose what it held")
    if server.get("wsrep_on") == "ON":
        faults.append("wsrep_on must be OFF: one writer only")
    return faults
