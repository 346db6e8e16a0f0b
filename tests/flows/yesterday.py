"""A database as it was yesterday, put back under a running engine: what an operator does who restores a dump."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert, select

from ledger.db import Database
from ledger.schema import metadata

_TABLES = metadata.sorted_tables


class Yesterday:
    """All of a database at one moment."""

    def __init__(self, database: Database, folder: Path) -> None:
        self._database = database
        self._file = folder / "yesterday.sqlite3"
        self._rows: dict[str, list[dict[str, Any]]] = {}
        if database.engine.dialect.name == "sqlite":
            self._copy(restore=False)
        else:
            with database.engine.connect() as connection:
                self._rows = {t.name: [dict(r) for r in connection.execute(select(t)).mappings()] for t in _TABLES}

    def restore(self) -> None:
        """Make it today's."""
        if self._database.engine.dialect.name == "sqlite":
            self._copy(restore=True)
        else:
            with self._database.engine.connect() as connection:
                self._fill(connection)

    def _copy(self, *, restore: bool) -> None:
        raw = self._database.engine.raw_connection()
        live = raw.driver_connection
        assert isinstance(live, sqlite3.Connection)
        kept = sqlite3.connect(self._file)
        (kept if restore else live).backup(live if restore else kept)
        kept.close()
        raw.close()

    def _fill(self, connection: Connection) -> None:
        connection.exec_driver_sql("SET FOREIGN_KEY_CHECKS=0")
        for table in _TABLES:
            connection.exec_driver_sql(f"TRUNCATE TABLE `{table.name}`")
            if self._rows[table.name]:
                connection.execute(insert(table), self._rows[table.name])
        connection.commit()
        connection.exec_driver_sql("SET FOREIGN_KEY_CHECKS=1")
