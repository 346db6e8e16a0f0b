"""Rows of figures: medians over rounds, and the ratio to each limit as the median of the rounds' own ratios."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

_STARTED = time.monotonic()


@dataclass
class Row:
    """One figure. `limits` are what the machine itself does at best, measured in the same rounds."""

    name: str
    unit: str
    rounds: list[float] = field(default_factory=list)
    limits: dict[str, list[float]] = field(default_factory=dict)
    remark: str = ""

    def add(self, value: float, **limits: float) -> None:
        """The figures of one round; limit names have underscores for spaces."""
        self.rounds.append(value)
        for name, limit in limits.items():
            self.limits.setdefault(name.replace("_", " "), []).append(limit)

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)

    def ratio(self, limit: str) -> float:
        pairs = zip(self.rounds, self.limits[limit], strict=True)
        return statistics.median(ours / theirs for ours, theirs in pairs if theirs)

    def lines(self) -> list[tuple[str, ...]]:
        """Cells: name, figure, spread, limit, figure of the limit, ratio."""
        if not self.rounds:
            return [(self.name, "not measured", "", self.remark, "", "")]
        spread = f"{_number(min(self.rounds))}-{_number(max(self.rounds))}" if len(self.rounds) > 1 else ""
        head = (self.name, f"{_number(self.median)} {self.unit}", spread)
        cells = [
            (limit, f"{_number(statistics.median(figures))} {self.unit}", f"{self.ratio(limit):.2f}")
            for limit, figures in self.limits.items()
        ]
        first, *others = cells or [("", "", "")]
        found = [(*head, *first), *(("", "", "", *cell) for cell in others)]
        return found + ([("", "", "", self.remark, "", "")] if self.remark else [])


HEADS = ("figure", "median", "rounds", "limit, same run", "median", "ratio")


def table(rows: Sequence[Row]) -> str:
    """A table that is Markdown and reads well in a terminal."""
    lines = [HEADS, *(line for row in rows for line in row.lines())]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEADS))]
    text = [" | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
    text.insert(1, "-|-".join("-" * width for width in widths))
    return "\n".join(f"| {line} |" for line in text)


def tell(line: str) -> None:
    """Progress, with the seconds since the start."""
    print(f"[{time.monotonic() - _STARTED:6.1f} s] {line}", file=sys.stderr, flush=True)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
