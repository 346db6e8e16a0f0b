"""make soak: traffic over three chains while everything breaks, then the verdict.

python -m tests.soak --minutes 60 --seed 1 --db mariadb
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from devstack.programs import ROOT
from tests.soak.plan import KINDS, plan
from tests.soak.run import Result, soak


def main() -> int:
    options = _parse()
    seconds = options.minutes * 60
    acts = plan(options.seed, seconds, mariadb=options.db == "mariadb", only=options.only)
    if options.list:
        for act in acts:
            print(f"{act.at_seconds:7.0f} s  {act.told}")
        return 0
    folder = Path(options.folder) if options.folder else Path(tempfile.mkdtemp(prefix="soak-"))
    tell = _teller()
    tell(f"seed {options.seed}, {options.minutes:g} minutes, {options.db}, commit {_commit()}")
    result = soak(folder, acts, seed=options.seed, seconds=seconds, db=options.db, tell=tell)
    _show(result)
    if result.verdict.clean and not options.keep:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        print(f"databases, chains and logs are kept in {folder}")
    print(_last_line(result), flush=True)
    return 0 if result.verdict.clean else 1


def _show(result: Result) -> None:
    """Everything but the last line."""
    _table("kills", result.kills)
    _table("other acts", result.others)
    _table("operations", result.operations)
    _table("refused, as it should be", result.refused)
    _table("longest time in which nothing came to its end, seconds", {k: round(v) for k, v in result.stalls.items()})
    print(f"\nreplies lost: {result.replies_lost}; at rest {result.rest_seconds:.0f} s after the last act")
    for title, lines in (
        ("alarms that stand", result.alarms),
        ("LOST", result.verdict.lost),
        ("SENT TWICE", result.verdict.sent_twice),
        ("CREDITED TWICE", result.verdict.credited_twice),
        ("WRONG", result.verdict.wrong),
    ):
        if lines:
            print(f"\n{title}")
            for line in lines:
                print(f"  {line}")
    print()


def _last_line(result: Result) -> str:
    verdict, stall = result.verdict, max(result.stalls.values(), default=0.0)
    counts = f"kills {result.kills.total()}, operations {result.operations.total()}, lost {len(verdict.lost)}, "
    counts += f"sent twice {len(verdict.sent_twice)}, credited twice {len(verdict.credited_twice)}"
    wrong = f", wrong {len(verdict.wrong)}" if verdict.wrong else ""
    return f"{counts}{wrong}, longest stall {stall:.0f} s"


def _table(title: str, counted: Mapping[str, int] | Counter[str]) -> None:
    print(f"\n{title}: {sum(counted.values())}" if isinstance(counted, Counter) else f"\n{title}")
    for name, count in sorted(counted.items()):
        print(f"  {count:6}  {name}")


def _teller() -> Callable[[str], None]:
    begun, lock = time.monotonic(), threading.Lock()

    def tell(line: str) -> None:
        with lock:
            print(f"{time.monotonic() - begun:7.1f}  {line}", flush=True)

    return tell


def _commit() -> str:
    """Which code this is, where git knows."""
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--db", choices=("mariadb", "sqlite"), default="mariadb")
    parser.add_argument("--folder", help="where everything is kept; must be empty")
    parser.add_argument("--keep", action="store_true", help="keep the folder also after a clean soak")
    parser.add_argument("--only", nargs="+", choices=list(KINDS), default=(), help="break things in these ways alone")
    parser.add_argument("--list", action="store_true", help="print the plan and do nothing")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
