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
from tests.faults import invariants, state, warm
from tests.faults.flow import Stage, close
from tests.faults.flows import FLOWS, STARTS
from tests.faults.kinds import settings_of
from tests.faults.place import Place
from tests.faults.twins import Twins, without_threads
from tests.faults.world import World, found
from tests.faults.worlds import world as world_of

#: What a failed child ends with, so that it is never taken for a crashpoint's 137.
FAILED = 3
#: A child that hangs is ended after this; its status is then -SIGALRM, which no test accepts.
CHILD_SECONDS = 90

#: The states that a life passed, one a stage.
PASSED = "passed"
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
    marks: str | None = None  #: states at the ends of stages from which lives came to a good end
    wrecks: str | None = None  #: a folder: die at every place, keep what each death left, and live on (see `twins`)

    def text(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def read(text: str) -> Job:
        values = json.loads(text)
        return Job(**(values | {"place": Place(**values["place"])}))


def main(job: Job, twins: Twins | None = None) -> None:
    """Never returns. The child's output goes to `child.log` in the case's folder."""
    status = FAILED
    try:
        log = os.open(Path(job.place.folder) / "child.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        warm.after_fork()
        _JOBS[job.do](job, twins)
        status = 0
    except BaseException:  # noqa: BLE001  # the parent hears of it by the status, a person by the log
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)  # no clean-up: the next life must not need it


def _start(job: Job, twins: Twins | None) -> None:
    start = STARTS[job.name]
    if start.after is None:
        found(job.place)
        return
    world = world_of(job.place)
    world.open()
    _run(job, world, start.stages)


def _live(job: Job, twins: Twins | None) -> None:
    flow = FLOWS[job.name]
    if flow.from_open:
        _arm(job, twins)
    world = _world(job, twins)
    world.open()
    if not flow.from_open:
        _arm(job, twins)
    _run(job, world, flow.stages)
    _judge(job, world)


def _again(job: Job, twins: Twins | None) -> None:
    world = _world(job, twins)
    left = invariants.at_death(world)
    _arm(job, twins)
    world.expire_leases()
    world.open()
    if _run(job, world, FLOWS[job.name].stages):
        _judge(job, world, left)
    else:
        _tell(job, [], left)


def _arm(job: Job, twins: Twins | None) -> None:
    if twins is None:
        crashpoint.arm(job.crashpoint, job.log)
    else:
        twins.arm(job.place.path, job.log, CHILD_SECONDS)


def _world(job: Job, twins: Twins | None) -> World:
    world = world_of(job.place, warm.app(settings_of(job.place)))
    if twins is not None:
        without_threads(world)
    return world


def _run(job: Job, world: World, stages: Sequence[Stage]) -> bool:
    """The stages from the first that was not finished on. False when the rest would repeat what was seen: at the end of
    a stage everything is as it was there in the undisturbed life, which has been judged."""
    progress = Path(job.place.folder) / "progress"
    done = int(progress.read_text()) if progress.exists() else 0
    for number, stage in enumerate(stages[done:], start=done + 1):
        stage(world)
        progress.write_text(str(number))
        if job.log is not None:
            with open(job.log, "a") as log:
                log.write(f"{STAGE_ENDS}\n")
        if job.marks is not None and _as_ever(job, world, Path(job.marks), number):
            return False
    return True


def _as_ever(job: Job, world: World, marks: Path, number: int) -> bool:
    """Write down how it is at the end of this stage; whether a life that was so has come to a good end."""
    here = f"{number}:{state.digest(job.place, world.database)}"
    with (job.place.path / PASSED).open("a") as file:
        file.write(f"{here}\n")
    return job.do == "again" and here in marks.read_text().split()


def _judge(job: Job, world: World, left: Sequence[str] = ()) -> None:
    flow = FLOWS[job.name]
    if not flow.whole:
        crashpoint.arm(None)
    close(world)
    crashpoint.arm(None)
    _tell(job, invariants.check(world, flow.ends), left)


def _tell(job: Job, found: Sequence[str], left: Sequence[str]) -> None:
    result = [*(f"at death: {sentence}" for sentence in left), *found]
    (Path(job.place.folder) / "violations.json").write_text(json.dumps(result))


_JOBS: dict[str, Callable[[Job, Twins | None], None]] = {"start": _start, "live": _live, "again": _again}
