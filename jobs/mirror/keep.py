"""The mirror: what Redis shows of the database, for reads that may not cost a query. Never the truth, and never read
by the engine itself.

How far it is stands in Redis beside it, written with it in one MULTI: whatever Redis loses, an older copy, all of it,
the mirror goes on from what is there. It is written by one at a time, and anything it writes may be written again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar, cast

import structlog
from redis import Redis
from redis.exceptions import LockError, RedisError
from redis.lock import Lock
from sqlalchemy import Row, func, select

from jobs.mirror import rows as mirror_rows
from jobs.mirror.rows import HISTORY_MAX, Cursor, Look
from jobs.services import Services
from jobs.tasks import Ran
from ledger.db import Database, Tx
from ledger.errors import CofferError
from ledger.founding import CHAINS
from ledger.schema import address, installation, ownership

T = TypeVar("T")
#: What redis-py takes for a hash.
Fields = dict[bytes | bytearray | memoryview | str | int | float, bytes | bytearray | memoryview | str | int | float]

log = structlog.get_logger("coffer.mirror")

STATE = "coffer:mirror"
PENDING = "coffer:mirror:pending"
LOCK = "coffer:mirror:lock"
#: What else of Redis is the mirror's.
PATTERNS = ("*:order:account:*", "monero:tag:order*", "ownership:history:*", PENDING)

#: A writer that died is waited for this long.
LOCK_SECONDS = 60
PATIENCE_SECONDS = LOCK_SECONDS + 5
CHUNK = 1_000


class MirrorBusy(CofferError):
    """Another process writes the mirror at this moment."""


@dataclass(frozen=True)
class State:
    """How far the mirror is."""

    installation: str
    addresses: Cursor
    ownership: Cursor


@dataclass(frozen=True)
class Step:
    """What one step wrote, and whether there is more to write. `rows`: of the histories, those new to the mirror."""

    orders: int
    rows: int
    more: bool


def task_step(row: Row[Any], services: Services) -> Ran:
    """Task step for `mirror`. Redis may be gone: then there is nothing to do, and nothing is wrong."""
    if services.redis is None:
        return Ran()
    try:
        step = advance(services.database, services.redis, patience_seconds=0)
    except (RedisError, MirrorBusy) as error:
        log.info("mirror not written", error=type(error).__name__)
        return Ran(reason="mirror_not_written")
    return Ran(due_us=0 if step.more else None)


def advance(database: Database, redis: Redis, *, patience_seconds: float = PATIENCE_SECONDS) -> Step:
    """Show the next batch of what is new. Begins anew when Redis has no mirror, or that of another or an older
    database. Raises `MirrorBusy`, `RedisError`."""
    with _writing(redis, patience_seconds) as lock:
        before = state(redis)
        if before is None or not database.read(lambda tx: _of(tx, before)):
            return _begin(database, redis, lock)
        waiting = [int(member) for member in redis.srandmember(PENDING, mirror_rows.BATCH) or []]
        seen = database.read(
            lambda tx: mirror_rows.look(tx, before.addresses, before.ownership, waiting), consistent=True
        )
        after = State(before.installation, seen.addresses, seen.ownership)
        rows = _write(redis, seen, after) if after != before or seen.ready else 0
    return Step(len(seen.orders), rows, seen.more)


def rebuild(database: Database, redis: Redis, tell: Callable[[Step], None] = lambda step: None) -> Step:
    """Forget all of the mirror and write it anew; what was written. `tell` hears the sums so far."""
    with _writing(redis, PATIENCE_SECONDS) as lock:
        done = _begin(database, redis, lock)
    while done.more:
        step = advance(database, redis)
        done = Step(done.orders + step.orders, done.rows + step.rows, step.more)
        tell(done)
    return done


def state(redis: Redis) -> State | None:
    """How far it is; None when there is no mirror that can be gone on with."""
    found: Any = redis.hgetall(STATE)
    try:
        return State(found[b"installation"].decode(), _cursor(found[b"addresses"]), _cursor(found[b"ownership"]))
    except (KeyError, ValueError, TypeError, AttributeError):
        return None


@contextmanager
def _writing(redis: Redis, patience_seconds: float) -> Iterator[Lock]:
    lock = redis.lock(LOCK, timeout=LOCK_SECONDS, blocking_timeout=patience_seconds)
    if not lock.acquire(blocking=patience_seconds > 0):
        raise MirrorBusy("another process writes the mirror at this moment; try again")
    try:
        yield lock
    finally:
        with suppress(LockError, RedisError):  # flushed with all the rest, or it runs out by itself
            lock.release()


def _of(tx: Tx, known: State) -> bool:
    """Whether a mirror is of this database, and not of a later state of it than a backup brought back."""
    if tx.value(select(installation.c.public_id)) != known.installation:
        return False
    ends = [tx.value(select(func.max(table.c.id))) or 0 for table in (address, ownership)]
    return known.addresses.last <= ends[0] and known.ownership.last <= ends[1]


def _begin(database: Database, redis: Redis, lock: Lock) -> Step:
    """An empty mirror with the newest rows of the histories. Orders, of which there may be many, come in batches."""
    redis.delete(STATE)
    for pattern in PATTERNS:
        for keys in chunks(redis.scan_iter(match=pattern, count=CHUNK)):
            redis.unlink(*keys)
            lock.reacquire()
    here, end = database.read(
        lambda tx: (tx.value(select(installation.c.public_id)), tx.value(select(func.max(ownership.c.id))) or 0)
    )
    rows = 0
    for chain in CHAINS:
        for part in chunks(database.read(lambda tx, c=chain: mirror_rows.newest(tx, c))):  # type: ignore[misc]
            for key, members in database.read(lambda tx, p=part: mirror_rows.history(tx, p)).items():  # type: ignore[misc]
                redis.zadd(key, members)
                rows += len(members)
            lock.reacquire()
    # The last of them are looked at once more: one with a lower id may not have been committed yet.
    redis.hset(STATE, mapping=_fields(State(here, Cursor(), Cursor(max(0, end - mirror_rows.BATCH)))))
    return Step(0, rows, more=True)


def _write(redis: Redis, seen: Look, after: State) -> int:
    """Show what was seen; how many rows of histories were not shown before."""
    with redis.pipeline(transaction=True) as pipe:
        for order in seen.orders:
            for key, fields in order.own.items():
                pipe.delete(key)
                pipe.hset(key, mapping=cast(Fields, fields))
            for key, fields in order.shared.items():
                pipe.hset(key, mapping=cast(Fields, fields))
        shown: list[int] = []  # places of the answers that count
        for key, members in seen.history.items():
            shown.append(len(pipe))
            pipe.zadd(key, members)
            pipe.zremrangebyrank(key, 0, -HISTORY_MAX - 1)
        if seen.pending:
            pipe.sadd(PENDING, *seen.pending)
        if seen.ready:
            pipe.srem(PENDING, *seen.ready)
        pipe.hset(STATE, mapping=_fields(after))
        answers = pipe.execute()
    return sum(answers[place] for place in shown)


def _fields(known: State) -> Fields:
    cursors = {"addresses": known.addresses, "ownership": known.ownership}
    found: Fields = {"installation": known.installation}
    for name, cursor in cursors.items():
        found[name] = mirror_rows.as_json([cursor.last, sorted(cursor.gaps.items())])
    return found


def _cursor(text: bytes) -> Cursor:
    last, gaps = json.loads(text)
    return Cursor(int(last), {int(row_id): int(since) for row_id, since in gaps})


def chunks(items: Iterable[T]) -> Iterator[list[T]]:
    rest = iter(items)
    while part := list(islice(rest, CHUNK)):
        yield part
