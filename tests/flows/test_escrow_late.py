"""An escrow that is funded after its deadline is not over in the same moment: somebody must be able to dispute it."""

from __future__ import annotations

import pytest

from tests.clock import Clock
from tests.flows.engine import Engine
from tests.flows.escrow_desk import HOUR, Desk

DAY = 24 * HOUR


@pytest.fixture
def desk(engine: Engine) -> Desk:
    engine.funded(20_000_000)
    return Desk(engine)


@pytest.mark.parametrize("way", ["release", "refund"])
def test_a_late_payment_that_is_accepted_gets_the_agreed_time_anew(desk: Desk, clock: Clock, way: str) -> None:
    now = desk.engine.database.now()
    escrow_id = desk.by_address(hours=1, deadline=now + DAY, at_deadline=way, on_late="accept")
    clock.forward(hours=25)
    desk.step(escrow_id)
    assert desk.state(escrow_id)[0] == "expired"
    desk.pay(escrow_id, 500_000)
    assert desk.state(escrow_id) == ("funded", "accepted_late")
    row = desk.row(escrow_id)
    assert row.deadline >= now + 2 * DAY
    desk.step(escrow_id)
    assert desk.state(escrow_id)[0] == "funded"
    clock.forward(hours=25)
    desk.step(escrow_id)
    assert desk.state(escrow_id) == ("released" if way == "release" else "refunded", "deadline")
    desk.check()


def test_a_person_who_accepts_after_the_deadline_leaves_time_to_dispute(desk: Desk, clock: Clock) -> None:
    now = desk.engine.database.now()
    escrow_id = desk.by_address(hours=1, deadline=now + 2 * HOUR, at_deadline="release", on_late="hold")
    clock.forward(hours=3)
    desk.pay(escrow_id, 500_000)
    desk.decide(escrow_id, "accept")
    desk.step(escrow_id)
    assert desk.state(escrow_id) == ("funded", "accepted")
    desk.dispute(escrow_id)
    assert desk.state(escrow_id)[0] == "disputed"
    desk.check()


def test_one_that_is_funded_in_time_keeps_its_deadline(desk: Desk) -> None:
    deadline = desk.engine.database.now() + DAY
    escrow_id = desk.by_address(hours=1, deadline=deadline, at_deadline="release")
    desk.pay(escrow_id, 500_000)
    assert desk.row(escrow_id).deadline == deadline
    desk.check()
