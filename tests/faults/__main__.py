"""`python -m tests.faults`: die at every crashpoint of every flow, start again, and check. See docs/faults.md."""

from __future__ import annotations

import argparse
import sys

from tests.faults import scenarios
from tests.faults.flows import FLOWS
from tests.faults.kinds import KINDS
from tests.faults.runner import Runner, tasks

_CHOICES = {"both": ("sqlite", "mariadb"), "sqlite": ("sqlite",), "mariadb": ("mariadb",)}
_CHAINS = {"all": tuple(KINDS), "monero": ("monero", "monero-accounts")}
_CHAINS |= {name: (name,) for name in KINDS if name not in _CHAINS}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument(
        "--list", action="store_true", help="only list: the scenarios with their tests, then each flow's crashpoints"
    )
    parser.add_argument("--db", choices=_CHOICES, default="both")
    parser.add_argument("--chain", choices=_CHAINS, default="all", help="the model chain, or one of real nodes")
    parser.add_argument("--only", action="append", choices=list(FLOWS), default=[], metavar="FLOW", help="repeatable")
    parser.add_argument("--point", help="one crashpoint, as name#n")
    parser.add_argument("--deaths", type=int, default=1, choices=(1, 2), help="2: the recovery dies there as well")
    parser.add_argument("--budget", type=float, metavar="SECONDS", help="as many points, at random, as fit")
    parser.add_argument(
        "--every", action="store_true", help="also places that leave the same behind, on every database and chain"
    )
    parser.add_argument(
        "--wallet-too", action="store_true", help="only deaths at which the process with the keys is killed as well"
    )
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args(arguments)
    wanted = tasks(_CHOICES[options.db], _CHAINS[options.chain], options.only)
    runner = Runner(options.workers, options.budget, options.deaths, every=options.every, wallet_too=options.wallet_too)
    try:
        if options.list:
            print(scenarios.listed(), flush=True)
            runner.list_points(wanted)
        else:
            runner.run(wanted, options.point)
    finally:
        runner.close()
    print(runner.totals.line())
    return 1 if runner.totals.violations or runner.totals.broken or not wanted else 0


if __name__ == "__main__":
    sys.exit(main())
