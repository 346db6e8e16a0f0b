"""Runs many deaths on several grounds at once, tells progress, and counts."""

from __future__ import annotations

import random
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from devstack.mariadb import MariaDB
from tests.faults.flows import FLOWS
from tests.faults.ground import Ground, fast_folder
from tests.faults.harness import Point, Run, die_at, record
from tests.faults.kinds import KINDS

#: How the places begin that a brief flow leaves to others.
_OTHERS = ("task.", *(f"api.create_{what}." for what in ("account", "address", "withdrawal", "transfer")))
#: Model chains: no node has to be told.
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
    broken: list[str] = field(default_factory=list)  #: flows that fail without any crash

    def line(self) -> str:
        return f"points {self.points}, runs {self.runs}, violations {len(self.violations) + len(self.broken)}"


def tasks(dbs: Iterable[str], chains: Iterable[str], only: Sequence[str] = ()) -> list[Task]:
    """What there is to do, the longest first; on a real node once is enough, so one database does for it."""
    found = []
    for chain in chains:
        for db in dbs if chain in QUICK else list(dbs)[:1]:
            wanted = [f for f in FLOWS.values() if chain in f.chains and (not only or f.name in only)]
            found += [Task(db, chain, f.name) for f in sorted(wanted, key=lambda f: -len(f.stages))]
    return found


class Runner:
    """`workers` threads, each with grounds of its own, share one list of tasks."""

    def __init__(
        self,
        workers: int = 2,
        budget_seconds: float | None = None,
        deaths: int = 1,
        *,
        every: bool = False,
        wallet_too: bool = False,
    ) -> None:
        self.root = fast_folder("coffer-faults-")
        self.totals = Totals()
        self._workers = workers
        self._deadline = None if budget_seconds is None else time.monotonic() + budget_seconds
        self._deaths = deaths
        self._every = every
        self._wallet_too = wallet_too
        self._left = 0
        self._lock = threading.Lock()
        self._local = threading.local()
        self._grounds: list[Ground] = []
        self._server: MariaDB | None = None

    def list_points(self, wanted: Sequence[Task]) -> None:
        """Record only."""
        self._each(wanted, self._list)

    def run(self, wanted: Sequence[Task], point: str | None = None) -> None:
        """Die everywhere, or at one point of each task. With a budget: at as many as fit, spread over all flows."""
        self._left = len(wanted)
        self._each(wanted, lambda task: self._run(task, point))

    def close(self) -> None:
        for ground in self._grounds:
            ground.close()
        if self._server is not None:
            self._server.stop()
        if self.totals.violations:
            print(f"the folders of what went wrong are under {self.root}/*/kept")
        else:
            shutil.rmtree(self.root, ignore_errors=True)

    def _each(self, wanted: Sequence[Task], act: Callable[[Task], None]) -> None:
        with ThreadPoolExecutor(self._workers) as pool:
            for done in [pool.submit(act, task) for task in wanted]:
                done.result()

    def _recorded(self, task: Task) -> list[Point]:
        try:
            points = record(self._ground(task), task.flow)
        except (AssertionError, RuntimeError) as error:
            with self._lock:
                self.totals.broken.append(str(task))
                print(f"VIOLATION without any crash: {task}\n{str(error)[:1_000]}\n…{str(error)[-3_000:]}", flush=True)
            return []
        with self._lock:
            self.totals.points += len(points)
        return points

    def _list(self, task: Task) -> None:
        points = self._recorded(task)
        with self._lock:
            print(f"{task}: {len(points)} points", *(f"  {point.name}" for point in points), sep="\n", flush=True)

    def _run(self, task: Task, point: str | None) -> None:
        began = time.monotonic()
        points = self._recorded(task)
        chosen = self._chosen(task, points) if point is None else [(point, self._wallet_too)]
        if self._deadline is not None:
            chosen = random.sample(chosen, len(chosen))
        until = self._until()
        ran = 0
        for name, wallet_too in chosen:
            if until is not None and time.monotonic() > until:
                break
            self._note(die_at(self._ground(task), task.flow, name, deaths=self._deaths, wallet_too=wallet_too))
            ran += 1
        with self._lock:
            self._left -= 1
            print(f"{task}: {len(points)} points, {ran} runs, {time.monotonic() - began:.0f} s", flush=True)

    def _chosen(self, task: Task, points: Sequence[Point]) -> list[tuple[str, bool]]:
        """The deaths of a task: at each point, and at those around calls to another process also together with it."""
        calls, brief = KINDS[task.chain].wallet_calls, FLOWS[task.flow].brief and not self._every
        wanted = [point for point in points if not (brief and point.name.startswith(_OTHERS))]
        alone = [point for point in wanted if point.alone or self._wants_all(task)]
        too = [(point.name, True) for point in points if calls and point.name.startswith(calls)]
        return ([] if self._wallet_too else [(point.name, False) for point in alone]) + too

    def _wants_all(self, task: Task) -> bool:
        """Unless told otherwise, places that leave the same behind are all visited on the quickest ground only."""
        return self._every or (task.db == "sqlite" and task.chain in QUICK)

    def _until(self) -> float | None:
        """When this task must end, so that those after it get their share of what is left of the budget."""
        if self._deadline is None:
            return None
        left = self._deadline - time.monotonic()
        return time.monotonic() + max(0.0, left * min(self._workers, self._left) / max(1, self._left))

    def _note(self, run: Run) -> None:
        with self._lock:
            self.totals.runs += 1
            if run.violations:
                self.totals.violations.append(run)
                print(f"VIOLATION {run.name}", *(f"  {v}" for v in run.violations), f"  replay: {run.replay}", sep="\n")

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
