"""Who runs when: workers as greenlets in one thread, that stop, die and are stopped where a seed says.

Every place at which another process could come first is a *place* here: each unit of work and each read before it
begins, each node call, and each crashpoint. There the running worker may be made to wait while others go on, may be
stopped with its heartbeat (SIGSTOP), or may die: `Died` passes through everything, and what was not committed is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from random import Random
from typing import Any

from greenlet import getcurrent, greenlet
from sqlalchemy import Table, update

from jobs import leases
from jobs.runtime import LEASE_SECONDS, Runtime
from jobs.saga import SECOND, Saga
from jobs.services import Services
from ledger.db import Tx
from ledger.errors import CommitUnknown, DatabaseUnavailable
from tests.simulation.database import MemoryDatabase
from tests.simulation.odds import Odds

#: What one place takes by the clock, microseconds.
PLACE_US = 3_000


class Died(BaseException):
    """The process ended here."""


class Endless(AssertionError):
    """A run that does not come to its end."""


_Kept = tuple[Table, int, str, str | None]


class _Heartbeat:
    """The leases that a worker keeps; the machine extends them as time passes, unless the worker is stopped."""

    def __init__(self) -> None:
        self.kept: list[_Kept] = []

    @contextmanager
    def keep(self, table: Table, row_id: int, token: str, wallet_lease: str | None) -> Iterator[None]:
        entry = (table, row_id, token, wallet_lease)
        self.kept.append(entry)
        try:
            yield
        finally:
            self.kept.remove(entry)


class Worker:
    """A process with one thread that serves every queue."""

    def __init__(self, number: int, services: Services, sagas: dict[str, Saga], machine: Machine) -> None:
        self.number = number
        self.services = services
        self.runtime = Runtime(services.database, sagas, services)
        self.runtime.owner = f"w{number}"
        self.heartbeat = _Heartbeat()
        self.runtime.heartbeat = self.heartbeat  # type: ignore[assignment]
        self.runtime.sleep = machine.busy
        self.greenlet: greenlet | None = None
        self.stopped = False
        self.doomed = False

    @property
    def idle(self) -> bool:
        return self.greenlet is None


class Machine:
    """One run's time, chance and processes."""

    def __init__(self, rng: Random, odds: Odds, now_us: int, database: MemoryDatabase) -> None:
        self.rng = rng
        self.odds = odds
        self.now_us = now_us
        self.database = database
        self.workers: list[Worker] = []
        self.running: Worker | None = None
        self.story: list[str] = []
        self.counts: dict[str, int] = {}
        self.places = 0
        self.behind_us = 0  #: how far the clock was set back, and not made good since
        self._main = getcurrent()
        self._answering = False

    def tell(self, text: str) -> None:
        self.story.append(f"{self.now_us / 1e6:.3f} {text}")

    def count(self, what: str, by: int = 1) -> None:
        self.counts[what] = self.counts.get(what, 0) + by

    # Places

    def place(self, name: str) -> None:
        """A place outside any transaction: others may come first here."""
        self.places += 1
        self.now_us += PLACE_US
        worker = self.running
        if worker is None:
            return
        fate = self.rng.random()
        if fate < self.odds.die:
            self._die(worker, name)
        elif fate < self.odds.die + self.odds.switch:
            self._wait(worker, name)

    def crashpoint(self, name: str) -> None:
        """A place of the engine's own; `….before_commit` lies inside a transaction, where nobody else can run."""
        if name.endswith(".before_commit"):
            self._inside(name)
        elif name.endswith(".after_commit"):
            self._after(name)
        else:
            self.place(name)

    def _inside(self, name: str) -> None:
        if self.running is None and not self._answering:
            return
        fate = self.rng.random()
        if fate < self._die_odds():
            self._die(self.running, name)
        elif fate < self._die_odds() + self.odds.database:
            self.count("database faults")
            self.tell(f"database: {name} fails")
            raise (DatabaseUnavailable if fate < self._die_odds() + self.odds.database / 2 else CommitUnknown)(name)

    def _after(self, name: str) -> None:
        if self.running is None and not self._answering:
            return
        fate = self.rng.random()
        if fate < self._die_odds():
            self._die(self.running, name)
        elif fate < self._die_odds() + self.odds.database / 2:
            self.count("database faults")
            self.tell(f"database: the reply to COMMIT of {name} is lost")
            raise CommitUnknown(name)
        elif self.running is not None:
            self.place(name)

    def _die_odds(self) -> float:
        """Calls of the shop die with the API's process: as often as twenty places of a worker."""
        if self.running is not None:
            return self.odds.die
        return min(0.2, 20 * self.odds.die) if self._answering else 0.0

    def _die(self, worker: Worker | None, name: str) -> None:
        self.count("deaths")
        self.tell(f"{_name(worker)} dies at {name}")
        raise Died(name)

    def _wait(self, worker: Worker, name: str) -> None:
        self.count("switches")
        worker.stopped = self.rng.random() < self.odds.stop
        self.tell(f"{_name(worker)} {'is stopped' if worker.stopped else 'waits'} at {name}")
        self._main.switch()
        if worker.doomed:
            self._die(worker, name)

    def busy(self, seconds: float) -> None:
        """The engine waits for another worker's lease."""
        self.now_us += int(seconds * SECOND)
        worker = self.running
        if worker is not None:
            self.tell(f"{_name(worker)} finds the wallet busy")
            self._main.switch()
            if worker.doomed:
                self._die(worker, "busy")

    # Workers

    def run(self, worker: Worker, job: Callable[[], Any], what: str) -> None:
        """Have an idle worker do this until it is done, waits or dies."""
        self.tell(f"{_name(worker)}: {what}")
        worker.greenlet = greenlet(lambda: job(), parent=self._main)
        self._enter(worker)

    def resume(self, worker: Worker) -> None:
        if worker.stopped:
            self.tell(f"{_name(worker)} goes on")
        worker.stopped = False
        self._enter(worker)

    def _enter(self, worker: Worker) -> None:
        assert worker.greenlet is not None
        self.running = worker
        try:
            worker.greenlet.switch()
        except Died:
            self.bury(worker)
        finally:
            self.running = None
        if worker.greenlet is not None and worker.greenlet.dead:
            worker.greenlet = None

    def kill(self, worker: Worker) -> None:
        """A waiting worker ends where it is."""
        worker.doomed = True
        self._enter(worker)

    def bury(self, worker: Worker) -> None:
        """Its place is taken by a new process."""
        worker.greenlet = None
        self.on_death(worker)

    def on_death(self, worker: Worker) -> None:
        raise NotImplementedError

    @contextmanager
    def answering(self) -> Iterator[None]:
        """A call of the shop's is being answered."""
        self._answering = True
        try:
            yield
        finally:
            self._answering = False

    # Time

    def forward(self, us: int) -> None:
        """Time passes. Who waits for something slow keeps its leases meanwhile; who is stopped does not."""
        self.now_us += us
        if us * 3 >= LEASE_SECONDS * SECOND:
            for worker in self.workers:
                if worker.greenlet is not None and not worker.stopped and worker.heartbeat.kept:
                    self.database.run(lambda tx, w=worker: _extend(tx, w), "heartbeat")  # type: ignore[misc]

    def jump(self, us: int) -> None:
        """The clock is set: no time passes, and no heart beats in between."""
        self.tell(f"the clock jumps by {us / SECOND:.0f} s")
        self.count("clock jumps")
        self.now_us += us
        self.behind_us = max(0, self.behind_us - us)


def _extend(tx: Tx, worker: Worker) -> None:
    for table, row_id, token, wallet_lease in worker.heartbeat.kept:
        ours = (table.c.id == row_id) & (table.c.lease_token == token) & (table.c.lease_until > 0)
        tx.execute(update(table).where(ours).values(lease_until=tx.now + LEASE_SECONDS * SECOND))
        if wallet_lease is not None:
            leases.extend(tx, wallet_lease, token, LEASE_SECONDS)


def _name(worker: Worker | None) -> str:
    return "the API" if worker is None else f"w{worker.number}"


def summed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{what} {n}" for what, n in sorted(counts.items()))
