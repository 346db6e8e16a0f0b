"""Records the crashpoints of a flow, then dies at each of them and checks what is left."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tests.faults.child import STAGE_ENDS, Job
from tests.faults.flows import FLOWS
from tests.faults.ground import Ground

#: What `os._exit(137)` looks like from outside; the same as SIGKILL to a shell.
KILLED = 137


@dataclass(frozen=True)
class Run:
    """One death and its recovery. `violations` empty: everything held."""

    flow: str
    point: str
    db: str
    chain: str
    violations: tuple[str, ...]
    wallet_too: bool = False

    @property
    def name(self) -> str:
        how = " with the wallet's process" if self.wallet_too else ""
        return f"{self.flow} at {self.point}{how} on {self.db}, {self.chain} chain"

    @property
    def replay(self) -> str:
        command = f"python -m tests.faults --db {self.db} --chain {self.chain} --only {self.flow}"
        return f"{command} --point '{self.point}'{' --wallet-too' if self.wallet_too else ''}"


@dataclass(frozen=True)
class Point:
    """A crashpoint that a flow passes, as `name#n`.

    `alone`: no later one leaves the same behind. What is true after a commit or a call is still true when the next one
    is about to begin, unless a stage ends between them.
    """

    name: str
    alone: bool


def record(ground: Ground, flow: str) -> list[Point]:
    """Run the flow through without a death; every crashpoint that it passed, in order.

    Raises when the undisturbed flow itself breaks an invariant: then nothing else means anything.
    """
    place = ground.begin(FLOWS[flow].start)
    log = ground.case / "points.log"
    log.touch()
    status = ground.forks.run(Job("live", flow, place, log=str(log)))
    violations = _verdict(ground, status, "the undisturbed run")
    if violations:
        raise AssertionError(f"{flow} without any crash: {violations}\n{_story(ground)}")
    return _numbered(log.read_text().split())


def _numbered(names: Sequence[str]) -> list[Point]:
    seen: Counter[str] = Counter()
    points = []
    for name, following in zip(names, [*names[1:], STAGE_ENDS], strict=True):
        if name == STAGE_ENDS:
            continue
        seen[name] += 1
        changes = name.endswith((".before", ".before_commit"))
        points.append(Point(f"{name}#{seen[name]}", changes or following == STAGE_ENDS))
    return points


def die_at(ground: Ground, flow: str, point: str, *, deaths: int = 1, wallet_too: bool = False) -> Run:
    """Live until the point, die there, start again, come to the end, and check.

    With `deaths` 2 the second life dies too, where it passes the point's name for the first time, if it does. With
    `wallet_too` the process that holds the keys is killed at the same moment and forgets what it had not stored.
    """
    place = ground.begin(FLOWS[flow].start)
    violations: list[str] = []
    status = ground.forks.run(Job("live", flow, place, crashpoint=point))
    if status != KILLED:
        violations.append(f"it did not die at the point: status {status}")
    if wallet_too:
        ground.node.kill_wallet()
    for _ in range(deaths - 1):
        ground.forks.run(Job("again", flow, place, crashpoint=point.partition("#")[0]))
    status = ground.forks.run(Job("again", flow, place))
    violations += _verdict(ground, status, "the run after the crash")
    if violations:
        _keep(ground, flow, point)
    return Run(flow, point, ground.db, ground.chain, tuple(violations), wallet_too)


def _verdict(ground: Ground, status: int, what: str) -> list[str]:
    if status != 0:
        return [f"{what} ended with status {status}: {_last_line(ground)}"]
    found: list[str] = json.loads((ground.case / "violations.json").read_text())
    return found


def _last_line(ground: Ground) -> str:
    return (_story(ground).strip().splitlines() or ["(no output)"])[-1]


def _story(ground: Ground) -> str:
    return (ground.case / "child.log").read_text()


def _keep(ground: Ground, flow: str, point: str) -> None:
    """The folder of a case that went wrong stays, for whoever looks into it."""
    target = ground.root / "kept" / f"{flow}-{point}"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(ground.case, target)
