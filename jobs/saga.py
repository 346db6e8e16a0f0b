"""What a saga is: states, and for each live state one step with the outcomes it may return.

A step makes its node calls and returns an outcome; it writes no state and no row. The runtime writes outcome, effect,
history and the next due time in one fenced commit (`jobs.runtime`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sqlalchemy import Row, Table

from ledger.db import Tx

SECOND = 1_000_000  #: in microseconds, the unit of every moment

#: What happens in the outcome's own transaction: postings, other rows, events. It may run again after a rollback.
Effect = Callable[[Tx, Row[Any]], None]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a step found. Subclasses are the words of a saga's table.

    `values` are column values of the row itself, `effect` is all else that must stand or fall with the transition.
    `due_us`: how long until the row is looked at again; 0 at once, None never by itself.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    effect: Effect | None = None
    due_us: int | None = 0
    reason: str | None = None
    detail: str | None = None


#: A step sees the row as claimed, and the parts it may use; it runs outside any database transaction.
StepFunction = Callable[[Row[Any], Any], Outcome]


@dataclass(frozen=True)
class Step:
    """One live state's work. `exclusive` steps hold the wallet: one signer a (chain, wallet) at a time."""

    run: StepFunction
    outcomes: Mapping[type[Outcome], StrEnum]
    exclusive: bool = False


@dataclass(frozen=True)
class Saga:
    """A transition table, checked when it is made: an impossible table ends the program at import."""

    kind: str
    table: Table
    start: StrEnum
    final: frozenset[StrEnum]
    steps: Mapping[StrEnum, Step]
    #: where a row goes when its step has killed its worker too often; None: it stays, with an alarm
    review: StrEnum | None = None
    #: states that wait for a person or for another saga, with no step of their own
    resting: frozenset[StrEnum] = frozenset()
    #: where requests, and other flows, may move a row that is in a state (`jobs.moves`); without any, it is unchecked
    asked: Mapping[StrEnum, frozenset[StrEnum]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        states = set(type(self.start))
        stepped = set(self.steps)
        if stepped & (self.final | self.resting) or stepped | self.final | self.resting != states:
            raise ValueError(f"{self.kind}: every state is stepped, resting or final, and only one of these")
        reached = {self.start} | {to for step in self.steps.values() for to in step.outcomes.values()}
        reached |= {to for targets in self.asked.values() for to in targets}
        if self.review is not None:
            reached.add(self.review)
        if unreached := states - reached - self.resting:
            raise ValueError(f"{self.kind}: nothing leads to {sorted(unreached)}")

    def state(self, name: str) -> StrEnum | None:
        """The state of this name, None for one that this version of the program does not know."""
        states = type(self.start)
        return states(name) if name in set(states) else None

    def queue_column(self) -> str:
        """The column that says which worker queue a row belongs to."""
        return "queue" if "queue" in self.table.c else "chain"
