"""All that decides what Coffer does next, as one short text: two lives whose texts are equal go on equally.

It is the whole database, what each model chain holds, the signer's record, the shop's memory and how far the flow has
come. Left out is what differs from life to life and decides nothing: moments, tokens, owners, versions and wake-up
counts. Ids, hashes and addresses stand for themselves no more but for the order in which they first appear, so that who
refers to whom is kept. What is left out here makes two different states look alike, so it is as little as possible: a
state that only looks different costs a second look, no more.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table

from ledger.db import Database
from ledger.schema import metadata
from tests.faults import kept
from tests.faults.place import Place
from wallets.fake import FakeChain

#: Waits up to here are over when a stage begins: leases (15 s), back-offs and rests (20 s). Longer ones are only
#: what a lost wake-up costs, and the flow's end waits for those too.
SHORT_US = 25_000_000
#: Decide nothing but who may write now: a start after a death has waited until all leases are over.
_IGNORED = {"version", "wakes", "lease_token", "token", "owner", "milliseconds"}
_LEASE = {"lease_until", "until"}
#: Of a task, as each stage of a flow says itself which ones are due.
_TASK = {"due_at"}
#: Microseconds from 2017 on, where they are whole numbers; and seconds, which the signer's record has.
_MOMENTS = range(1_500_000_000_000_000, 4_000_000_000_000_000)
_SECONDS = range(1_500_000_000, 4_000_000_000)
_MASKED = re.compile(
    r"(?P<moment>\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)?)"
    r"|(?P<name>\b[a-z]{2,4}_[0-9a-f]{24,32}\b|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b(?:0x|fake1|mofa1)?[0-9a-f]{32,}\b)"
)


def digest(place: Place, database: Database | None = None, *, leases: bool = True) -> str:
    """Of a place that nothing changes at this moment. Without `leases`: of what a dead process has left, as a start
    comes when its leases are over."""
    parts: list[Any] = [_progress(place), _shop(place), *_files(place), _rows(place, database, leases)]
    return sha256(_masked(json.dumps(parts, default=_plain)).encode()).hexdigest()


def _plain(value: Any) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def _masked(text: str) -> str:
    """Moments are all the same, names are numbered by their first appearance."""
    seen: dict[str, str] = {}

    def mask(found: re.Match[str]) -> str:
        if found["moment"]:
            return "T"
        return seen.setdefault(found[0], f"n{len(seen)}")

    return _MASKED.sub(mask, text)


def _progress(place: Place) -> str:
    path = place.path / "progress"
    return path.read_text() if path.exists() else "0"


def _shop(place: Place) -> Any:
    memory = json.loads((place.path / "client.json").read_text())
    return [memory["calls"], memory["notes"]]


def _files(place: Place) -> Iterable[Any]:
    for path in sorted(place.path.glob("*.pickle")):
        yield [path.name, _chain(path)]
    for path in sorted((place.path / "signer").rglob("*.sqlite3")):
        yield [path.name, _signed(path)]
    for name in ("heard.log", "orders.log"):
        path = place.path / name
        yield path.read_text() if path.exists() else ""


def _chain(path: Path) -> Any:
    """Who pays whom by which coin, in which block; which coins wallets hold back."""
    chain = FakeChain(path)
    with chain.state() as s:
        held = {key for wallet in s.wallets.values() for key in wallet.held}
        txs = [[t.inputs, t.fee_units, txid, txid in s.pool, s.height_of.get(txid)] for txid, t in s.txs.items()]
        outputs = [
            [o.address, o.units, f"{txid}:{n}" in held] for txid, t in s.txs.items() for n, o in enumerate(t.outputs)
        ]
        wallets = [[name, w.watched, list(w.known)] for name, w in s.wallets.items()]
        rest = [s.tip.height, s.reachable, s.unready, s.lies, s.rate, s.rate_min, s.serial]
        return [txs, outputs, wallets, list(s.pool), [b.hash for b in s.blocks], rest]


def _signed(path: Path) -> Any:
    connection = sqlite3.connect(path)
    try:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
        return [
            [
                name,
                [[_moment(value, _SECONDS) for value in row] for row in connection.execute(f"SELECT * FROM {name}")],
            ]
            for (name,) in tables
        ]
    finally:
        connection.close()


def _moment(value: Any, *others: range) -> Any:
    """An int only: anything else is looked for in a range one by one."""
    return "T" if isinstance(value, int) and any(value in moments for moments in (_MOMENTS, *others)) else value


def _rows(place: Place, database: Database | None, leases: bool) -> Any:
    if place.database_url.startswith("sqlite"):
        raw = sqlite3.connect(place.database_url.removeprefix("sqlite:///"))
        try:
            return _tables(lambda statement: raw.execute(statement).fetchall(), leases)
        finally:
            raw.close()
    with (database or kept.database(place.database_url)).engine.connect() as connection:
        return _tables(lambda statement: _fetched(connection, statement), leases)


def _fetched(connection: Connection, statement: str) -> Sequence[Any]:
    return connection.exec_driver_sql(statement).fetchall()


def _tables(fetch: Callable[[str], Sequence[Any]], leases: bool) -> Any:
    return [[name, [_row(shape, row) for row in fetch(query)]] for name, query, shape in _QUERIES[leases]]


def _row(shape: Sequence[Callable[[Any, Sequence[Any]], Any]], row: Sequence[Any]) -> list[Any]:
    return [look(value, row) for look, value in zip(shape, row, strict=True)]


def _as_it_is(value: Any, row: Sequence[Any]) -> Any:
    return _moment(value)


def _lease(value: Any, row: Sequence[Any]) -> Any:
    return value is not None and value > 1


def _due(updated: int) -> Callable[[Any, Sequence[Any]], Any]:
    """Never, soon or later: all that a stage asks of a row's next moment."""

    def look(value: Any, row: Sequence[Any]) -> Any:
        return value if value is None else value - row[updated] <= SHORT_US

    return look


def _shape(table: Table, names: Sequence[str]) -> list[Callable[[Any, Sequence[Any]], Any]]:
    looks: list[Callable[[Any, Sequence[Any]], Any]] = []
    for name in names:
        if name == "due_at" and table.name != "task" and "updated_at" in names:
            looks.append(_due(names.index("updated_at")))
        else:
            looks.append(_lease if name in _LEASE else _as_it_is)
    return looks


def _query(table: Table, leases: bool) -> tuple[str, str, list[Callable[[Any, Sequence[Any]], Any]]]:
    ignored = _IGNORED | (_TASK if table.name == "task" else set()) | (set() if leases else _LEASE)
    names = [column.name for column in table.columns if column.name not in ignored]
    order = ", ".join(f"`{column.name}`" for column in table.primary_key)
    query = f"SELECT {', '.join(f'`{name}`' for name in names)} FROM `{table.name}` ORDER BY {order}"
    return table.name, query, _shape(table, names)


_QUERIES = {
    leases: [_query(table, leases) for table in sorted(metadata.tables.values(), key=lambda table: table.name)]
    for leases in (True, False)
}
