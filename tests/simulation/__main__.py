"""`python -m tests.simulation`: many seeds, or one with its story. See docs/simulation.md."""

from __future__ import annotations

import argparse
import sys

from tests.simulation import runner


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", default="0..999", metavar="A..B", help="from A up to and with B")
    parser.add_argument("--seed", type=int, help="this one alone")
    parser.add_argument("--story", action="store_true", help="tell all that happened (with --seed)")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument("--budget", type=float, metavar="SECONDS", help="as many of the seeds, in order, as fit")
    parser.add_argument("--keep-going", action="store_true", help="tell of every violation; without it, end after ten")
    options = parser.parse_args(arguments)
    if options.seed is not None:
        return runner.one(options.seed, story=options.story)
    first, _, last = options.seeds.partition("..")
    seeds = range(int(first), int(last or first) + 1)
    return runner.many(seeds, options.workers, options.budget, violations_max=None if options.keep_going else 10)


if __name__ == "__main__":
    sys.exit(main())
