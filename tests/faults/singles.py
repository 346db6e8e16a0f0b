"""One death in a flow: at each of its places, or at as many as fit."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tests.faults.flows import FLOWS
from tests.faults.ground import Ground
from tests.faults.harness import Point, Run, die_at, record, recover, walk
from tests.faults.runner import QUICK, Runner, Task, wallet_calls

#: How the places begin that a brief flow leaves to others.
_OTHERS = ("task.", *(f"api.create_{what}." for what in ("account", "address", "withdrawal", "transfer")))
#: One recovery in so many goes on to the end of its flow though it could be judged earlier.
WHOLE_EVERY = 10


@dataclass(frozen=True)
class Singles:
    """`every`: also places that leave what another has left, each by a life of its own, and each to its flow's end."""

    runner: Runner
    seed: int = 0
    deaths: int = 1
    every: bool = False
    wallet_too: bool = False
    point: str | None = None
    then: str | None = None

    def at(self, point: str, then: str | None) -> Singles:
        return replace(self, point=point, then=then)

    def list(self, ground: Ground, task: Task, until: float | None) -> None:
        points = record(ground, task.flow)
        self.runner.note_points(len(points))
        self.runner.say(f"{task}: {len(points)} points", *(f"  {point.name}" for point in points))

    def run(self, ground: Ground, task: Task, until: float | None) -> None:
        alone = self.every or self.wallet_too or self.deaths > 1 or self.point is not None
        began = time.monotonic()
        told = self._each_by_itself if alone or task.chain not in QUICK else self._by_wrecks
        self.runner.say(f"{task}: {told(ground, task, until)}, {time.monotonic() - began:.0f} s")

    def _by_wrecks(self, ground: Ground, task: Task, until: float | None) -> str:
        """One life dies at all places; what differs in what it left is recovered from."""
        lived = walk(ground, task.flow)
        self.runner.note_points(len(lived.points))
        kept = [wreck for wreck in lived.wrecks if wreck.kept]
        dice = random.Random(f"{self.seed} {task}")
        ran = 0
        for wreck in dice.sample(kept, len(kept)):
            if until is not None and time.monotonic() > until:
                break
            self.runner.note(recover(ground, lived, wreck, whole=dice.randrange(WHOLE_EVERY) == 0))
            ran += 1
        return f"{len(lived.points)} points, {len(kept)} states left behind, {ran} runs"

    def _each_by_itself(self, ground: Ground, task: Task, until: float | None) -> str:
        points = record(ground, task.flow)
        self.runner.note_points(len(points))
        chosen = self._chosen(task, points)
        if until is not None:
            random.Random(f"{self.seed} {task}").shuffle(chosen)
        ran = 0
        for name, wallet_too in chosen:
            if until is not None and time.monotonic() > until:
                break
            self.runner.note(self._die(ground, task, name, wallet_too))
            ran += 1
        return f"{len(points)} points, {ran} of {len(chosen)} runs"

    def _die(self, ground: Ground, task: Task, name: str, wallet_too: bool) -> Run:
        return die_at(ground, task.flow, name, deaths=self.deaths, wallet_too=wallet_too, then=self.then)

    def _chosen(self, task: Task, points: Sequence[Point]) -> list[tuple[str, bool]]:
        """The deaths of a task: at each point, and at those around calls to another process also together with it."""
        if self.point is not None:
            return [(self.point, self.wallet_too)]
        calls, brief = wallet_calls(task), FLOWS[task.flow].brief and not self.every
        wanted = [point for point in points if not (brief and point.name.startswith(_OTHERS))]
        alone = [point for point in wanted if point.alone or self.every]
        too = [(point.name, True) for point in points if calls and point.name.startswith(calls)]
        return ([] if self.wallet_too else [(point.name, False) for point in alone]) + too
