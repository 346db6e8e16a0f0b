"""The house's inventory on both databases: filled from capital, never beyond it, watched, and reported."""

from __future__ import annotations

from fractions import Fraction
from functools import partial

import pytest

from jobs.swap import inventory, inventory_report
from ledger.errors import InsufficientFunds, InvalidInput
from ledger.schema import audit
from tests.clock import Clock
from tests.flows.books_engine import BooksEngine
from tests.flows.swapping import BTC, XMR, accept, ask, together, units
from tests.flows.trade_engine import INVENTORY


def fund(counter: BooksEngine, code: str, amount: int) -> None:
    counter.database.run(lambda tx: inventory.fund(tx, code, amount, "operator:ann"), "test_fund")


def withdraw(counter: BooksEngine, code: str, amount: int) -> None:
    counter.database.run(lambda tx: inventory.withdraw(tx, code, amount, "operator:ann"), "test_withdraw")


def test_inventory_comes_from_capital_and_goes_back_and_both_are_audited(counter: BooksEngine) -> None:
    counter.give((1, "capital"), "BTC", BTC)
    fund(counter, "BTC", BTC // 2)
    assert (counter.guarded("inventory", "BTC"), counter.house("capital")) == (INVENTORY["BTC"] + BTC // 2, BTC // 2)
    withdraw(counter, "BTC", BTC)
    assert (counter.guarded("inventory", "BTC"), counter.house("capital")) == (
        INVENTORY["BTC"] - BTC // 2,
        BTC + BTC // 2,
    )
    acts = [(row.actor, row.action, row.target, row.details["amount"]) for row in counter.rows(audit)[-2:]]
    assert acts == [
        ("operator:ann", "inventory.fund", "BTC", "0.50000000"),
        ("operator:ann", "inventory.withdraw", "BTC", "1.00000000"),
    ]
    counter.check_invariants()


def test_more_than_the_house_has_is_refused_both_ways(counter: BooksEngine) -> None:
    with pytest.raises(InsufficientFunds, match="capital is"):
        fund(counter, "BTC", 1)
    with pytest.raises(InsufficientFunds, match="free are"):
        withdraw(counter, "BTC", INVENTORY["BTC"] + 1)
    with pytest.raises(InvalidInput):
        fund(counter, "DOGE", 1)
    assert counter.guarded("inventory", "BTC") == INVENTORY["BTC"]


def test_capital_is_set_aside_once_by_operators_at_the_same_moment(counter: BooksEngine) -> None:
    calls = [partial(fund, counter, "BTC", BTC)] * 8
    assert {type(each) for each in together(calls)} == {InsufficientFunds}  # and all have a connection now
    counter.give((1, "capital"), "BTC", BTC)
    found = together(calls)
    assert [type(each) for each in found if each is not None] == [InsufficientFunds] * 7
    assert counter.house("capital") == 0
    counter.check_invariants()


def test_too_little_and_too_much_raise_an_alarm_until_it_is_over(counter: BooksEngine) -> None:
    low, high = ("inventory_low", "inventory:BTC"), ("inventory_high", "inventory:BTC")
    for rules, wrong in (
        ({"inventory_low_units": INVENTORY["BTC"] + 1}, {low}),
        ({"inventory_low_units": INVENTORY["BTC"], "inventory_high_units": INVENTORY["BTC"] - 1}, {high}),
        ({"inventory_high_units": INVENTORY["BTC"]}, set()),
        ({"inventory_high_units": 0}, set()),
    ):
        counter.set_policy("BTC", **rules)
        counter.run_due(["inventory"])
        assert {alarm for alarm in counter.alarms() if alarm[1] == "inventory:BTC"} == wrong


def test_the_report_adds_up_to_what_the_house_gained(counter: BooksEngine, clock: Clock) -> None:
    owner = counter.funded_in(BTC=BTC, XMR=100 * XMR)
    accept(counter, owner, ask(counter, "BTC", "XMR", sells=BTC // 10))
    clock.forward(hours=1)
    middle = counter.database.now()
    counter.set_rates(BTC="60000", XMR="150")
    accept(counter, owner, ask(counter, "BTC", "XMR", buys=XMR + 1))
    last = accept(counter, owner, ask(counter, "XMR", "BTC", sells=10 * XMR))
    found = counter.database.read(lambda tx: inventory_report.report(tx, 0))
    prices, gained = {"BTC": Fraction(60_000, BTC), "XMR": Fraction(150, XMR)}, Fraction(0)
    for code, price in prices.items():
        owned = (
            counter.guarded("inventory", code) + counter.house("service_fees", code) + counter.house("rounding", code)
        )
        gained += (owned - INVENTORY[code]) * price
    assert found.swaps == 3
    assert found.profit == gained > 0
    assert found.turnover["BTC"].bought == units(last, "buy")
    assert found.turnover["XMR"].service_fees == counter.house("service_fees", "XMR")
    assert found.value == sum(counter.guarded("inventory", code) * price for code, price in prices.items())
    later = counter.database.read(lambda tx: inventory_report.report(tx, middle))
    assert (later.swaps, later.turnover["BTC"].bought) == (2, units(last, "buy"))


def test_sums_are_shown_rounded_down() -> None:
    assert [inventory_report.shown(Fraction(text)) for text in ("1.999", "0.5", "-0.001", "12345678.1")] == [
        "1.99",
        "0.50",
        "-0.01",
        "12345678.10",
    ]
