"""What `make faults` does in its time, and the run of all pairs that is done once."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Sequence

from devstack.programs import ROOT
from tests.faults import record
from tests.faults.pairs import Pairs
from tests.faults.runner import QUICK, Runner, Task
from tests.faults.singles import Singles

#: All single deaths on model chains take less than this, where a core is as quick as most.
QUICK_SHARE = 0.75
#: Of what the model chains' single deaths leave of the time: for real nodes, then for pairs; the rest is for seeds.
NODES_SHARE, PAIRS_SHARE = 0.6, 0.6
#: How many flows of a real chain the seed draws: recording one costs as much as some deaths.
NODE_FLOWS = {"bitcoin": 3, "ethereum": 7, "monero": 3, "monero-accounts": 1}
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
    runner.each(quick, singles.run, budget_seconds * QUICK_SHARE)
    left = end - time.monotonic()
    shares = (left * NODES_SHARE, left * (1 - NODES_SHARE) * PAIRS_SHARE)
    runner.say(f"single deaths on real nodes: {len(nodes)} flows that the seed draws, a sample of {shares[0]:.0f} s")
    runner.in_shares(_lanes(nodes, runner.workers), singles.run, shares[0])
    pairs = Pairs(runner, singles.seed)
    runner.say(f"pairs of deaths: a sample of {shares[1]:.0f} s")
    firsts = _in_seeds_order([task for task in quick if task.db == "sqlite"], singles.seed)
    runner.in_shares([firsts[n :: runner.workers] for n in range(runner.workers)], pairs.run, shares[1])
    runner.say(pairs.line())
    simulate(runner, singles.seed, end - time.monotonic())


def _on_nodes(wanted: Sequence[Task], seed: int) -> list[Task]:
    """Some flows of each real chain, with one of the databases: the seed draws both."""
    dice = random.Random(f"{seed} databases")
    nodes = [task for task in wanted if task.chain not in QUICK]
    dbs = {
        chain: dice.choice([t.db for t in nodes if t.chain == chain]) for chain in dict.fromkeys(t.chain for t in nodes)
    }
    drawn = []
    for chain, db in dbs.items():
        drawn += _in_seeds_order([t for t in nodes if (t.chain, t.db) == (chain, db)], seed)[: NODE_FLOWS[chain]]
    return drawn


def _lanes(nodes: Sequence[Task], workers: int) -> list[list[Task]]:
    """Monero, where a death costs seconds, by one worker, all others by another; each chain after the other."""
    ordered = sorted(nodes, key=lambda task: task.chain)
    if workers == 1:
        return [ordered]
    slow = [task for task in ordered if task.chain.startswith("monero")]
    return [lane for lane in (slow, [task for task in ordered if task not in slow]) if lane]


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
