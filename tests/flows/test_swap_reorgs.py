"""Deposits of swaps that the chain takes back: before the exchange, after it, and after all is paid."""

from __future__ import annotations

from jobs import halting
from ledger import pauses
from tests.flows.swap_desk import BOUGHT, BTC_FEE, SELL, XMR_FEE, Desk


def test_before_the_exchange_the_swap_waits_as_if_nothing_had_come(desk: Desk) -> None:
    swap = desk.open()
    txid = desk.pay(swap, SELL // 2)
    desk.engine.chain.reorg(6, gone=[txid])
    desk.work()
    row = desk.row(swap)
    assert (row.state, row.status_reason) == ("awaiting_deposit", "funding_reversed")
    assert (row.held_units, row.received_units) == (0, 0)
    assert desk.engine.frozen(row.account_id) is None
    desk.pay(swap)
    desk.settle()
    assert desk.got(swap) == BOUGHT - XMR_FEE
    desk.check()


def test_a_late_one_that_is_taken_back_leaves_the_swap_expired(desk: Desk) -> None:
    swap = desk.open()
    desk.late()
    desk.engine.no_rates()
    txid = desk.pay(swap)
    assert desk.state(swap) == ("expired", "rate_stale")
    desk.engine.chain.reorg(6, gone=[txid])
    desk.work()
    assert desk.state(swap) == ("expired", "funding_reversed")
    assert desk.row(swap).held_units == 0
    desk.check()


def test_after_the_exchange_a_payout_that_waits_is_cancelled_and_stays_frozen(desk: Desk) -> None:
    desk.engine.set_policy("XMR", withdrawal_approval_above_units=10**12)
    swap = desk.open()
    txid = desk.pay(swap)
    assert desk.state(swap)[0] == "paying_out"
    desk.engine.chain.reorg(6, gone=[txid])
    desk.work()
    owner = desk.row(swap).account_id
    assert desk.state(swap) == ("failed", "funding_reversed")
    assert desk.engine.frozen(owner) == "reorg_debt"
    assert desk.engine.balance(owner, "receivable", "BTC") == SELL
    assert desk.balance(swap, "XMR") == BOUGHT
    desk.settle()
    assert desk.got(swap) == 0
    desk.check()


def test_the_debt_is_repaid_and_the_account_freed_when_the_deposit_is_back(desk: Desk) -> None:
    desk.engine.set_policy("XMR", withdrawal_approval_above_units=10**12)
    swap = desk.open()
    desk.pay(swap)
    desk.engine.chain.reorg(6)  # it waits in the pool again
    desk.work()
    owner = desk.row(swap).account_id
    assert desk.engine.frozen(owner) == "reorg_debt"
    desk.mine()
    desk.work()
    assert desk.engine.frozen(owner) is None
    assert desk.engine.balance(owner, "receivable", "BTC") == 0
    assert [desk.balance(swap, code) for code in ("BTC", "XMR")] == [0, BOUGHT]
    assert desk.state(swap) == ("failed", "funding_returned")
    assert desk.told(swap)[-3:] == ["funding_reversed", "failed", "funding_returned"]
    desk.check()


def test_an_exchange_that_waits_for_its_payout_goes_on_when_the_deposit_is_back(desk: Desk) -> None:
    swap = desk.open()
    desk.engine.database.run(lambda tx: pauses.stop(tx, "XMR", "withdrawals", "a test", "test"), "test_pause")
    desk.pay(swap)
    assert desk.state(swap) == ("executed", "paused")
    desk.engine.chain.reorg(6)
    desk.work()
    desk.engine.database.run(lambda tx: pauses.resume(tx, "XMR", "withdrawals", "test"), "test_pause")
    desk.work()
    assert desk.state(swap) == ("executed", "funding_reversed")
    desk.mine()
    desk.settle()
    assert desk.state(swap)[0] == "completed"
    assert desk.got(swap) == BOUGHT - XMR_FEE
    desk.check()


def test_after_completion_the_account_owes_and_the_swap_stays_completed(desk: Desk) -> None:
    swap = desk.open()
    txid = desk.pay(swap)
    desk.engine.monero.mine(12)
    desk.work()
    for _ in range(2):
        desk.engine.monero.mine(12)
        desk.work()
    assert desk.state(swap)[0] == "completed"
    desk.engine.chain.reorg(6, gone=[txid])
    desk.work()
    owner = desk.row(swap).account_id
    assert desk.state(swap) == ("completed", "funding_reversed")
    assert desk.engine.balance(owner, "receivable", "BTC") == SELL
    assert desk.engine.frozen(owner) == "reorg_debt"
    assert desk.got(swap) == BOUGHT - XMR_FEE
    desk.check()


def test_a_refund_that_waits_is_cancelled_with_the_deposit_that_it_would_give_back(desk: Desk) -> None:
    desk.engine.set_policy("BTC", withdrawal_approval_above_units=10_000)
    swap = desk.open()
    desk.late()
    desk.engine.set_rates(BTC="50000", XMR="150")
    txid = desk.pay(swap)
    assert desk.state(swap)[0] == "refunding"
    desk.engine.chain.reorg(6, gone=[txid])
    desk.settle()
    owner = desk.row(swap).account_id
    assert desk.state(swap) == ("refunded", "funding_reversed")
    assert desk.refunded(swap) == desk.balance(swap, "BTC") == 0
    assert desk.engine.frozen(owner) is None
    desk.check()


def test_a_refund_that_was_sent_is_owed(desk: Desk) -> None:
    swap = desk.open()
    desk.late()
    desk.engine.set_rates(BTC="50000", XMR="150")
    txid = desk.pay(swap)
    assert desk.refunded(swap) == SELL - BTC_FEE  # in the pool
    desk.engine.chain.reorg(6, gone=[txid])
    desk.work()
    owner = desk.row(swap).account_id
    assert desk.engine.balance(owner, "receivable", "BTC") == SELL
    desk.settle()
    assert desk.state(swap)[0] == "refunded"
    desk.check()


def test_a_refund_that_may_have_been_paid_before_a_restore_is_owed_and_stays_where_it_is(desk: Desk) -> None:
    """What the lost rows knew nobody knows yet: given back, it would have been paid and given back."""
    engine = desk.engine
    engine.set_policy("BTC", withdrawal_approval_above_units=10_000)
    swap = desk.open()
    desk.late()
    engine.set_rates(BTC="50000", XMR="150")
    txid = desk.pay(swap)
    refund = desk.row(swap).refund_withdrawal_id
    owner = desk.row(swap).account_id
    engine.database.run(lambda tx: halting.stop(tx, engine.name, "restored", "a drill", "op"), "test_halt")
    engine.chain.reorg(6, gone=[txid])
    desk.work()
    assert engine.state(refund) == "pending_approval"
    assert (engine.balance(owner, "held"), engine.balance(owner, "receivable")) == (SELL, SELL)
    assert engine.frozen(owner) == "reorg_debt"
    desk.check()
    engine.database.run(lambda tx: halting.lift(tx, engine.name, "restored", "op"), "test_halt")
    desk.settle()
    assert desk.refunded(swap) == 0
    desk.check()
