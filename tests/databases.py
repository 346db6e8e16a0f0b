"""Fresh databases for tests, quickly: a copied file for SQLite, truncated tables for MariaDB."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import migrations
from devstack.mariadb import MariaDB
from jobs import tasks
from ledger import founding
from ledger.db import Database
from ledger.schema import metadata

DIALECTS = ("sqlite", "mariadb")

#: Name of the MariaDB database that tests of one process share, emptied for each of them.
SHARED = "coffer_tests"


def sqlite_url(folder: Path, template: Path) -> str:
    """A founded SQLite database in `folder`, copied from a template made once."""
    if not template.exists():
        make(f"sqlite:///{template}")
    target = folder / "coffer.sqlite3"
    shutil.copy(template, target)
    return f"sqlite:///{target}"


def mariadb_url(server: MariaDB) -> str:
    """The shared MariaDB database, made once and emptied since, founded anew."""
    made = bool(server.admin(f"SHOW DATABASES LIKE '{SHARED}'"))
    url = server.create_database(SHARED)
    if made:
        _empty(url)
    make(url)
    return url


def make(url: str) -> None:
    """Schema and first rows, as `coffer db upgrade` makes them."""
    database = Database(url)
    migrations.upgrade(database)
    founding.found(database, "test")
    database.run(tasks.found, "found_tasks")
    database.close()
    if database.sqlite:
        _fold(url)


def _fold(url: str) -> None:
    """Bring the write-ahead log into the file, so that copying the file copies all of it."""
    connection = sqlite3.connect(url.removeprefix("sqlite:///"))
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def _empty(url: str) -> None:
    """Truncate what has rows: a table that the last test left alone costs nothing."""
    database = Database(url)
    names = [table.name for table in metadata.sorted_tables]
    look = " UNION ALL ".join(f"SELECT '{name}' FROM DUAL WHERE EXISTS (SELECT 1 FROM `{name}`)" for name in names)
    with database.engine.connect() as connection:
        connection.exec_driver_sql("SET FOREIGN_KEY_CHECKS=0")
        for (name,) in connection.exec_driver_sql(look).all():
            connection.exec_driver_sql(f"TRUNCATE TABLE `{name}`")
        connection.exec_driver_sql("SET FOREIGN_KEY_CHECKS=1")
    database.close()
