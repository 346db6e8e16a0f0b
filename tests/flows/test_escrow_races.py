"""Many calls for one escrow at the same moment (FAULTS G10, G5, H3): one wins, and money is neither made nor lost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from jobs.escrow.state import ENDED
from ledger.errors import InsufficientFunds, InvalidAmount, StateConflict
from ledger.schema import transition
from tests.flows.engine import Engine
from tests.flows.escrow_desk import HOUR, Desk

ROUNDS = 4


@pytest.fixture
def desk(engine: Engine) -> Desk:
    return Desk(engine)


def together(works: list[Callable[[], Any]]) -> list[Any]:
    """What each of these returned or raised; they start at the same moment."""
    start = threading.Barrier(len(works))

    def one(work: Callable[[], Any]) -> Any:
        start.wait(30)
        try:
            return work()
        except Exception as error:  # noqa: BLE001  # the test judges it
            return error

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(one, works))


def ends(desk: Desk, escrow_id: int) -> list[str]:
    """The final or disputed states that it has moved into."""
    moves = [row for row in desk.engine.rows(transition) if (row.kind, row.row_id) == ("escrow", escrow_id)]
    return [row.to_state for row in moves if row.to_state in {*ENDED, "disputed"}]


def test_release_refund_dispute_cancel_and_the_deadline_at_once_end_it_once(desk: Desk) -> None:
    for _ in range(ROUNDS):
        escrow_id = desk.funded(deadline=desk.engine.database.now() + HOUR, at_deadline="refund", fee_units=777)
        before = sum(desk.money()) + desk.fees()
        works: list[Callable[[], Any]] = [
            lambda e=escrow_id: desk.release(e),
            lambda e=escrow_id: desk.refund(e),
            lambda e=escrow_id: desk.dispute(e),
            lambda e=escrow_id: desk.cancel(e),
            lambda e=escrow_id: desk.release(e, None, desk.engine.chain.outside_address()),
            lambda e=escrow_id: desk.over(e, "deadline"),
            lambda e=escrow_id: desk.resolve(e, 250_000),
        ]
        results = together(works)
        calls = results[:5] + results[6:]
        unexpected = [r for r in calls if isinstance(r, Exception) and not isinstance(r, StateConflict)]
        assert unexpected == []
        found = ends(desk, escrow_id)
        resolved = found == ["disputed", "resolved"]  # the arbiter's call may come right after the dispute
        assert len(found) == 1 or resolved, found
        assert len([r for r in calls if not isinstance(r, Exception)]) <= len(found)
        parts = desk.parts(escrow_id)
        if desk.state(escrow_id)[0] != "disputed":
            assert parts.held_units == 0
            held = desk.engine.balance(desk.vendor, "held")
            assert sum(desk.money()) + desk.fees() + held >= before + 500_000
        desk.check()


def test_funding_cancelling_and_the_deadline_at_once_end_one_way(desk: Desk) -> None:
    for _ in range(ROUNDS):
        desk.top_up(500_000)
        escrow_id = desk.make(funding_deadline=desk.engine.database.now() + HOUR)
        money = desk.money()[0]
        results = together(
            [
                lambda e=escrow_id: desk.fund(e),
                lambda e=escrow_id: desk.fund(e, 200_000),
                lambda e=escrow_id: desk.cancel(e),
                lambda e=escrow_id: desk.over(e),
            ]
        )
        allowed = (StateConflict, InvalidAmount, InsufficientFunds)
        assert [r for r in results[:3] if isinstance(r, Exception) and not isinstance(r, allowed)] == []
        state, held = desk.state(escrow_id)[0], desk.parts(escrow_id).held_units
        assert (state, held) in {("funded", 500_000), ("cancelled", 0), ("expired", 0), ("awaiting_funds", 0)}
        assert desk.money()[0] == money - held
        if state == "funded":
            desk.refund(escrow_id)
        desk.check()


def test_parts_released_at_once_are_never_more_than_the_price(desk: Desk) -> None:
    escrow_id = desk.funded(100_000, fee_units=999)
    results = together([lambda n=n: desk.release(escrow_id, 9_000 + n) for n in range(16)])
    done = [n for n, r in enumerate(results) if not isinstance(r, Exception)]
    assert len(done) == 11  # 11 of these fit into the price, 12 do not
    assert all(isinstance(r, (InvalidAmount, StateConflict)) for r in results if isinstance(r, Exception))
    released = sum(9_000 + n for n in done)
    assert desk.parts(escrow_id).released_units == released
    assert desk.fees() == 999 * released // 100_000
    desk.check()


def test_money_for_one_funds_one_of_many(desk: Desk) -> None:
    desk.top_up(500_000)
    made = [desk.make() for _ in range(8)]
    results = together([lambda e=e: desk.fund(e) for e in made])
    assert sum(not isinstance(r, Exception) for r in results) == 1
    assert all(isinstance(r, InsufficientFunds) for r in results if isinstance(r, Exception))
    assert [desk.state(e)[0] for e in made].count("funded") == 1
    desk.check()


def test_escrows_in_both_directions_do_not_wait_for_each_other(desk: Desk) -> None:
    back = Desk(desk.engine, vendor=desk.buyer)
    back.buyer = desk.vendor
    there = [desk.funded(10_000) for _ in range(6)]
    here = [back.funded(10_000) for _ in range(6)]
    works = [lambda e=e: desk.release(e) for e in there] + [lambda e=e: back.release(e) for e in here]
    results = together(works)
    assert [r for r in results if isinstance(r, Exception)] == []
    assert desk.money() == (60_000, 60_000)
    desk.check()
