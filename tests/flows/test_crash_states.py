"""When two wrecks count as one: what differs from life to life does not matter, all that decides anything does."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from shutil import rmtree

import pytest

from tests.faults.ground import Ground, fast_folder
from tests.faults.harness import walk
from tests.faults.place import Place
from tests.faults.state import digest
from wallets.fake import FakeChain

FLOW = "escrow-split"
pytestmark = pytest.mark.timeout(300)


def _no_server() -> None:
    raise AssertionError("SQLite needs no server")


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    root = fast_folder("coffer-states-")
    found = Ground("sqlite", "trades", root / "ground", _no_server)  # type: ignore[arg-type]
    yield found
    found.close()
    rmtree(root, ignore_errors=True)


@pytest.fixture
def place(ground: Ground) -> Place:
    return ground.begin("stocked")


def test_two_lives_of_one_flow_leave_the_same_states(ground: Ground) -> None:
    """Though every id, moment, token and signature differs between them."""
    first, second = ([(wreck.point, wreck.state) for wreck in walk(ground, FLOW).wrecks] for _ in range(2))
    assert first == second
    assert len({state for _, state in first}) > 4


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE task SET crashes = crashes + 1 WHERE id = 1",
        "UPDATE deposit SET state = 'credited' WHERE id = 1",
        "UPDATE deposit SET crashes = crashes + 1 WHERE id = 1",
        "UPDATE deposit SET due_at = updated_at WHERE id = 1",
        "UPDATE chain SET watched_count = watched_count + 1 WHERE name = 'monero'",
        "INSERT INTO alarm (name, subject, detail, open, count, first_at, last_at) VALUES ('a', 'b', 'c', 1, 1, 1, 1)",
    ],
)
def test_one_thing_more_in_the_database_is_another_state(place: Place, change: str) -> None:
    before = digest(place)
    with sqlite3.connect(place.path / "coffer.sqlite3") as raw:
        assert raw.execute(change).rowcount == 1
    assert digest(place) != before


def test_a_block_or_a_payment_more_on_either_chain_is_another_state(place: Place) -> None:
    seen = [digest(place)]
    for path in ("chain.pickle", "monero.pickle"):
        FakeChain(place.path / path).mine(1)
        seen.append(digest(place))
    assert len(set(seen)) == 3


def test_how_far_the_flow_has_come_is_part_of_the_state(place: Place) -> None:
    before = digest(place)
    Path(place.folder, "progress").write_text("1")
    assert digest(place) != before


def test_moments_versions_and_what_nobody_waits_for_are_not(place: Place) -> None:
    before = digest(place)
    with sqlite3.connect(place.path / "coffer.sqlite3") as raw:
        raw.execute("UPDATE deposit SET created_at = created_at + 5, version = version + 1, wakes = wakes + 1")
    assert digest(place) == before
