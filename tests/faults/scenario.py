"""One fault scenario: what happens, what must come of it, and what shows that it does."""

from __future__ import annotations

from dataclasses import dataclass

#: How many scenarios each section has: 126 that were thought of, and in K those that were found.
SECTIONS = {"A": 17, "B": 11, "C": 11, "D": 15, "E": 18, "F": 18, "G": 13, "H": 8, "I": 5, "J": 10, "K": 39}
TITLES = {
    "A": "Process crashes",
    "B": "Queue loss",
    "C": "Database",
    "D": "Node and wallet",
    "E": "Chain events",
    "F": "Hostile deposits",
    "G": "Hostile requests",
    "H": "Concurrency",
    "I": "Clock",
    "J": "Operators",
    "K": "Found since",
}
#: `I1` to `I10` are the invariants; the clock's scenarios are written with a dash.
IDS = [f"{s}-{n}" if s == "I" else f"{s}{n}" for s, count in SECTIONS.items() for n in range(1, count + 1)]


@dataclass(frozen=True)
class Scenario:
    """`tests` are pytest's ids below `tests/`, without parameters; `flows` those whose every crash place is visited.

    `lacks` says what no test shows yet, or why none can: alone it is the reason why there is no test at all."""

    id: str
    title: str
    outcome: str
    tests: tuple[str, ...] = ()
    flows: tuple[str, ...] = ()
    lacks: str = ""

    @property
    def proof(self) -> str:
        if not self.tests and not self.flows:
            return "missing"
        return "partly" if self.lacks else "proved"

    @property
    def section(self) -> str:
        return self.id[0]
