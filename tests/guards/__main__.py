"""`python -m tests.guards`: take each guard out of a copy of the code, and demand that its tests fail."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from tests.guards import page
from tests.guards.guard import Guard
from tests.guards.run import Copy, Result, whole, without
from tests.guards.table import GUARDS


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.guards", description=__doc__)
    parser.add_argument("--list", action="store_true", help="only list them")
    parser.add_argument(
        "--only", action="append", default=[], metavar="TEXT", help="guards with this in their family or name"
    )
    parser.add_argument("--no-page", action="store_true", help="leave docs/guards.md as it is")
    options = parser.parse_args(arguments)
    wanted = [g for g in GUARDS if not options.only or any(text in f"{g.kind}: {g.name}" for text in options.only)]
    if options.list:
        print(*(f"{guard.kind}: {guard.name} ({len(guard.tests)} tests)" for guard in wanted), sep="\n")
        return 0
    copy = Copy()
    try:
        results = _run(copy, wanted)
    finally:
        copy.close()
    if results and not options.only and not options.no_page:
        page.write(results, copy.commit)
    red = sum(result.verdict == "red" for result in results)
    print(f"guards {len(wanted)}, red {red}, not red {len(wanted) - red}")
    return 0 if results and red == len(wanted) else 1


def _run(copy: Copy, wanted: Sequence[Guard]) -> list[Result]:
    print(f"the tests of {len(wanted)} guards, with all guards in place …", flush=True)
    fault = whole(copy, wanted)
    if fault is not None:
        print(fault, "\nthe tests fail though nothing was taken out: they can judge nothing")
        return []
    results = []
    for number, guard in enumerate(wanted, 1):
        result = without(copy, guard)
        results.append(result)
        told = ", ".join(result.missed_by[:2]) if result.verdict == "red" else result.detail
        print(f"{number}/{len(wanted)} {result.verdict} {guard.name} ({result.seconds:.0f} s): {told}", flush=True)
    return results


if __name__ == "__main__":
    sys.exit(main())
