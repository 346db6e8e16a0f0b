"""What operators see of swaps that are stuck, and what they may do about them."""

from __future__ import annotations

import pytest

from cli import swaps as command
from jobs import explain
from jobs.swap import resolve as swap_resolve
from ledger import audit as audit_log
from ledger import pauses
from ledger.errors import NotFound, StateConflict
from ledger.schema import audit as audit_rows
from tests.flows.swap_desk import BOUGHT, BTC_FEE, SELL, Desk


def _refund(desk: Desk, swap: int, *, to_balance: bool = False) -> str:
    name = desk.row(swap).public_id
    return str(
        desk.engine.database.run(
            lambda tx: swap_resolve.refund(tx, name, "operator:ann", to_balance=to_balance), "test_refund"
        )
    )


def _pause(desk: Desk, code: str, flow: str) -> None:
    desk.engine.database.run(lambda tx: pauses.stop(tx, code, flow, "a test", "test"), "test_pause")


def _steps(desk: Desk, swap: int) -> str:
    name = desk.row(swap).public_id
    return "\n".join(desk.engine.database.read(lambda tx: command._show(tx, name))["next_steps"])


def test_what_waits_for_a_paused_exchange_can_be_sent_back(desk: Desk) -> None:
    swap = desk.open()
    _pause(desk, "BTC", "swaps")
    desk.pay(swap)
    listed = desk.engine.database.read(lambda tx: command._list(tx, ()))
    assert [(row["state"], row["reason"], row["held"]) for row in listed] == [
        ("awaiting_deposit", "paused", "0.10000000 BTC")
    ]
    assert "coffer resume BTC swaps" in _steps(desk, swap)
    assert "coffer swaps refund" in _steps(desk, swap)
    assert _refund(desk, swap) == "refunding"
    assert desk.engine.guarded("reserved", "XMR") == 0
    desk.settle()
    assert desk.state(swap) == ("refunded", "by_operator")
    assert desk.refunded(swap) == SELL - BTC_FEE
    acts = [row for row in desk.engine.rows(audit_rows) if row.action == "swap.refund"]
    assert [(row.actor, row.target) for row in acts] == [("operator:ann", desk.row(swap).public_id)]
    assert desk.engine.database.read(audit_log.faults) == []
    desk.check()


def test_a_refund_that_waits_can_be_left_in_the_balance(desk: Desk) -> None:
    swap = desk.open()
    desk.late()
    desk.engine.set_rates(BTC="50000", XMR="150")
    _pause(desk, "BTC", "withdrawals")
    desk.pay(swap)
    assert desk.state(swap)[0] == "refunding"
    with pytest.raises(StateConflict):
        _refund(desk, swap)
    assert "--to-balance" in _steps(desk, swap)
    _refund(desk, swap, to_balance=True)
    desk.work()
    assert desk.state(swap) == ("refunded", "by_operator")
    assert desk.balance(swap, "BTC") == SELL
    desk.check()


def test_a_payout_that_waits_can_be_left_in_the_balance(desk: Desk) -> None:
    swap = desk.open()
    _pause(desk, "XMR", "withdrawals")
    desk.pay(swap)
    assert desk.state(swap) == ("executed", "paused")
    assert _refund(desk, swap, to_balance=True) == "failed"
    desk.engine.database.run(lambda tx: pauses.resume(tx, "XMR", "withdrawals", "test"), "test_pause")
    desk.settle()
    assert desk.state(swap) == ("failed", "payout_by_operator")
    assert (desk.balance(swap, "XMR"), desk.got(swap)) == (BOUGHT, 0)
    desk.check()


def test_money_that_is_on_its_way_is_not_given_back_a_second_time(desk: Desk) -> None:
    waiting, paying, late = desk.open(), desk.open(), desk.open()
    desk.pay(paying)
    desk.late()
    desk.engine.set_rates(BTC="50000", XMR="150")
    desk.pay(late)
    for swap in (waiting, paying, late):
        for to_balance in (False, True):
            with pytest.raises(StateConflict):
                _refund(desk, swap, to_balance=to_balance)
    with pytest.raises(NotFound):
        desk.engine.database.run(lambda tx: swap_resolve.refund(tx, "sw_none", "operator:ann"), "test_refund")
    desk.settle()
    desk.check()


def test_explain_finds_the_swap_by_its_address_and_tells_of_its_money(desk: Desk) -> None:
    swap = desk.open()
    desk.pay(swap)
    desk.settle()
    home = desk.home(swap).address
    found = desk.engine.database.read(lambda tx: explain.explain(tx, home))
    assert {subject["kind"] for subject in found.subjects} >= {"swap", "deposit", "address"}
    told = "\n".join(moment.what for moment in found.timeline)
    assert "awaiting_deposit -> executed" in told
    assert "event swap.completed" in told
