"""Records the crashpoints of a flow, then dies at each of them and checks what is left."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.faults.child import PASSED, STAGE_ENDS, Job
from tests.faults.flows import FLOWS
from tests.faults.ground import Ground
from tests.faults.twins import KILLED
from tests.faults.wrecks import Wreck, found_in, prepare


@dataclass(frozen=True)
class Run:
    """One death and its recovery. `violations` empty: everything held."""

    flow: str
    point: str
    db: str
    chain: str
    violations: tuple[str, ...]
    wallet_too: bool = False
    after: str | None = None  #: an earlier death, whose recovery died at the point

    @property
    def name(self) -> str:
        how = " with the wallet's process" if self.wallet_too else ""
        how += f", which recovered from {self.after}," if self.after else ""
        return f"{self.flow} at {self.point}{how} on {self.db}, {self.chain} chain"

    @property
    def replay(self) -> str:
        command = f"python -m tests.faults --db {self.db} --chain {self.chain} --only {self.flow}"
        if self.after:
            return f"{command} --point '{self.after}' --then '{self.point}'"
        return f"{command} --point '{self.point}'{' --wallet-too' if self.wallet_too else ''}"


@dataclass(frozen=True)
class Walk:
    """A flow's whole life without a death that was survived: its places, what a death at each leaves, and the state at
    the end of each stage."""

    flow: str
    points: Sequence[Point]
    wrecks: Sequence[Wreck]
    marks: Path


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
    _live_through(ground, flow, Job("live", flow, ground.begin(FLOWS[flow].start), log=str(_log(ground))))
    return _numbered(_log(ground).read_text().split())


def walk(ground: Ground, flow: str, *, every: bool = False) -> Walk:
    """As `record`, with a death at every place. `every`: keep also what looks as another wreck does.

    For grounds that consist of files and a database: a node would have to be copied as well.
    """
    wrecks = prepare(ground.root / "wrecks", every=every)
    marks = ground.root / "marks"
    marks.write_text("")
    place = ground.begin(FLOWS[flow].start)
    _live_through(ground, flow, Job("live", flow, place, log=str(_log(ground)), wrecks=str(wrecks), marks=str(marks)))
    _remember(ground, marks)
    points = _numbered(_log(ground).read_text().split())
    found = found_in(wrecks)
    assert [point.name for point in points] == [wreck.point for wreck in found]
    return Walk(flow, points, found, marks)


def _live_through(ground: Ground, flow: str, job: Job) -> None:
    status = ground.forks.run(job)
    violations = _verdict(ground, status, "the undisturbed run")
    if violations:
        raise AssertionError(f"{flow} without any crash: {violations}\n{_story(ground)}")


def _log(ground: Ground) -> Path:
    """The points that a life passes."""
    return ground.case / "points.log"


def recover(ground: Ground, walk: Walk, wreck: Wreck, *, whole: bool = False, after: str | None = None) -> Run:
    """Start again from what a death left, and check. The flow goes on until all is as it was at the end of that stage
    in a life that has been judged; `whole`: to its end. `after`: the death before that one."""
    place = ground.put_back(wreck.folder)
    status = ground.forks.run(Job("again", walk.flow, place, marks=None if whole else str(walk.marks)))
    return _judged(ground, walk, wreck.point, status, after)


def die_again(ground: Ground, walk: Walk, wreck: Wreck, known: Collection[str]) -> tuple[Run, Sequence[Wreck]]:
    """As `recover`, with a death at every place that the recovery passes: its own verdict, and what those deaths left
    that is not `known`."""
    folder = prepare(ground.root / "second", known)
    place = ground.put_back(wreck.folder)
    status = ground.forks.run(Job("again", walk.flow, place, marks=str(walk.marks), wrecks=str(folder)))
    return _judged(ground, walk, wreck.point, status), found_in(folder)


def _judged(ground: Ground, walk: Walk, point: str, status: int, after: str | None = None) -> Run:
    violations = _verdict(ground, status, "the run after the crash")
    if violations:
        _keep(ground, walk.flow, f"{after}-{point}" if after else point)
    else:
        _remember(ground, walk.marks)
    return Run(walk.flow, point, ground.db, ground.chain, tuple(violations), after=after)


def _remember(ground: Ground, marks: Path) -> None:
    """What the life that ended well has passed needs not be lived again."""
    passed = ground.case / PASSED
    if passed.exists():
        with marks.open("a") as file:
            file.write(passed.read_text())


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


def die_at(
    ground: Ground, flow: str, point: str, *, deaths: int = 1, wallet_too: bool = False, then: str | None = None
) -> Run:
    """Live until the point, die there, start again, come to the end, and check.

    With `deaths` 2 the second life dies too: at the place `then`, or where it passes the first one's name for the first
    time, if it does. With `wallet_too` the process that holds the keys is killed at the same moment and forgets what it
    had not stored.
    """
    place = ground.begin(FLOWS[flow].start)
    violations: list[str] = []
    status = ground.forks.run(Job("live", flow, place, crashpoint=point))
    if status != KILLED:
        violations.append(f"it did not die at the point: status {status}")
    if wallet_too:
        ground.node.kill_wallet()
    for _ in range(deaths - 1):
        ground.forks.run(Job("again", flow, place, crashpoint=then or point.partition("#")[0]))
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
