"""`coffer scheduler`: APScheduler wakes the periodic tasks when their rows say so. It decides nothing.

One is active, by a lease in the database; others stand by and take over when it runs out. Without any scheduler
the workers' sweepers find the same rows: this process only makes them quicker when a worker is busy with another.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
from datetime import UTC, datetime, timedelta

import structlog
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from jobs import bootstrap, leases
from jobs.saga import SECOND
from ledger.db import Database, Tx
from ledger.errors import DatabaseError, DatabaseUnavailable
from ledger.schema import task
from settings import Settings
from workers.stopping import on_signals

log = structlog.get_logger("coffer.scheduler")

LEASE = "scheduler"
LEASE_SECONDS = 15
#: The active one extends its lease, and a standby asks for it, this often.
RENEW_SECONDS = 3.0
#: A task that stays due (its worker is away) is not woken more often than this.
AGAIN_SECONDS = 5.0


class Wakers:
    """One APScheduler job a task, each at the moment when its row is due."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # One thread: the jobs are a read and an enqueue each, and the order does not matter.
        self._scheduler = BackgroundScheduler(executors={"default": ThreadPoolExecutor(1)}, timezone=UTC)
        tasks = database.read(lambda tx: tx.all(select(task.c.name, task.c.interval_us).order_by(task.c.id)))
        for name, seconds in ((row.name, row.interval_us / SECOND) for row in tasks):
            self._scheduler.add_job(
                self._look,
                "interval",
                id=name,
                args=[name, seconds],
                seconds=max(1, int(seconds)),
                next_run_time=datetime.now(UTC),
                coalesce=True,
                max_instances=1,
                misfire_grace_time=None,
            )

    def start(self) -> None:
        self._scheduler.start(paused=True)

    def resume(self) -> None:
        self._scheduler.resume()

    def pause(self) -> None:
        self._scheduler.pause()

    def shut_down(self) -> None:
        self._scheduler.shutdown(wait=False)

    def _look(self, name: str, interval_seconds: float) -> None:
        """Wake the task if it is due, and come back when it is due next."""
        try:
            wait = self._database.run(lambda tx: self._wake(tx, name), "scheduler.wake")
        except DatabaseError as error:
            log.warning("database", detail=error.detail)
            wait = None
        seconds = max(AGAIN_SECONDS, interval_seconds) if wait is None else wait
        self._scheduler.modify_job(name, next_run_time=datetime.now(UTC) + timedelta(seconds=seconds))

    def _wake(self, tx: Tx, name: str) -> float | None:
        """Seconds until the task is due; None when it is now, and has been woken."""
        row = tx.first(select(task.c.id, task.c.due_at).where(task.c.name == name))
        if row is None or row.due_at is None:
            return None
        if row.due_at > tx.now:
            return max(0.1, float(row.due_at - tx.now) / SECOND)
        tx.wake("task", row.id)
        return None


class Leadership:
    """The lease by which one of several schedulers is active."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._token = secrets.token_hex(16)
        self._owner = f"{socket.gethostname()}:{os.getpid()}"

    def hold(self) -> bool:
        """Take or extend the lease; False while another has it, or the database does not answer."""
        try:
            return self._database.run(
                lambda tx: leases.take(tx, LEASE, self._token, self._owner, LEASE_SECONDS), "scheduler.lease"
            )
        except DatabaseError as error:
            log.warning("database", detail=error.detail)
            return False

    def give_back(self) -> None:
        """Let a standby take over at once."""
        try:
            self._database.run(lambda tx: leases.give_back(tx, LEASE, self._token), "scheduler.stop")
        except DatabaseError as error:
            log.warning("database", detail=error.detail)


def run(settings: Settings) -> int:
    """Schedule, or stand by, until a signal; the exit code."""
    stop = on_signals()
    database = _database(settings, stop)
    if database is None:
        return 0
    wakers, leadership, active = Wakers(database), Leadership(database), False
    wakers.start()
    log.info("scheduler started")
    while not stop.is_set():
        held = leadership.hold()
        if held != active:
            active = held
            log.info("scheduler is active" if active else "scheduler stands by")
            wakers.resume() if active else wakers.pause()
        stop.wait(RENEW_SECONDS)
    wakers.shut_down()
    if active:
        leadership.give_back()
    log.info("scheduler stopped")
    return 0


def _database(settings: Settings, stop: threading.Event) -> Database | None:
    """The database with its wake-ups connected, once it answers; None when asked to stop before."""
    while not stop.is_set():
        try:
            return bootstrap.services(settings, pool_size=2).database
        except (DBAPIError, DatabaseUnavailable) as error:
            log.warning("the database cannot be reached yet", error=type(error).__name__)
            stop.wait(RENEW_SECONDS)
    return None
