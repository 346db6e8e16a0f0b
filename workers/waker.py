"""Listens for wake-ups in Redis, in a thread of a worker. Convenience only: the sweeper is the guarantee.

RQ's worker with everything left out that we do not use or do not want from Redis: it neither forks nor handles
signals, raises no time-outs into running steps, obeys no commands from Redis, and drops what is not a wake-up.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import structlog
from redis import Redis
from redis.exceptions import RedisError
from rq import Queue, SimpleWorker
from rq.exceptions import DequeueTimeout, StopRequested
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.timeouts import BaseDeathPenalty
from rq.utils import now
from rq.worker import WorkerStatus

from jobs import queues
from jobs.queues import WakeUp

log = structlog.get_logger("coffer.waker")

#: How long Redis may show a worker that died; and how often registries are cleaned (NODES 5).
WORKER_TTL_SECONDS = 30
MAINTENANCE_SECONDS = 10
#: One blocking wait for a job; a stop is noticed this late at worst.
DEQUEUE_SECONDS = 2
RECONNECT_SECONDS = 1.0


class NoDeathPenalty(BaseDeathPenalty):
    """RQ would raise its time-out at any bytecode, also in the middle of a commit. Node calls have their own limits."""

    def setup_death_penalty(self) -> None:
        pass

    def cancel_death_penalty(self) -> None:
        pass


@contextmanager
def _ending_quietly() -> Iterator[None]:
    """A Redis that goes away ends RQ's work loop without its traceback; `listen` tells of it once."""
    try:
        yield
    except RedisError as error:
        log.debug("redis", error=type(error).__name__)
        raise StopRequested from error


class Waker(SimpleWorker):
    """Runs the wake-ups of one queue until `stop` is set."""

    job_class = WakeUp
    death_penalty_class = NoDeathPenalty

    def __init__(self, queue_name: str, redis: Redis, stop: threading.Event) -> None:
        self._stop = stop
        # A name of its own for every connection: Redis may still know the one before as alive.
        name = f"{queue_name}.{socket.gethostname()}.{os.getpid()}.{secrets.token_hex(3)}"
        super().__init__(
            [queues.queue(queue_name, redis)],
            name=name,
            connection=redis,
            worker_ttl=WORKER_TTL_SECONDS,
            maintenance_interval=MAINTENANCE_SECONDS,
            serializer=JSONSerializer,
            log_job_description=False,
        )

    @property
    def dequeue_timeout(self) -> int:
        return DEQUEUE_SECONDS

    def execute_job(self, job: Job, queue: Queue) -> None:
        """Run a wake-up; drop anything else before RQ looks at its function, arguments or callbacks."""
        try:
            assert isinstance(job, WakeUp)
            job.check()
        except Exception as error:  # noqa: BLE001  # whatever somebody has put into Redis
            log.warning("foreign job dropped", job=job.id, queue=queue.name, reason=type(error).__name__)
            queue.intermediate_queue.remove(job.id)
            self.connection.delete(job.key)
            return
        with _ending_quietly():
            super().execute_job(job, queue)

    def dequeue_job_and_maintain_ttl(
        self, timeout: int | None, max_idle_time: int | None = None
    ) -> tuple[Job, Queue] | None:
        """The next job. RQ's own would stay inside for as long as Redis is away."""
        self.set_state(WorkerStatus.IDLE)
        while True:
            self.heartbeat()
            with _ending_quietly():
                if self.should_run_maintenance_tasks:
                    self.run_maintenance_tasks()
                with suppress(DequeueTimeout):
                    return Queue.dequeue_any(
                        self.queues,
                        timeout,
                        connection=self.connection,
                        job_class=self.job_class,
                        serializer=self.serializer,
                        death_penalty_class=self.death_penalty_class,
                    )

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        """RQ calls this between two waits, which makes it the place to notice that we should stop."""
        if self._stop.is_set() and pipeline is None and self.get_state() != WorkerStatus.BUSY:
            raise StopRequested
        with _ending_quietly():
            super().heartbeat(timeout, pipeline)

    def run_maintenance_tasks(self) -> None:
        """Our own queue's registries; RQ would also clean groups, which we do not use."""
        self.clean_registries()
        self.last_cleaned_at = now()  # type: ignore[assignment]  # rq leaves it untyped

    def check_for_suspension(self, burst: bool) -> None:
        """`rq suspend` does nothing here: the sweeper would go on anyway. `coffer pause` is the way."""

    def _install_signal_handlers(self) -> None:
        """The process has its own (`workers.stopping`), and this is not its main thread."""

    def subscribe(self) -> None:
        """No commands over Redis: whoever can write there could stop us."""

    def unsubscribe(self) -> None:
        pass

    def procline(self, message: str) -> None:
        pass


def listen(url: str, queue_name: str, stop: threading.Event) -> None:
    """Serve the queue until `stop` is set. A Redis that is gone is waited for, and told of once."""
    away = False
    while not stop.is_set():
        redis = queues.connect(url)
        try:
            redis.ping()
            if away:
                log.info("redis is back", queue=queue_name)
            away = False
            Waker(queue_name, redis, stop).work(logging_level=None)
        except RedisError as error:
            if not away:
                log.warning("redis is away; rows are found by sweeping", queue=queue_name, error=type(error).__name__)
            away = True
        except Exception:  # the thread's edge: it must outlive whatever RQ or Redis came up with
            log.exception("listening was broken off", queue=queue_name)
        finally:
            redis.close()
        stop.wait(RECONNECT_SECONDS)
