"""What `make faults` does in its time, and the run of all pairs that is done once."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Sequence

from devstack.programs import ROOT
from tests.faults import record
from tests.faults.pairs import Pairs
from tests.faults.runner import QUICK, Runner, Task
from tests.faults.singles import Singles

#: Of what the model chains' single deaths leave of the time: for real nodes, then for pairs; the rest is for seeds.
NODES_SHARE, PAIRS_SHARE = 0.6, 0.6
#: Simulation is not worth starting for less.
SEEDS_SECONDS_MIN = 5.0
_SEEDS_APART = 1_000_000


def within(runner: Runner, singles: Singles, wanted: Sequence[Task], budget_seconds: float) -> None:
    """All single deaths on model chains; then a sample of those on real nodes, of pairs, and seeds of a simulation."""
    end = time.monotonic() + budget_seconds
    quick = [task for task in wanted if task.chain in QUICK]
    nodes = _on_nodes(wanted, singles.seed)
    runner.say(f"budget {budget_seconds:.0f} s on {runner.workers} cores, seed {singles.seed}")
    runner.say(f"single deaths on model chains: {len(quick)} flows, all states that a death leaves")
    runner.each(quick, singles.run)
    left = end - time.monotonic()
    shares = (left * NODES_SHARE, left * (1 - NODES_SHARE) * PAIRS_SHARE)
    runner.say(f"single deaths on real nodes: {len(nodes)} flows, a sample of {shares[0]:.0f} s")
    runner.each(nodes, singles.run, shares[0])
    pairs = Pairs(runner, singles.seed)
    runner.say(f"pairs of deaths: a sample of {shares[1]:.0f} s")
    runner.each(_in_seeds_order([t for t in quick if t.db == "sqlite"], singles.seed), pairs.run, shares[1])
    runner.say(pairs.line())
    simulate(runner, singles.seed, end - time.monotonic())


def _on_nodes(wanted: Sequence[Task], seed: int) -> list[Task]:
    """Each flow on one of the databases, which the seed draws."""
    dice = random.Random(f"{seed} databases")
    mixed: dict[tuple[str, str], list[Task]] = defaultdict(list)
    for task in wanted:
        if task.chain not in QUICK:
            mixed[task.chain, task.flow].append(task)
    return _in_seeds_order([dice.choice(choices) for choices in mixed.values()], seed)


def _in_seeds_order(wanted: Sequence[Task], seed: int) -> list[Task]:
    return random.Random(f"{seed} order").sample(list(wanted), len(wanted))


def simulate(runner: Runner, seed: int, seconds: float) -> None:
    """As many seeds of the simulation as fit."""
    if seconds < SEEDS_SECONDS_MIN:
        runner.say("simulation: no time left")
        return
    first = seed * _SEEDS_APART
    command = [sys.executable, "-m", "tests.simulation", "--seeds", f"{first}..{first + _SEEDS_APART - 1}"]
    runner.say(f"simulation: seeds from {first} on, {seconds:.0f} s")
    done = subprocess.run(
        [*command, "--budget", f"{seconds:.0f}", "--workers", str(runner.workers)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    runner.say(*(done.stdout.strip().splitlines() or ["simulation: no output"])[-1:])
    if done.returncode != 0:
        runner.note_broken("simulation", done.stdout[-4_000:] + done.stderr[-2_000:])


def all_pairs(runner: Runner, wanted: Sequence[Task]) -> None:
    """Those flows that the record does not have for this commit; it is written after each."""
    book = record.Book.open()
    pairs = Pairs(runner, tallied=book.write)
    left = [task for task in wanted if str(task) not in book.tallies]
    runner.say(f"all pairs at {book.commit}: {len(left)} of {len(wanted)} flows to do")
    runner.each(left, pairs.run)
    if all(str(task) in book.tallies for task in wanted):
        book.publish()
