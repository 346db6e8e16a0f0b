"""The plan of a soak, and a short one as a whole."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from devstack.stack import Database
from tests.soak.plan import FRAGILE, GAP_MAX_SECONDS, GAP_MIN_SECONDS, VICTIMS, plan
from tests.soak.run import soak

HOUR = 3600


def test_one_seed_is_one_plan() -> None:
    assert plan(7, HOUR, mariadb=True) == plan(7, HOUR, mariadb=True)
    assert plan(7, HOUR, mariadb=True) != plan(8, HOUR, mariadb=True)


def test_a_longer_soak_begins_like_a_shorter_one() -> None:
    short, long = plan(7, 300, mariadb=True), plan(7, HOUR, mariadb=True)
    assert long[: len(short)] == short


@pytest.mark.parametrize("seed", range(20))
def test_an_hour_holds_a_hundred_kills_of_everything_there_is(seed: int) -> None:
    acts = plan(seed, HOUR, mariadb=True)
    ends = [act for act in acts if act.kind in ("kill", "end")]
    assert len(ends) >= 100
    assert {act.target[0] for act in ends} == set(VICTIMS)
    gaps = [after.at_seconds - act.at_seconds for act, after in pairwise(acts)]
    assert all(GAP_MIN_SECONDS <= gap <= GAP_MAX_SECONDS for gap in gaps)


@pytest.mark.parametrize("seed", range(5))
def test_what_would_lose_its_chain_is_never_killed(seed: int) -> None:
    acts = plan(seed, HOUR, mariadb=True)
    assert not [act for act in acts if act.kind == "kill" and act.target[0] in FRAGILE]


def test_a_soak_on_sqlite_has_no_database_server_to_break() -> None:
    assert not [act for act in plan(7, HOUR, mariadb=False) if {"mariadb", "database"} & set(act.target)]


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("db", ["sqlite", "mariadb"])
def test_after_two_bad_minutes_everybody_has_what_is_theirs(tmp_path: Path, db: Database) -> None:
    acts = plan(3, 120, mariadb=db == "mariadb")
    result = soak(tmp_path, acts, seed=3, seconds=120, db=db, tell=print)
    assert result.verdict.lost == []
    assert result.verdict.sent_twice == []
    assert result.verdict.credited_twice == []
    assert result.verdict.wrong == []
    assert result.kills.total() > 0
    assert result.operations.total() > 100
