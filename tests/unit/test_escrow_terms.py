"""The arithmetic of escrows: whatever is done in whatever order, every atomic unit goes somewhere, once."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.escrow.terms import Parts, fee_of

PRICES = st.one_of(st.integers(1, 50), st.integers(1, 10**24))
STEPS = st.lists(st.tuples(st.sampled_from(["release", "refund", "keep", "shrink"]), st.floats(0, 1)), max_size=8)


def parts(units: int, fee: int, fee_from: str, **more: Any) -> Parts:
    wanted = units + fee if fee_from == "buyer" else units
    return Parts(units, fee, fee_from, wanted, **more)


@pytest.mark.parametrize(
    ("units", "ppm", "fee"),
    [(500_000, 25_000, 12_500), (1, 1, 1), (3, 333_333, 1), (1_000_000, 1, 1), (10**24, 1, 10**18), (7, 0, 0)],
)
def test_a_percent_fee_is_rounded_up(units: int, ppm: int, fee: int) -> None:
    assert fee_of(units, ppm) == fee


@pytest.mark.parametrize("fee_from", ["buyer", "vendor"])
def test_steps_take_what_is_due_by_then_and_in_the_end_all(fee_from: str) -> None:
    now = parts(7, 3, fee_from)
    now = now.came(now.wanted_units)
    fees = []
    for _ in range(7):
        now, vendor, fee = now.released(1)
        fees.append(fee)
        assert vendor == (1 - fee if fee_from == "vendor" else 1)
    assert fees == [0, 0, 1, 0, 1, 0, 1]  # 3/7, 6/7, 9/7 = 1, ...
    assert (now.left, now.held_units, now.fee_taken_units) == (0, 0, 3)


def test_a_refund_returns_the_fee_that_its_part_would_have_borne() -> None:
    now = parts(1_000, 100, "buyer").came(1_100)
    now, back = now.refunded(250)
    assert back == 275
    now, vendor, fee = now.released(750)
    assert (vendor, fee, now.held_units) == (750, 75, 0)


@pytest.mark.parametrize(
    ("fee_from", "came", "units", "fee"),
    [
        ("vendor", 500, 500, 50),
        ("vendor", 1, 1, 0),
        ("vendor", 999, 999, 99),
        ("buyer", 550, 500, 50),
        ("buyer", 1, 1, 0),
        ("buyer", 1_099, 1_000, 99),
    ],
)
def test_with_less_money_price_and_fee_shrink_and_the_fee_is_rounded_down(
    fee_from: str, came: int, units: int, fee: int
) -> None:
    now = parts(1_000, 100, fee_from).came(came).shrunk()
    assert (now.units, now.fee_units, now.wanted_units) == (units, fee, came)
    assert (now.missing, now.surplus) == (0, 0)


def test_what_is_too_much_makes_the_price_larger_and_not_the_fee() -> None:
    now = parts(1_000, 100, "buyer").came(1_350).kept()
    assert (now.units, now.fee_units, now.wanted_units, now.surplus) == (1_250, 100, 1_350, 0)


def test_what_a_deposit_took_with_it_is_made_good_when_it_is_back() -> None:
    now = parts(1_000, 0, "vendor").came(1_000)
    now, _, _ = now.released(300)
    now, here = now.taken_back(1_000)
    assert (here, now.undone_units, now.held_units, now.received_units, now.missing) == (700, 300, 0, 0, 700)
    now = now.came(1_000).repaid(300)
    assert (now.held_units, now.undone_units, now.missing, now.surplus) == (700, 0, 0, 0)


@settings(max_examples=400, deadline=None)
@given(units=PRICES, share=st.floats(0, 1), fee_from=st.sampled_from(["buyer", "vendor"]), steps=STEPS)
def test_every_unit_goes_somewhere_once(
    units: int, share: float, fee_from: str, steps: list[tuple[str, float]]
) -> None:
    fee = min(int(units * share), units - 1 if fee_from == "vendor" else units)
    now = parts(units, fee, fee_from)
    now = now.came(now.wanted_units)
    came, gone = now.wanted_units, 0
    for word, part in steps:
        if now.left == 0:
            break
        some = max(1, min(now.left, int(now.left * part)))
        if word == "release":
            before = now
            now, vendor, taken = now.released(some)
            gone += vendor + taken
            assert min(vendor, taken) >= 0
            assert vendor == some - (taken if fee_from == "vendor" else 0)
            assert now.fee_taken_units >= before.fee_taken_units
        elif word == "refund":
            now, back = now.refunded(some)
            gone += back
            assert back >= some
        elif word == "keep":
            now = now.came(some).kept()
            came += some
        elif now.held_units > some:
            now, here = now.taken_back(some)
            came -= here
            now = now.shrunk()
        assert (now.missing, now.surplus) == (0, 0)
        assert gone + now.held_units == came
    if now.left:
        now, vendor, taken = now.released(now.left)
        gone += vendor + taken
    assert (now.held_units, gone) == (0, came)


@settings(max_examples=200, deadline=None)
@given(units=PRICES, share=st.floats(0, 1), cuts=st.lists(st.floats(0, 1), max_size=6))
def test_the_fee_by_any_moment_does_not_depend_on_the_steps(units: int, share: float, cuts: list[float]) -> None:
    fee = min(int(units * share), units)
    now = parts(units, fee, "buyer").came(units + fee)
    for cut in cuts:
        some = min(now.left, int(units * cut / 6))
        if some:
            now, _, _ = now.released(some)
        assert now.fee_taken_units == fee * now.released_units // units
