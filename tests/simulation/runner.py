"""Runs seeds, in as many processes as asked, and counts."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence

import structlog

from tests.simulation import checks, world
from tests.simulation.world import Result

#: Seconds between two lines of progress.
PROGRESS_SECONDS = 20.0
#: Seeds that a process takes at a time.
CHUNK = 20
#: Objects after which Python looks for cycles: some times a seed instead of some hundred times.
COLLECT_AFTER = (50_000, 10, 10)


def prepare() -> None:
    """What the engine logs of faults that are meant to be is for nobody, and what it imported is never garbage."""
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.disable(logging.CRITICAL)


def play(seed: int) -> Result:
    """One seed; what it raises is a violation too."""
    try:
        return world.play(seed, checks.check)
    except Exception:  # noqa: BLE001  # whatever it is, it is this seed's
        return Result(seed, [traceback.format_exc(limit=-8)])


def one(seed: int, *, story: bool) -> int:
    prepare()
    result = play(seed)
    if story:
        print("\n".join(result.story))
    for violation in result.violations:
        print(f"seed {seed}: {violation}")
    print(_line(1, Counter(result.counts), result.places, bool(result.violations)))
    return 1 if result.violations else 0


def many(seeds: Sequence[int], workers: int, budget_seconds: float | None, *, violations_max: int | None) -> int:
    """Exit code: 0 when no seed shows a violation."""
    begun = told = time.monotonic()
    counts, places, done, bad = Counter[str](), 0, 0, 0
    for result in _results(seeds, workers):
        counts.update(result.counts)
        places += result.places
        done += 1
        if result.violations:
            bad += 1
            print(f"seed {result.seed}: " + "; ".join(result.violations[:3]), flush=True)
        now = time.monotonic()
        if now - told > PROGRESS_SECONDS:
            told = now
            print(f"{now - begun:.0f} s: {_line(done, counts, places, bad)}", flush=True)
        if budget_seconds is not None and now - begun > budget_seconds:
            break
        if violations_max is not None and bad >= violations_max:
            break
    print(", ".join(f"{what} {n}" for what, n in sorted(counts.items())))
    print(_line(done, counts, places, bad))
    return 1 if bad or not done else 0


def _results(seeds: Sequence[int], workers: int) -> Iterator[Result]:
    if workers == 1:
        prepare()
        yield from map(play, seeds)
        return
    with multiprocessing.get_context("spawn").Pool(workers, prepare) as pool:
        yield from pool.imap(_played, seeds, CHUNK)


def _played(seed: int) -> Result:
    """Without its story, which whoever wants it can have again."""
    result = play(seed)
    result.story = []
    return result


def _line(seeds: int, counts: Counter[str], places: int, violations: int) -> str:
    return f"seeds {seeds}, events {places}, deaths {counts['deaths']}, violations {violations}"
