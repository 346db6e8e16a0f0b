"""docs/guards.md: the recorded table of guards and of the tests that miss them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from tests.guards.run import ROOT, Result

PAGE = ROOT / "docs" / "guards.md"

_HEAD = """<!-- Written by `make guards`. Change tests/guards/table.py. -->

# Guards that matter, removed one by one

A test that stays green when the guard that it is about is gone proves nothing. `make guards` copies the
committed code, takes one guard out of the copy, runs the tests named for it
([tests/guards/table.py](../tests/guards/table.py)) and demands that at least one fails; with every guard in
place all of them pass. What an edit expects must stand in the code exactly once, so that a guard that has
moved is told, not skipped.

Recorded {when} at commit {commit}: **{count} guards, {red} red**.

| guard | what was taken out | went red |
|---|---|---|
"""


def write(results: Sequence[Result], commit: str) -> None:
    """`commit` is the one that the copy was made of: the tree may have gone on meanwhile."""
    red = sum(result.verdict == "red" for result in results)
    when = datetime.now(UTC).strftime("%Y-%m-%d")
    lines = [_HEAD.format(when=when, commit=commit, count=len(results), red=red)]
    kind = ""
    for result in results:
        if result.guard.kind != kind:
            kind = result.guard.kind
            lines.append(f"| **{kind}** | | |\n")
        went = ", ".join(f"`{_short(test)}`" for test in result.missed_by[:4]) if result.verdict == "red" else ""
        more = f" and {len(result.missed_by) - 4} more" if len(result.missed_by) > 4 and went else ""
        lines.append(
            f"| {result.guard.name} | {result.guard.without} | {went + more or '**' + result.verdict + '**'} |\n"
        )
    PAGE.write_text("".join(lines))


def _short(test: str) -> str:
    return test.partition("::")[2] or test
