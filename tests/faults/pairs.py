"""Two deaths in a flow: the recovery dies as well, at each place that it passes.

What the first death left is kept, so that one recovery which dies at all its places leaves all second wrecks. Most of
them are in a state that some death has left before, from which a recovery was judged already; only the others go on.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.faults.ground import Ground
from tests.faults.harness import Run, die_again, recover, walk
from tests.faults.runner import Runner, Task


@dataclass
class Tally:
    """Of one flow. `done`: firsts that were followed up, of all `states` that a first death leaves."""

    points: int = 0
    states: int = 0
    done: int = 0
    pairs: int = 0
    new: int = 0  #: pairs that left a state which no other death had left
    seconds: float = 0.0
    violations: list[str] = field(default_factory=list)


@dataclass
class Pairs:
    """`tallies` by task, as far as they went."""

    runner: Runner
    seed: int = 0
    tallied: Callable[[str, Tally], None] | None = None  #: told after each flow
    tallies: dict[str, Tally] = field(default_factory=dict)

    def run(self, ground: Ground, task: Task, until: float | None) -> None:
        """With `until`: as many first deaths as fit, in the order that the seed gives; otherwise all."""
        began = time.monotonic()
        lived = walk(ground, task.flow)
        tally = Tally(len(lived.points), sum(wreck.kept for wreck in lived.wrecks))
        known = {wreck.state for wreck in lived.wrecks}
        firsts = [wreck for wreck in lived.wrecks if wreck.kept]
        random.Random(f"{self.seed} {task}").shuffle(firsts)
        for first in firsts:
            if until is not None and time.monotonic() > until:
                break
            judged, seconds = die_again(ground, lived, first, known)
            tally.done += 1
            tally.pairs += len(seconds)
            self._note(tally, judged)
            for second in seconds:
                if second.kept:
                    tally.new += 1
                    known.add(second.state)
                    self._note(tally, recover(ground, lived, second, after=first.point))
        tally.seconds = time.monotonic() - began
        self.tallies[str(task)] = tally
        if self.tallied is not None:
            self.tallied(str(task), tally)
        self.runner.say(
            f"{task}, pairs: {tally.done} of {tally.states} first deaths, {tally.pairs} pairs, {tally.new} new states, "
            f"{tally.seconds:.0f} s"
        )

    def _note(self, tally: Tally, run: Run) -> None:
        self.runner.note(run)
        if run.violations:
            tally.violations.append(run.name)

    def line(self) -> str:
        done = self.tallies.values()
        return (
            f"pairs: {sum(t.pairs for t in done)} after {sum(t.done for t in done)} of {sum(t.states for t in done)} "
            f"first deaths in {len(self.tallies)} flows, {sum(t.new for t in done)} states that no single death leaves"
        )
