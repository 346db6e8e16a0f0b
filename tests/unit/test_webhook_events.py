"""The names that endpoints may ask for are those that events have."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from devstack.programs import ROOT
from jobs.webhooks.events import EVENTS, TYPES, check, wanted
from ledger.errors import InvalidInput
from ledger.schema import event

#: Functions that are given the word after the dot, or the whole name, as a literal; those of escrows too.
_TELLING = {"tell", "_tell", "emit", "emit_all"}
_OF_ESCROWS = {"_stay", "_ended"}


def told() -> Iterator[tuple[str, str]]:
    """(file, event) of every literal with which an event is told."""
    for path in sorted((ROOT / "jobs").rglob("*.py")):
        room = path.parent.name
        resource = path.stem.partition("_")[0] if room == "jobs" else room
        for call in ast.walk(ast.parse(path.read_text())):
            telling = _TELLING | (_OF_ESCROWS if resource == "escrow" else set())
            if isinstance(call, ast.Call) and _name(call.func) in telling:
                for found in ast.walk(call):
                    if isinstance(found, ast.Constant) and isinstance(found.value, str):
                        yield path.name, found.value if "." in found.value else f"{resource}.{found.value}"


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


#: Literals in such calls that are reasons, keys or parts of names.
_OTHERS = {"late", "id", "name", "subject", "detail", "project_id"}


def test_every_event_that_the_code_tells_has_a_name_to_ask_for() -> None:
    found = {(file, name) for file, name in told() if name.partition(".")[0] in EVENTS}
    names = {name for _, name in found if name.partition(".")[2]}
    unknown = {name for name in names - set(TYPES) if name.partition(".")[2] not in _OTHERS}
    assert unknown == set()
    assert {"deposit.credited", "transfer.completed", "escrow.funded", "webhook_endpoint.disabled"} <= names


def test_names_fit_their_columns() -> None:
    assert max(map(len, TYPES)) <= event.c.type.type.length
    assert max(map(len, EVENTS)) <= event.c.resource_kind.type.length


def test_names_are_kept_once_and_in_order() -> None:
    assert check(["swap.*", "deposit.credited", "swap.*"]) == ["deposit.credited", "swap.*"]
    with pytest.raises(InvalidInput) as caught:
        check(["*", "deposit.*", "deposits.*"])
    assert caught.value.pointer == "/events/2"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["*"], True),
        (["deposit.*"], True),
        (["deposit.credited"], True),
        (["deposit.final", "swap.*"], False),
        ([], False),
    ],
)
def test_an_event_is_wanted_by_its_name_its_resource_or_all(names: list[str], expected: bool) -> None:
    assert wanted(names, "deposit.credited") is expected
