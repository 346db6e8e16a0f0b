"""The limit for everything that moves money: one ledger-like transaction on the bare driver, in the same database.

Two balances read for update, a transfer under a unique key, two entries, two balances written, a durable commit. It
checks nothing, holds nothing, and stores no answer.
"""

from __future__ import annotations

import random
import secrets
import sqlite3
import time
from typing import Any

import pymysql
from sqlalchemy.engine import make_url

ACCOUNTS = 1_000
_TABLES = (
    "CREATE TABLE bench_balance (id {id} PRIMARY KEY, units {units} NOT NULL)",
    "CREATE TABLE bench_transfer (id {serial}, transfer_key VARCHAR(128) NOT NULL UNIQUE, created_at BIGINT NOT NULL)",
    "CREATE TABLE bench_entry (id {serial}, transfer_id BIGINT NOT NULL, account_id BIGINT NOT NULL, units {units})",
    "CREATE INDEX bench_entry_account ON bench_entry (account_id, id)",
)
_SQLITE = {"id": "INTEGER", "units": "TEXT", "serial": "INTEGER PRIMARY KEY"}
_MARIADB = {"id": "BIGINT", "units": "NUMERIC(38,0)", "serial": "BIGINT AUTO_INCREMENT PRIMARY KEY"}


def prepare(url: str) -> None:
    """Make the tables and fill the balances, once a database."""
    connection, sqlite = connect(url), url.startswith("sqlite")
    cursor = connection.cursor()
    for statement in _TABLES:
        cursor.execute(statement.format(**(_SQLITE if sqlite else _MARIADB)))
    cursor.execute("BEGIN")
    rows = [(number, 10**12) for number in range(1, ACCOUNTS + 1)]
    mark = "?" if sqlite else "%s"
    cursor.executemany(f"INSERT INTO bench_balance (id, units) VALUES ({mark}, {mark})", rows)  # noqa: S608
    cursor.execute("COMMIT")
    connection.close()


def connect(url: str) -> Any:
    """A connection as durable as ours."""
    parsed = make_url(url)
    if url.startswith("sqlite"):
        connection = sqlite3.connect(parsed.database or "", timeout=30, isolation_level=None, check_same_thread=False)
        for pragma in ("journal_mode=WAL", "synchronous=FULL"):
            connection.execute(f"PRAGMA {pragma}")
        return connection
    where = {"user": parsed.username, "password": parsed.password, "database": parsed.database}
    where |= {"unix_socket": parsed.query["unix_socket"]} if "unix_socket" in parsed.query else {"host": parsed.host}
    found = pymysql.connect(**where, port=parsed.port or 3306, autocommit=True)  # type: ignore[arg-type]
    found.cursor().execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
    return found


class Mover:
    """Moves one unit between two accounts; `hot`: account 1 is always one of them."""

    def __init__(self, url: str, hot: bool) -> None:
        self._sqlite, self._hot = url.startswith("sqlite"), hot
        self._mark = "?" if self._sqlite else "%s"
        self._connection = connect(url)
        self._cursor = self._connection.cursor()

    def act(self) -> None:
        pair = sorted(random.sample(range(2, ACCOUNTS + 1), 2))
        try:
            self._move([1, pair[0]] if self._hot else pair)
        except Exception:  # the connection is used again
            self._cursor.execute("ROLLBACK")
            raise

    def _move(self, pair: list[int]) -> None:
        key, entries = (
            secrets.token_hex(16),
            "INSERT INTO bench_entry (transfer_id, account_id, units) VALUES (?, ?, ?)",
        )
        self._do("BEGIN IMMEDIATE" if self._sqlite else "BEGIN")
        lock = "" if self._sqlite else " FOR UPDATE"
        self._do(f"SELECT id, units FROM bench_balance WHERE id IN (?, ?) ORDER BY id{lock}", *pair)  # noqa: S608
        units = {row[0]: int(row[1]) for row in self._cursor.fetchall()}
        self._do("INSERT INTO bench_transfer (transfer_key, created_at) VALUES (?, ?)", key, time.time_ns() // 1000)
        transfer_id = self._cursor.lastrowid
        for account, change in zip(pair, (-1, 1), strict=True):
            self._do(entries, transfer_id, account, change)
        for account, change in zip(pair, (-1, 1), strict=True):
            self._do("UPDATE bench_balance SET units = ? WHERE id = ?", units[account] + change, account)
        self._do("COMMIT")

    def _do(self, statement: str, *values: Any) -> None:
        self._cursor.execute(statement.replace("?", self._mark), values)
