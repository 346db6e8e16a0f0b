"""What a guard is: where it stands, how it is taken out, and the tests that must miss it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


class Stale(Exception):
    """The code is no longer what an edit expects: the table must be brought up to date."""


@dataclass(frozen=True)
class Edit:
    """In `path`, the one place that reads `old` becomes `new`."""

    path: str
    old: str
    new: str = ""

    def apply(self, root: Path) -> None:
        """Raises `Stale` unless `old` stands there exactly once."""
        file = root / self.path
        text = file.read_text()
        if text.count(self.old) != 1:
            raise Stale(f"{self.path}: {text.count(self.old)} places read {self.old.strip()[:80]!r}")
        file.write_text(text.replace(self.old, self.new))


@dataclass(frozen=True)
class Guard:
    """`kind` is the family that the issue of guards names: unique key, fencing, compare-and-set, order, freeze,
    confirmations, second line, books. `tests` are pytest ids; at least one of them must fail without the guard."""

    name: str
    kind: str
    without: str  #: what was taken out, in words
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]


def unique_key(table: str, constraint: str) -> Edit:
    """A UNIQUE constraint, left out when the tables are made."""
    line = f'name=op.f("{constraint}")),\n'
    source = (Path(__file__).parents[2] / MIGRATION).read_text().splitlines(keepends=True)
    found = [text for text in source if text.endswith(line)]
    if len(found) != 1:
        raise Stale(f"{table}: {len(found)} lines make {constraint}")
    return Edit(MIGRATION, found[0])


MIGRATION = "migrations/versions/0003_trades.py"
