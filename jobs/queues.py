"""Wake-ups through Redis: the only user of rq's Queue. Losing every one of them loses nothing but a little time.

A job carries two scalars, `advance(kind, id)`, in JSON. Workers run `WakeUp` jobs only: any other function, callback or
argument in Redis is refused before it is called, whoever put it there.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import structlog
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from rq import Queue
from rq.exceptions import NoSuchJobError
from rq.job import Job
from rq.serializers import DefaultSerializer, JSONSerializer
from sqlalchemy.exc import SQLAlchemyError

from ledger.errors import DatabaseError
from ledger.founding import CHAINS

log = structlog.get_logger("coffer.queues")

# Some paths of RQ and its dashboard read jobs without being told our serializer. With the default, pickle, whoever
# can write to Redis could run code in any process that looks at a job.
DefaultSerializer.dumps, DefaultSerializer.loads = JSONSerializer.dumps, JSONSerializer.loads

#: One a chain, one for what belongs to no chain, and one each for what calls strangers: exchanges and shops.
QUEUES = (*CHAINS, "tasks", "rates", "webhooks")
FUNCTION = "workers.entry.advance"
KINDS = frozenset({"deposit", "payment", "sweep", "escrow", "swap", "hedge", "delivery", "task"})

#: Far above the longest RPC time-out; the row's lease is what really bounds a step.
JOB_TIMEOUT_SECONDS = 600
#: A wake-up that waited this long is pointless: sweeping found its row. Bounds Redis while no worker is there.
JOB_TTL_SECONDS = 120
#: A task that was woken this short a time ago is not woken again: its interval finds what came after.
TASK_GAP_SECONDS = 0.1
#: After a failed enqueue Redis is left alone for a moment, so that a dead server costs requests nothing.
SULK_SECONDS = 2.0


class ForeignJob(Exception):
    """Something in Redis that is not one of our wake-ups. It is dropped, not run."""


class WakeUp(Job):
    """A job that can only be `advance(kind, id)`: no callback, web call, retry or repetition of RQ's is ever made."""

    def perform(self) -> Any:
        self.check()
        return super().perform()

    def check(self) -> tuple[str, int]:
        """The wake-up's kind and id. Raises `ForeignJob` for anything else."""
        arguments = self.args or ()
        callbacks = (self._success_callback_name, self._failure_callback_name, self._stopped_callback_name)
        extras = (*callbacks, self.webhooks, self.retries_left, self.repeats_left)
        if self.func_name != FUNCTION or self.kwargs or self.instance is not None or any(extras):
            raise ForeignJob(f"job {self.id}: not a wake-up")
        if len(arguments) != 2 or arguments[0] not in KINDS or type(arguments[1]) is not int or arguments[1] < 1:
            raise ForeignJob(f"job {self.id}: not the arguments of a wake-up")
        return arguments[0], arguments[1]

    def restore(self, raw_data: Any) -> Any:
        """As RQ's; a hash that cannot be read counts as no job, where RQ's worker would end."""
        try:
            return super().restore(raw_data)
        except Exception as error:
            raise NoSuchJobError(f"job {self.id} cannot be read: {type(error).__name__}") from error

    def execute_success_callback(self, *_: Any) -> None:
        """Never: RQ calls these also for jobs that were refused, and from its clean-up."""

    def execute_failure_callback(self, *_: Any) -> None:
        """Never."""

    def execute_stopped_callback(self, *_: Any) -> None:
        """Never."""

    def send_webhooks(self, *_: Any, **__: Any) -> None:
        """Never: it would call any address."""


def connect(url: str, *, retries: bool = False) -> Redis:
    """A connection that does not repeat commands by itself: a repeated enqueue would be a second job."""
    retry = None if retries else Retry(NoBackoff(), 0)
    options: dict[str, Any] = {} if retries else {"retry": retry}
    return Redis.from_url(url, socket_connect_timeout=1, socket_timeout=5 if not retries else None, **options)


class WakeUps:
    """Sends wake-ups after commits, best effort. `queue_of` names the queue of a (kind, id)."""

    def __init__(self, url: str, queue_of: Any) -> None:
        self._redis = connect(url)
        self._queue_of = queue_of
        self._queues = {name: queue(name, self._redis) for name in QUEUES}
        self._quiet_until = 0.0
        self._sent: dict[int, float] = {}

    def send(self, wakes: Sequence[tuple[str, int]]) -> None:
        """Enqueue, never raising: what cannot be sent is logged and forgotten."""
        if time.monotonic() < self._quiet_until:
            return
        for kind, row_id in wakes:
            if kind == "task" and not self._worth(row_id):
                continue
            try:
                name = self._queue_of(kind, row_id)
                if name in self._queues:
                    self._queues[name].enqueue(
                        FUNCTION,
                        kind,
                        row_id,
                        job_timeout=JOB_TIMEOUT_SECONDS,
                        ttl=JOB_TTL_SECONDS,
                        result_ttl=0,
                        failure_ttl=3600,
                    )
            except (RedisError, DatabaseError, SQLAlchemyError) as error:  # the commit stands, whatever happens here
                self._quiet_until = time.monotonic() + SULK_SECONDS
                log.warning("wake-up not sent", error=type(error).__name__)
                return

    def _worth(self, task_id: int) -> bool:
        now = time.monotonic()
        if now - self._sent.get(task_id, 0.0) < TASK_GAP_SECONDS:
            return False
        self._sent[task_id] = now
        return True


def queue(name: str, redis: Redis) -> Queue:
    """The queue of a name, JSON inside and wake-ups only."""
    return Queue(name, connection=redis, serializer=JSONSerializer, job_class=WakeUp)
