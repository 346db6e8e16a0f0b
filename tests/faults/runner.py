"""Workers that share one list of tasks, each with grounds of its own; they tell progress and count."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from devstack.mariadb import MariaDB
from tests.faults.flows import FLOWS
from tests.faults.ground import Ground, fast_folder
from tests.faults.harness import Run
from tests.faults.kinds import KINDS

#: Model chains: files, so that a wreck can be copied.
QUICK = ("fake", "trades")


@dataclass(frozen=True)
class Task:
    """One flow on one ground."""

    db: str
    chain: str
    flow: str

    def __str__(self) -> str:
        return f"{self.flow} on {self.db}, {self.chain} chain"


@dataclass
class Totals:
    points: int = 0
    runs: int = 0
    violations: list[Run] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)  #: what fails without any crash

    @property
    def bad(self) -> int:
        return len(self.violations) + len(self.broken)

    def line(self) -> str:
        return f"points {self.points}, runs {self.runs}, violations {self.bad}"


def tasks(dbs: Iterable[str], chains: Iterable[str], only: Sequence[str] = ()) -> list[Task]:
    """What there is to do, the longest flows of each ground first."""
    found = []
    for chain in chains:
        for db in dbs:
            wanted = [f for f in FLOWS.values() if chain in f.chains and (not only or f.name in only)]
            found += [Task(db, chain, f.name) for f in sorted(wanted, key=lambda f: -len(f.stages))]
    return found


#: What is done with a task on its ground, until a moment of the monotonic clock.
Act = Callable[[Ground, Task, float | None], None]


class Runner:
    """Two acts never run on one ground at once."""

    def __init__(self, workers: int = 2) -> None:
        self.root = fast_folder("coffer-faults-")
        self.totals = Totals()
        self.workers = workers
        self._lock = threading.Lock()
        self._local = threading.local()
        self._grounds: list[Ground] = []
        self._server: MariaDB | None = None

    def each(self, wanted: Sequence[Task], act: Act, seconds: float | None = None) -> None:
        """`act` on each task, whoever is free taking the next. After so many `seconds` all are to end."""
        end = None if seconds is None else time.monotonic() + seconds
        with ThreadPoolExecutor(self.workers) as pool:
            for done in [pool.submit(self._one, task, act, end) for task in wanted]:
                done.result()

    def in_shares(self, lanes: Sequence[Sequence[Task]], act: Act, seconds: float) -> None:
        """Each lane by a worker of its own, so that no other makes its grounds; each task is given its share of what is
        left of the `seconds` when its turn comes."""
        end = time.monotonic() + seconds

        def one_by_one(lane: Sequence[Task]) -> None:
            for nth, task in enumerate(lane):
                now = time.monotonic()
                self._one(task, act, now + max(0.0, end - now) / (len(lane) - nth))

        with ThreadPoolExecutor(len(lanes) or 1) as pool:
            for done in [pool.submit(one_by_one, lane) for lane in lanes]:
                done.result()

    def _one(self, task: Task, act: Act, until: float | None) -> None:
        try:
            if until is not None and until <= time.monotonic():
                self.say(f"{task}: no time left")
                return
            act(self._ground(task), task, until)
        except (AssertionError, RuntimeError) as error:
            self.note_broken(task, error)

    def note(self, run: Run) -> None:
        with self._lock:
            self.totals.runs += 1
            if run.violations:
                self.totals.violations.append(run)
                print(f"VIOLATION {run.name}", *(f"  {v}" for v in run.violations), f"  replay: {run.replay}", sep="\n")

    def note_points(self, points: int) -> None:
        with self._lock:
            self.totals.points += points

    def note_broken(self, task: object, error: Exception | str) -> None:
        with self._lock:
            self.totals.broken.append(str(task))
            print(f"VIOLATION without any crash: {task}\n{str(error)[:1_000]}\n…{str(error)[-3_000:]}", flush=True)

    def say(self, *lines: str) -> None:
        with self._lock:
            print(*lines, sep="\n", flush=True)

    def close(self) -> None:
        for ground in self._grounds:
            ground.close()
        if self._server is not None:
            self._server.stop()
        if self.totals.violations:
            print(f"the folders of what went wrong are under {self.root}/*/kept")
        else:
            shutil.rmtree(self.root, ignore_errors=True)

    def _ground(self, task: Task) -> Ground:
        mine: dict[tuple[str, str], Ground] = self._local.__dict__
        key = (task.db, task.chain)
        if key not in mine:
            with self._lock:
                number = len(self._grounds)
                ground = Ground(
                    task.db, task.chain, self.root / f"{task.db}-{task.chain}-{number}", self._mariadb, number
                )
                self._grounds.append(ground)
            mine[key] = ground
        return mine[key]

    def _mariadb(self) -> MariaDB:
        with self._lock:
            if self._server is None:
                self._server = MariaDB(self.root / "mariadb")
                self._server.start()
            return self._server


def wallet_calls(task: Task) -> str:
    """How the places begin at which another process holds the keys, so that it may die at the same moment."""
    return KINDS[task.chain].wallet_calls
