"""Whole copies of a case: its folder, and the rows of a database that is not in it."""

from __future__ import annotations

import functools
import pickle
import shutil
import sqlite3
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert, select

from ledger.db import Database
from ledger.schema import metadata
from tests.faults import moments
from tests.faults.place import Place

_ROWS = "rows.pickle"
_TABLES = metadata.sorted_tables
#: Made anew by whoever opens the files: the index of a write-ahead log, and locks.
_ASIDE = ("-shm", "-turn", ".lock")
_PASSING = shutil.ignore_patterns(*(f"*{name}" for name in _ASIDE))
_HEARD = ("heard.log", "orders.log")
#: What no start reads, or reads as a moment only.
_NO_STATE = (*_ASIDE, ".log", moments.FILE)

Rows = dict[str, list[dict[str, Any]]]


def keep(place: Place, folder: Path) -> None:
    """As the disk shows it: of open transactions nothing that a start would read."""
    shutil.copytree(place.path, folder / "case", ignore=_PASSING)
    if not _embedded(place):
        rows = _with(place, _all_rows)
        (folder / _ROWS).write_bytes(pickle.dumps(rows))


def put_back(place: Place, folder: Path) -> None:
    shutil.rmtree(place.path, ignore_errors=True)
    shutil.copytree(folder / "case", place.path)
    if not _embedded(place):
        rows: Rows = pickle.loads((folder / _ROWS).read_bytes())  # noqa: S301  # our own file
        _with(place, lambda connection: _fill(connection, rows))


def fingerprint(place: Place) -> int:
    """Of all bytes from which a start would read; never the same twice where the database is not among the files."""
    if not _embedded(place):
        return time.monotonic_ns()
    value = 0
    for path in sorted(place.path.rglob("*")):
        if path.is_file() and (path.name in _HEARD or not path.name.endswith(_NO_STATE)):
            value = zlib.crc32(path.read_bytes(), zlib.crc32(path.name.encode(), value))
    return value


def shorten(place: Place) -> None:
    """Put what the write-ahead log holds into the file itself, so that copies are small."""
    if _embedded(place):
        connection = sqlite3.connect(place.database_url.removeprefix("sqlite:///"))
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()


def _embedded(place: Place) -> bool:
    return place.database_url.startswith("sqlite")


def _all_rows(connection: Connection) -> Rows:
    return {table.name: _rows(connection, table) for table in _TABLES}


def _rows(connection: Connection, table: Any) -> list[dict[str, Any]]:
    return [dict(row) for row in connection.execute(select(table)).mappings()]


def _fill(connection: Connection, rows: Rows) -> None:
    """Only tables that differ are emptied: that takes MariaDB milliseconds each."""
    connection.exec_driver_sql("SET FOREIGN_KEY_CHECKS=0")
    for table in _TABLES:
        there = _rows(connection, table)
        if there == rows[table.name]:
            continue
        if there:
            connection.exec_driver_sql(f"TRUNCATE TABLE `{table.name}`")
        if rows[table.name]:
            connection.execute(insert(table), rows[table.name])
    connection.commit()
    _count_on(connection, rows)


def _count_on(connection: Connection, rows: Rows) -> None:
    """New rows get the ids that follow, whatever lives in between have used up."""
    query = "SELECT table_name, auto_increment FROM information_schema.tables WHERE table_schema = DATABASE()"
    for name, following in connection.exec_driver_sql(query).all():
        wanted = max((row["id"] for row in rows.get(name, ()) if "id" in row), default=0) + 1
        if following is not None and following != wanted:
            connection.exec_driver_sql(f"ALTER TABLE `{name}` AUTO_INCREMENT = {wanted}")


def _with(place: Place, act: Callable[[Connection], Any]) -> Any:
    with database(place.database_url).engine.connect() as connection:
        return act(connection)


@functools.cache
def database(url: str) -> Database:
    """A server's database, opened once in this process: making an engine costs more than reading all tables."""
    return Database(url, pool_size=1)
