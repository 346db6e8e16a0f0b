"""Crashpoints of deposits, withdrawals, sweeps, escrows and swaps: the process ends there with status 137, is started
again, and the invariants hold. `make faults` does the same for all flows and places; docs/faults.md says how it works.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from shutil import rmtree

import pytest

from devstack.mariadb import MariaDB
from tests.faults.ground import Ground, fast_folder
from tests.faults.harness import Point, Run, die_again, die_at, record, recover, walk

#: Hundreds of processes die and start again in each of these: a busy machine needs longer than one test usually may.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

#: Each flow's points are dealt to so many tests, which pytest-xdist may run side by side.
PARTS = 6

Grounds = Callable[[str, str], Ground]


@pytest.fixture(scope="session")
def grounds(request: pytest.FixtureRequest) -> Iterator[Grounds]:
    """One database and one chain of each kind for this pytest process, made when first asked for."""
    root = fast_folder("coffer-crash-")
    made: list[Ground] = []

    def server() -> MariaDB:
        found: MariaDB = request.getfixturevalue("mariadb_server")
        return found

    @cache
    def ground(db: str, chain: str) -> Ground:
        made.append(Ground(db, chain, root / f"{db}-{chain}", server))
        return made[-1]

    yield ground
    for found in made:
        found.close()
    _remove_unless_needed(root)


def _remove_unless_needed(root: Path) -> None:
    """The folders of cases that went wrong stay for whoever looks into them."""
    if not list(root.glob("*/kept")):
        rmtree(root, ignore_errors=True)


@cache
def recorded(ground: Ground, flow: str) -> tuple[Point, ...]:
    return tuple(record(ground, flow))


def points(ground: Ground, flow: str) -> tuple[str, ...]:
    return tuple(point.name for point in recorded(ground, flow))


def points_apart(ground: Ground, flow: str) -> tuple[str, ...]:
    """Of places that leave the same behind the last one only."""
    return tuple(point.name for point in recorded(ground, flow) if point.alone)


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("flow", ["deposit", "withdrawal"])
@pytest.mark.parametrize("db", ["sqlite", "mariadb"])
def test_dying_at_any_point_loses_nothing_and_repeats_nothing(grounds: Grounds, db: str, flow: str, part: int) -> None:
    ground = grounds(db, "fake")
    assert_survives(ground, flow, points(ground, flow)[part::PARTS])


def test_whatever_a_life_leaves_is_recovered_from_and_a_second_death_too(grounds: Grounds) -> None:
    """As `make faults` does it: one life dies at all its places, and so does the recovery from some of its wrecks."""
    ground = grounds("sqlite", "trades")
    lived = walk(ground, "escrow-expired")
    kept = [wreck for wreck in lived.wrecks if wreck.kept]
    assert len(lived.points) > 150
    assert len(kept) > 50
    known = {wreck.state for wreck in kept}
    found: list[Run] = []
    for first in kept[::10]:
        judged, seconds = die_again(ground, lived, first, known)
        found.append(judged)
        found += [recover(ground, lived, second, after=first.point) for second in seconds[::5] if second.kept]
    assert [run for run in found if run.violations] == []


@pytest.mark.parametrize("part", range(PARTS))
def test_dying_at_any_point_of_a_withdrawal_on_a_real_node(grounds: Grounds, part: int) -> None:
    """The node's own calls are points too: before and after each that changes or sends something."""
    ground = grounds("sqlite", "bitcoin")
    assert_survives(ground, "withdrawal", points(ground, "withdrawal")[part::PARTS])


@pytest.mark.parametrize(
    ("flow", "part", "parts"),
    [("eth-deposit", 0, 1), *(("eth-withdrawal", n, 2) for n in range(2)), *(("token-sweep", n, 3) for n in range(3))],
)
def test_dying_at_any_point_on_ethereum(grounds: Grounds, flow: str, part: int, parts: int) -> None:
    """A real anvil. The sweep of a token has its gas sent first, so that it passes the places of two payments; those of
    the periodic tasks are visited in the other flows."""
    ground = grounds("sqlite", "ethereum")
    found = [point for point in points_apart(ground, flow) if flow != "token-sweep" or not point.startswith("task.")]
    assert_survives(ground, flow, found[part::parts])


@pytest.mark.parametrize("flow", ["escrow-split", "swap-balance"])
@pytest.mark.parametrize("db", ["sqlite", "mariadb"])
def test_dying_at_any_point_of_a_trade_between_balances(grounds: Grounds, db: str, flow: str) -> None:
    """One transaction a request: what a death leaves is all of it or nothing, both legs of a swap or none."""
    ground = grounds(db, "trades")
    assert_survives(ground, flow, points(ground, flow), least=5)


@pytest.mark.parametrize("flow", ["escrow-released-frozen", "swap-deposit"])
@pytest.mark.parametrize("db", ["sqlite", "mariadb"])
def test_dying_at_any_step_of_a_trade_by_deposit(grounds: Grounds, db: str, flow: str) -> None:
    """Deposits, escrows and swaps themselves; payments and periodic tasks are as in the flows above."""
    ground = grounds(db, "trades")
    own = ("deposit.", "swap.", "api.create_swap", "api.create_escrow", "api.release_escrow")
    assert_survives(ground, flow, [point for point in points_apart(ground, flow) if point.startswith(own)])


def test_dying_after_the_wallets_calls_of_a_monero_withdrawal(grounds: Grounds) -> None:
    """Real monerod and wallet-rpc; the second time wallet-rpc is killed as well, and forgets what was not stored."""
    ground = grounds("sqlite", "monero")
    calls = [f"monero.{call}.after#1" for call in ("set_attribute", "transfer", "freeze", "store", "relay_tx")]
    assert set(points(ground, "xmr-withdrawal")) >= set(calls)
    runs = [die_at(ground, "xmr-withdrawal", point, wallet_too=too) for point in calls for too in (False, True)]
    assert [run for run in runs if run.violations] == []


def test_the_points_of_a_withdrawal_are_those_of_its_promises(grounds: Grounds) -> None:
    """That the enumeration really passes the places which the promises are about; a renamed one must be noticed."""
    names = {point.partition("#")[0] for point in points(grounds("sqlite", "fake"), "withdrawal")}
    commits = {
        "api.create_withdrawal",
        "payment.claim",
        "payment.building.finish",
        "payment.reserved.finish",
        "payment.signed.finish",
        "payment.broadcast.finish",
        "payment.confirming.finish",
        "payment.settled.finish",
        "task.claim",
        "task.active.finish",
    }
    calls = {"fake.hold", "fake.sign", "fake.broadcast"}
    wanted = {f"{name}.{side}_commit" for name in commits for side in ("before", "after")}
    assert names >= wanted | {f"{name}.{side}" for name in calls for side in ("before", "after")}


def test_dying_again_while_recovering_is_survived_too(grounds: Grounds) -> None:
    """The second life ends at the first occurrence of the same point, the third one comes through."""
    ground = grounds("sqlite", "fake")
    chosen = [point for point in points(ground, "withdrawal") if point.startswith("payment.") and point.endswith("#1")]
    assert len(chosen) > 10
    runs = [die_at(ground, "withdrawal", point, deaths=2) for point in chosen]
    assert [run for run in runs if run.violations] == []


def assert_survives(ground: Ground, flow: str, chosen: Sequence[str], least: int = 11) -> None:
    assert len(chosen) >= least
    runs = [die_at(ground, flow, point) for point in chosen]
    assert [run for run in runs if run.violations] == []
