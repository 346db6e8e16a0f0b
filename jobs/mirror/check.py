"""Whether mirror and database agree: every order and every row, in both directions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from redis import Redis
from redis.exceptions import ResponseError
from sqlalchemy import select

from jobs.mirror import keep as mirror
from jobs.mirror import rows as mirror_rows
from jobs.mirror.rows import Order, history_key, map_key
from ledger.db import Database, Tx
from ledger.founding import CHAINS
from ledger.schema import account

PAGE = 500
DIFFERENCES_MAX = 1_000


@dataclass(frozen=True)
class Verdict:
    """`differences`: `KEY FIELD: what`."""

    orders: int
    rows: int
    differences: tuple[str, ...]


def check(database: Database, redis: Redis) -> Verdict:
    """Let the mirror catch up, and compare. What differs twice is a difference: the first may have been written in that
    very moment. Raises `RedisError`, `MirrorBusy`."""
    first = _compare(database, redis)
    if not first.differences:
        return first
    again = _compare(database, redis)
    return Verdict(again.orders, again.rows, tuple(d for d in again.differences if d in set(first.differences)))


def _compare(database: Database, redis: Redis) -> Verdict:
    if mirror.state(redis) is None:
        return Verdict(0, 0, (f"{mirror.STATE}: there is no mirror; `coffer mirror rebuild` writes it",))
    while mirror.advance(database, redis).more:
        pass
    orders, found = 0, []
    for page in _orders(database):
        orders += len(page)
        found += _of_orders(redis, page)
    for names in mirror.chunks(_names(redis)):
        found += database.read(lambda tx, n=names: _strangers(tx, n))  # type: ignore[misc]
    rows = 0
    for chain in CHAINS:
        count, differences = _of_history(database, redis, chain)
        rows += count
        found += differences
    return Verdict(orders, rows, tuple(sorted(set(found))[:DIFFERENCES_MAX]))


def _orders(database: Database) -> Iterator[list[Order]]:
    c, last = account.c, 0
    while True:
        query = select(c.id).where(c.id > last).order_by(c.id).limit(PAGE)
        ids = [row.id for row in database.read(lambda tx, q=query: tx.all(q))]  # type: ignore[misc]
        if not ids:
            return
        last = ids[-1]
        yield database.read(lambda tx, i=ids: mirror_rows.orders(tx, i))  # type: ignore[misc]


def _of_orders(redis: Redis, orders: Iterable[Order]) -> list[str]:
    """What the mirror lacks, or has otherwise."""
    own = [(key, fields) for order in orders for key, fields in order.own.items()]
    shared = [(key, *item) for order in orders for key, fields in order.shared.items() for item in fields.items()]
    with redis.pipeline(transaction=False) as pipe:
        for key, _ in own:
            pipe.hgetall(key)
        for key, name, _ in shared:
            pipe.hget(key, name)
        answers: list[Any] = pipe.execute(raise_on_error=False)
    found = []
    for (key, fields), answer in zip(own, answers[: len(own)], strict=True):
        there = answer if isinstance(answer, dict) else {}
        found += _differences(key, {k.decode(): v.decode() for k, v in there.items()}, fields)
    for (key, name, value), answer in zip(shared, answers[len(own) :], strict=True):
        there = {name: answer.decode()} if isinstance(answer, bytes) else {}
        found += _differences(key, there, {name: value})
    return found


def _differences(key: str, there: Mapping[str, str], wanted: Mapping[str, str]) -> list[str]:
    found = []
    for name in wanted.keys() | there.keys():
        if name not in there:
            found.append(f"{key} {name}: missing")
        elif name not in wanted:
            found.append(f"{key} {name}: not in the database")
        elif there[name] != wanted[name]:
            found.append(f"{key} {name}: is {there[name]}, must be {wanted[name]}")
    return found


def _names(redis: Redis) -> Iterator[tuple[str, str]]:
    """Every (key, order id) that the mirror shows something under."""
    for raw in redis.scan_iter(match="*:order:account:*", count=1_000):
        key = raw.decode()
        if key in map(map_key, CHAINS):
            yield from _fields(redis, key)
        else:
            yield key, key.rpartition(":")[2]
    for raw in redis.scan_iter(match="monero:tag:order*", count=1_000):
        yield from _fields(redis, raw.decode())


def _fields(redis: Redis, key: str) -> Iterator[tuple[str, str]]:
    try:
        for name, _ in redis.hscan_iter(key, count=1_000):
            yield key, name.decode()
    except ResponseError:
        yield key, "(another type of key)"


def _strangers(tx: Tx, names: Collection[tuple[str, str]]) -> list[str]:
    """What the mirror shows and the database does not know."""
    c = account.c
    ids = [row.id for row in tx.all(select(c.id).where(c.public_id.in_({name for _, name in names})))]
    known: set[tuple[str, str]] = set()
    for order in mirror_rows.orders(tx, ids):
        known |= {(key, order.public_id) for key in (*order.own, *order.shared)}
    return [f"{key} {name}: not in the database" for key, name in names if (key, name) not in known]


def _of_history(database: Database, redis: Redis, chain: str) -> tuple[int, list[str]]:
    key = history_key(chain)
    rows = database.read(lambda tx: mirror_rows.newest(tx, chain))
    wanted: dict[str, str] = {}
    for part in mirror.chunks(rows):
        members = database.read(lambda tx, p=part: mirror_rows.history(tx, p))[key]  # type: ignore[misc]
        wanted |= {f"row {row_id}": text for text, row_id in members.items()}
    try:
        shown: Any = redis.zrange(key, 0, -1, withscores=True)
    except ResponseError:
        shown = []
    there: dict[str, str] = {}
    for text, place in shown:
        name = f"row {int(place)}"
        there[name + "'" * (name in there)] = text.decode()
    return len(rows), _differences(key, there, wanted)
