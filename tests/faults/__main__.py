"""`python -m tests.faults`: die at every crashpoint of every flow, start again, and check. See docs/faults.md."""

from __future__ import annotations

import argparse
import sys

from tests.faults import plan, scenarios
from tests.faults.flows import FLOWS
from tests.faults.kinds import KINDS
from tests.faults.pairs import Pairs
from tests.faults.runner import QUICK, Runner, tasks
from tests.faults.singles import Singles

_CHOICES = {"both": ("sqlite", "mariadb"), "sqlite": ("sqlite",), "mariadb": ("mariadb",)}
_CHAINS = {"all": tuple(KINDS), "models": QUICK, "monero": ("monero", "monero-accounts")}
_CHAINS |= {name: (name,) for name in KINDS if name not in _CHAINS}


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    chains = [chain for chain in _CHAINS[options.chain] if chain in QUICK or not options.pairs]
    wanted = tasks(_CHOICES[options.db], chains, options.only)
    runner = Runner(options.workers)
    singles = Singles(runner, options.seed, 2 if options.then else options.deaths, options.every, options.wallet_too)
    try:
        if options.list:
            print(scenarios.listed(), flush=True)
            runner.each(wanted, singles.list)
        elif options.full:
            runner.each(wanted, singles.run)
            plan.all_pairs(runner, tasks(["sqlite"], QUICK, options.only))
        elif options.all_pairs:
            plan.all_pairs(runner, tasks(["sqlite"], QUICK, options.only))
        elif options.point:
            runner.each(wanted, singles.at(options.point, options.then).run)
        elif options.pairs:
            pairs = Pairs(runner, options.seed)
            runner.each(wanted, pairs.run, options.budget)
            print(pairs.line())
        elif options.budget is not None:
            plan.within(runner, singles, wanted, options.budget)
        else:
            runner.each(wanted, singles.run)
    finally:
        runner.close()
    print(runner.totals.line())
    return 1 if runner.totals.bad or not wanted else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    add = parser.add_argument
    add("--list", action="store_true", help="only list: the scenarios with their tests, then each flow's crashpoints")
    add("--db", choices=_CHOICES, default="both")
    add("--chain", choices=_CHAINS, default="all", help="the model chains, or real nodes")
    add("--only", action="append", choices=list(FLOWS), default=[], metavar="FLOW", help="repeatable")
    add("--point", help="one crashpoint, as name#n")
    add("--then", help="with --point: the place, as name#n, where the recovery dies")
    add("--deaths", type=int, default=1, choices=(1, 2), help="2: the recovery dies there as well")
    add("--budget", type=float, metavar="SECONDS", help="as much as fits: docs/faults.md says what comes first")
    add("--seed", type=int, default=0, help="of what is drawn where not all fits")
    add("--pairs", action="store_true", help="only pairs of deaths, on model chains")
    add("--all-pairs", action="store_true", help="every pair on SQLite and model chains; goes on where it was stopped")
    add("--full", action="store_true", help="every place on every ground and database, then all pairs")
    add("--every", action="store_true", help="a life of its own for each place, also those that leave the same behind")
    add("--wallet-too", action="store_true", help="only deaths at which the process with the keys is killed as well")
    add("--workers", type=int, default=2)
    return parser


if __name__ == "__main__":
    sys.exit(main())
