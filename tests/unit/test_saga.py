"""A saga's table is checked when it is made: an impossible one ends the program at import."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table

from jobs import bootstrap
from jobs.saga import Outcome, Saga, Step


class State(StrEnum):
    NEW = "new"
    BUSY = "busy"
    WAITING = "waiting"
    DONE = "done"


class Moved(Outcome):
    pass


TABLE = Table("thing", MetaData(), Column("id", Integer, primary_key=True), Column("chain", String(8)))
TASKS = Table("chore", MetaData(), Column("id", Integer, primary_key=True), Column("queue", String(8)))


def step(to: State) -> Step:
    return Step(lambda row, services: Moved(), {Moved: to})


def saga(**changes: Any) -> Saga:
    parts: dict[str, Any] = {
        "kind": "thing", "table": TABLE, "start": State.NEW, "final": frozenset({State.DONE}),
        "steps": {State.NEW: step(State.BUSY), State.BUSY: step(State.DONE)}, "resting": frozenset({State.WAITING}),
    }  # fmt: skip
    return Saga(**(parts | changes))


def test_a_whole_table_is_accepted() -> None:
    assert saga().state("busy") is State.BUSY


def test_a_state_of_another_version_is_unknown() -> None:
    assert saga().state("teleporting") is None


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": {State.NEW: step(State.DONE)}},  # BUSY has no step and is not final
        {"final": frozenset()},  # DONE is neither
        {"final": frozenset({State.DONE, State.BUSY})},  # BUSY is both
        {"resting": frozenset({State.WAITING, State.NEW})},
        {"resting": frozenset()},
    ],
    ids=["no step", "not final", "stepped and final", "stepped and resting", "no way out"],
)
def test_every_state_is_stepped_resting_or_final(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="stepped, resting or final"):
        saga(**changes)


def test_every_state_is_reached() -> None:
    with pytest.raises(ValueError, match=r"nothing leads to.*busy"):
        saga(steps={State.NEW: step(State.DONE), State.BUSY: step(State.DONE)})


def test_review_counts_as_reached() -> None:
    both = frozenset({State.DONE})
    assert saga(steps={State.NEW: step(State.BUSY), State.BUSY: step(State.BUSY)}, final=both, review=State.DONE)


def test_rows_belong_to_the_queue_of_their_chain_or_their_own() -> None:
    assert saga().queue_column() == "chain"
    assert saga(table=TASKS).queue_column() == "queue"


@pytest.mark.parametrize("kind", sorted(bootstrap.sagas()))
def test_a_flows_states_are_those_that_its_table_admits(kind: str) -> None:
    """The CHECK in the database and the saga know the same words."""
    flow = bootstrap.sagas()[kind]
    checks = [str(c.sqltext) for c in flow.table.constraints if "state_known" in str(c.name)]  # type: ignore[attr-defined]
    for state in type(flow.start) if checks else ():
        assert f"'{state}'" in checks[0]


@pytest.mark.parametrize("kind", sorted(bootstrap.sagas()))
def test_no_flow_ends_where_its_money_is_still_held(kind: str) -> None:
    """Every live state has a step, or rests for a person: nothing is left to chance."""
    flow = bootstrap.sagas()[kind]
    for state, one in flow.steps.items():
        assert one.outcomes, state
        assert all(issubclass(word, Outcome) for word in one.outcomes)
