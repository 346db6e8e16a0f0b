"""The record of the run of all pairs: kept flow by flow, so that it may be stopped, and published as a page."""

from __future__ import annotations

import json
import subprocess
import threading
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from devstack.programs import ROOT
from tests.faults.pairs import Tally

PAGE = ROOT / "docs" / "faults-record.md"
_DRAFT = ROOT / ".run" / "all-pairs.json"
_HEAD = """# All pairs of deaths

Written by `make faults PAIRS=all`: every flow on the model chains and SQLite dies at every place, and each recovery
from a state that such a death leaves dies at every place that it passes; from each state that is new a third life
recovers. [faults.md](faults.md) says what is checked, and when two states are the same.

"""
_TABLE = """| flow | places | states left | pairs of deaths | of them new states | violations |
|---|--:|--:|--:|--:|--:|
"""


@dataclass
class Book:
    """Tallies of one commit."""

    commit: str
    tallies: dict[str, Tally] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @staticmethod
    def open() -> Book:
        """With what a run of this commit has done already."""
        commit = _commit()
        draft = json.loads(_DRAFT.read_text()) if _DRAFT.exists() else {}
        if draft.get("commit") != commit:
            return Book(commit)
        return Book(commit, {name: Tally(**values) for name, values in draft["tallies"].items()})

    def write(self, task: str, tally: Tally) -> None:
        with self._lock:
            self.tallies[task] = tally
            _DRAFT.parent.mkdir(exist_ok=True)
            body = {"commit": self.commit, "tallies": {name: asdict(each) for name, each in self.tallies.items()}}
            _replace(_DRAFT, json.dumps(body, indent=1))

    def publish(self) -> None:
        done = self.tallies.values()
        bad = sum(len(each.violations) for each in done)
        sums = [sum(getattr(each, name) for each in done) for name in ("points", "states", "pairs", "new")]
        told = (
            f"Commit `{self.commit}`, {datetime.now(UTC):%Y-%m-%d}: {len(done)} flows, {sums[0]} places, {sums[1]} "
            f"states that single deaths leave, {sums[2]} pairs, {sums[3]} further states, **{bad} violations**; "
            f"{sum(each.seconds for each in done) / 60:.0f} minutes of one worker.\n\n"
        )
        lines = [_HEAD, told, _TABLE, *(_line(name, each) for name, each in sorted(self.tallies.items()))]
        _replace(PAGE, "".join(lines))


def _line(name: str, each: Tally) -> str:
    flow = name.partition(" ")[0]
    figures = (each.points, each.states, each.pairs, each.new, len(each.violations))
    return f"| `{flow}` | {' | '.join(map(str, figures))} |\n"


def _replace(path: Path, text: str) -> None:
    draft = path.with_suffix(".draft")
    draft.write_text(text)
    draft.replace(path)


def _commit() -> str:
    asked = ["git", "rev-parse", "--short=12", "HEAD"]
    return subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
