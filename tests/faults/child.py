"""What a forked child does: one life of Coffer, from its start to the end of the flow or to a crashpoint."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ledger import crashpoint
from tests.faults import invariants, warm
from tests.faults.flow import Stage, close
from tests.faults.flows import FLOWS, STARTS
from tests.faults.kinds import settings_of
from tests.faults.place import Place
from tests.faults.world import World, found
from tests.faults.worlds import world as world_of

#: What a failed child ends with, so that it is never taken for a crashpoint's 137.
FAILED = 3


#: The line of a recording between two stages, where the shop's or the outside's own state may change.
STAGE_ENDS = "--"


@dataclass(frozen=True)
class Job:
    """`do`: `start` makes a snapshot's state, `live` begins a flow, `again` goes on after a death and judges the end.
    `warm` is done by the fork server itself."""

    do: str
    name: str  #: of a start or a flow
    place: Place
    crashpoint: str | None = None  #: `name#n`, as COFFER_CRASHPOINT
    log: str | None = None  #: as COFFER_CRASHPOINT_LOG

    def text(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def read(text: str) -> Job:
        values = json.loads(text)
        return Job(**(values | {"place": Place(**values["place"])}))


def main(job: Job) -> None:
    """Never returns. The child's output goes to `child.log` in the case's folder."""
    status = FAILED
    try:
        log = os.open(Path(job.place.folder) / "child.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        warm.after_fork()
        _JOBS[job.do](job)
        status = 0
    except BaseException:  # noqa: BLE001  # the parent hears of it by the status, a person by the log
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)  # no clean-up: the next life must not need it


def _start(job: Job) -> None:
    start = STARTS[job.name]
    if start.after is None:
        found(job.place)
        return
    world = world_of(job.place)
    world.open()
    _run(job, world, start.stages)


def _live(job: Job) -> None:
    flow = FLOWS[job.name]
    if flow.from_open:
        crashpoint.arm(job.crashpoint, job.log)
    world = _world(job)
    world.open()
    if not flow.from_open:
        crashpoint.arm(job.crashpoint, job.log)
    _run(job, world, flow.stages)
    _judge(job, world)


def _again(job: Job) -> None:
    world = _world(job)
    left = invariants.at_death(world)
    crashpoint.arm(job.crashpoint)
    world.expire_leases()
    world.open()
    _run(job, world, FLOWS[job.name].stages)
    _judge(job, world, left)


def _world(job: Job) -> World:
    return world_of(job.place, warm.app(settings_of(job.place)))


def _run(job: Job, world: World, stages: Sequence[Stage]) -> None:
    """The stages from the first that was not finished on."""
    progress = Path(job.place.folder) / "progress"
    done = int(progress.read_text()) if progress.exists() else 0
    for number, stage in enumerate(stages[done:], start=done + 1):
        stage(world)
        progress.write_text(str(number))
        if job.log is not None:
            with open(job.log, "a") as log:
                log.write(f"{STAGE_ENDS}\n")


def _judge(job: Job, world: World, left: Sequence[str] = ()) -> None:
    flow = FLOWS[job.name]
    if not flow.whole:
        crashpoint.arm(None)
    close(world)
    crashpoint.arm(None)
    result = [*(f"at death: {sentence}" for sentence in left), *invariants.check(world, flow.ends)]
    (Path(job.place.folder) / "violations.json").write_text(json.dumps(result))


_JOBS: dict[str, Callable[[Job], None]] = {"start": _start, "live": _live, "again": _again}
