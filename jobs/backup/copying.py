"""The database out into one file, in one consistent moment while others work, and back into an empty one.

SQLite is copied by its own backup API, page by page. MariaDB is written out row by row within one snapshot, each value
as the driver gives it: no program besides ours is needed, and no password stands on a command line. Its tables are then
made by our own migrations, so that constraints and guards are those of the schema, not of a dump.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import inspect
from sqlalchemy.engine import make_url

import migrations
from jobs.backup import marks
from ledger.db import Database, Tx
from ledger.errors import StateConflict
from ledger.schema import metadata

SQLITE, ROWS = "database.sqlite3", "database.rows.gz"
#: Rows fetched, and inserted, at once.
_MANY = 1_000
#: Written by the migrations themselves.
_VERSION = "alembic_version"


def save(database: Database, folder: Path) -> dict[str, Any]:
    """Write the database into this folder as it is at one moment; the marks of that moment."""
    if not database.sqlite:
        return database.read(lambda tx: _write_rows(tx, folder / ROWS), consistent=True)
    copy = folder / SQLITE
    copy_sqlite(Path(str(database.engine.url.database)), copy)
    with opened(copy) as copied:
        return copied.read(marks.read)


@contextmanager
def opened(file: Path) -> Iterator[Database]:
    """A SQLite database that nobody else uses; closed, it is one file again."""
    database = Database(f"sqlite:///{file}", pool_size=1)
    try:
        yield database
    finally:
        database.close()
        fold(file)
        file.with_name(f"{file.name}-turn").unlink(missing_ok=True)


def copy_sqlite(source: Path, target: Path) -> None:
    """A consistent copy in one file that was not there, its owner's alone from the first moment, whoever writes to the
    source meanwhile; on the disk when this returns."""
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    with closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as read, closing(sqlite3.connect(target)) as made:
        read.backup(made)
        made.execute("PRAGMA journal_mode=DELETE")  # all of it in the file itself
    with target.open("rb") as file:
        os.fsync(file.fileno())


def fold(file: Path) -> None:
    """Bring all that lies beside a SQLite file into it; nobody else may have it open."""
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")


def _write_rows(tx: Tx, target: Path) -> dict[str, Any]:
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as raw:
        with gzip.open(raw, "wt", encoding="utf-8", compresslevel=3) as file:
            for line in _lines(tx):
                file.write(f"{line}\n")
        raw.flush()
        os.fsync(raw.fileno())
    return marks.read(tx)


def _lines(tx: Tx) -> Iterator[str]:
    streamed = {"stream_results": True, "max_row_buffer": _MANY}
    for table in metadata.sorted_tables:
        query = f"SELECT * FROM `{table.name}`"  # noqa: S608  names of our own
        rows = tx.connection.exec_driver_sql(query, execution_options=streamed)
        yield json.dumps({"table": table.name, "columns": list(rows.keys())})
        for row in rows:
            yield json.dumps([_told(value) for value in row])


def _told(value: Any) -> Any:
    """A driver's value as JSON that is read back as the same."""
    if value is None or isinstance(value, int | str):
        return value
    if isinstance(value, Decimal):
        return {"number": str(value)}
    if isinstance(value, bytes):
        return {"bytes": base64.b64encode(value).decode("ascii")}
    raise TypeError(f"a database value of type {type(value).__name__} cannot be backed up")


def _heard(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return Decimal(value["number"]) if "number" in value else base64.b64decode(value["bytes"])


def check_empty(database_url: str) -> None:
    """Raises `StateConflict` unless there is no database yet."""
    if database_url.startswith("sqlite"):
        target = _file_of(database_url)
        for lying in (target, *(target.with_name(target.name + end) for end in ("-wal", "-shm", "-journal"))):
            if lying.exists():  # a log that was left behind would be read into the new database
                raise StateConflict(f"{lying} exists: a backup goes only where no database is; move it away")
        return
    database = Database(database_url, pool_size=1)
    try:
        if _has_rows(database):
            raise StateConflict("there is a database already: a backup goes only into an empty one")
    finally:
        database.close()


def put_back(database_url: str, folder: Path, quarantine: Callable[[Tx], None]) -> None:
    """Put the copy in place, quarantined from its first moment. Raises `StateConflict`, with nothing touched, unless
    there is no database yet."""
    check_empty(database_url)
    if database_url.startswith("sqlite"):
        _put_back_sqlite(_file_of(database_url), folder, quarantine)
    else:
        _put_back_rows(database_url, folder, quarantine)


def _file_of(database_url: str) -> Path:
    return Path(str(make_url(database_url).database))


def _put_back_sqlite(target: Path, folder: Path, quarantine: Callable[[Tx], None]) -> None:
    """Made whole beside its place, then linked into it: no process finds it without its quarantine."""
    draft = target.with_name(f".{target.name}.restoring")
    for lying in target.parent.glob(f"{draft.name}*"):  # of a restore that was cut off
        lying.unlink()
    copy_sqlite(folder / SQLITE, draft)
    with opened(draft) as database:
        database.run(quarantine, "restore")
    os.link(draft, target)  # fails where somebody made one meanwhile, as a rename would not
    draft.unlink()


def _put_back_rows(database_url: str, folder: Path, quarantine: Callable[[Tx], None]) -> None:
    """All rows in one transaction with the quarantine: until it is committed no process takes it for a database."""
    database = Database(database_url, pool_size=1)
    try:
        migrations.upgrade(database)

        def fill(tx: Tx) -> None:
            tx.connection.exec_driver_sql("SET FOREIGN_KEY_CHECKS=0")
            _insert(tx, folder / ROWS)
            quarantine(tx)
            tx.connection.exec_driver_sql("SET FOREIGN_KEY_CHECKS=1")

        database.run(fill, "restore")
    finally:
        database.close()


def _has_rows(database: Database) -> bool:
    tables = set(inspect(database.engine).get_table_names()) - {_VERSION}
    if not tables <= metadata.tables.keys():
        return True  # somebody else's
    with database.engine.connect() as connection:
        return any(
            connection.exec_driver_sql(f"SELECT 1 FROM `{name}` LIMIT 1").first() is not None  # noqa: S608
            for name in sorted(tables)
        )


def _insert(tx: Tx, source: Path) -> None:
    with gzip.open(source, "rt", encoding="utf-8") as file:
        lines = (json.loads(line) for line in file)
        statement = ""
        batch: list[tuple[Any, ...]] = []
        for line in lines:
            if isinstance(line, dict):
                _flush(tx, statement, batch)
                statement = _insert_into(line["table"], line["columns"])
            else:
                batch.append(tuple(_heard(value) for value in line))
                if len(batch) == _MANY:
                    _flush(tx, statement, batch)
        _flush(tx, statement, batch)


def _insert_into(table: str, columns: list[str]) -> str:
    known = metadata.tables[table].columns
    if set(columns) != set(known.keys()):
        raise StateConflict(f"the backup's table {table} has other columns than this program's")
    names = ", ".join(f"`{name}`" for name in columns)
    return f"INSERT INTO `{table}` ({names}) VALUES ({', '.join(['%s'] * len(columns))})"  # noqa: S608


def _flush(tx: Tx, statement: str, batch: list[tuple[Any, ...]]) -> None:
    if batch:
        tx.connection.exec_driver_sql(statement, list(batch))
        batch.clear()
