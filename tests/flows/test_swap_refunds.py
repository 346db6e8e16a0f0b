"""Swaps by deposit that are not exchanged, or not paid out: where the money is then."""

from __future__ import annotations

from collections import Counter
from functools import partial

import pytest

from jobs import withdrawal
from ledger import accounts, ownership, pauses
from ledger.db import Tx
from ledger.errors import (
    AccountFrozen,
    AssetPaused,
    InvalidAddress,
    InvalidInput,
    InventoryShort,
    LimitExceeded,
    QuoteExpired,
    QuoteUsed,
)
from ledger.schema import deposit, swap
from tests.flows.swap_desk import BOUGHT, BTC_FEE, SELL, XMR_FEE, Desk
from tests.flows.swapping import together
from tests.flows.trade_engine import PRICES


def test_late_at_a_worse_rate_is_refunded_less_the_network_fee(desk: Desk) -> None:
    swap_id = desk.open(slippage_ppm=10_000)
    desk.late()
    desk.engine.set_rates(BTC="59000", XMR="150")
    desk.pay(swap_id)
    desk.settle()
    assert desk.state(swap_id) == ("refunded", "slippage_exceeded")
    assert desk.refunded(swap_id) == SELL - BTC_FEE
    assert desk.got(swap_id) == 0
    assert desk.told(swap_id) == ["awaiting_deposit", "expired", "paid_in", "refunding", "refunded"]
    assert [desk.balance(swap_id, code) for code in ("BTC", "XMR")] == [0, 0]
    row = desk.engine.rows(deposit)[-1]
    story = desk.engine.database.read(lambda tx: ownership.of(tx, ("deposit", row.id)))
    assert (story[-1].event, story[-1].place, story[-1].units) == ("refunded", "available", SELL)
    desk.check()


def test_too_little_at_the_deadline_at_a_worse_rate_is_refunded(desk: Desk) -> None:
    swap_id = desk.open()
    desk.pay(swap_id, SELL // 2)
    desk.engine.set_rates(BTC="59999", XMR="150")
    desk.pass_by(minutes=21)
    desk.settle()
    assert desk.state(swap_id) == ("refunded", "slippage_exceeded")
    assert desk.refunded(swap_id) == SELL // 2 - BTC_FEE
    desk.check()


def test_without_a_refund_address_it_stays_in_the_balance(desk: Desk) -> None:
    swap_id = desk.open(refund=None)
    desk.late()
    desk.engine.set_rates(BTC="50000", XMR="150")
    desk.pay(swap_id)
    assert desk.state(swap_id) == ("refunded", "to_balance")
    assert desk.balance(swap_id, "BTC") == SELL
    desk.check()


def test_what_the_fee_would_eat_stays_in_the_balance(desk: Desk) -> None:
    swap_id = desk.open()
    desk.late()
    desk.pay(swap_id, BTC_FEE - 1)
    assert desk.state(swap_id) == ("refunded", "below_fee")
    assert desk.balance(swap_id, "BTC") == BTC_FEE - 1
    desk.check()


def test_without_rates_for_an_hour_it_goes_back(desk: Desk) -> None:
    swap_id = desk.open()
    desk.late()
    desk.engine.no_rates()
    desk.pay(swap_id)
    assert desk.state(swap_id) == ("expired", "rate_stale")
    desk.engine.no_rates()
    desk.pass_by(minutes=59)
    assert desk.state(swap_id) == ("expired", "rate_stale")
    desk.pass_by(minutes=2)
    desk.settle()
    assert desk.state(swap_id) == ("refunded", "rate_stale")
    assert desk.refunded(swap_id) == SELL - BTC_FEE
    desk.check()


def test_rates_that_are_back_within_the_hour_are_used(desk: Desk) -> None:
    swap_id = desk.open()
    desk.late()
    desk.engine.set_rates(problem="divergent", **PRICES)
    desk.pay(swap_id)
    assert desk.state(swap_id) == ("expired", "rate_divergent")
    desk.engine.set_rates(**PRICES)
    desk.settle()
    assert desk.got(swap_id) == BOUGHT - XMR_FEE
    desk.check()


def test_missing_rates_do_not_stop_what_has_its_rate(desk: Desk) -> None:
    swap_id = desk.open()
    desk.engine.no_rates()
    desk.pay(swap_id)
    desk.settle()
    assert desk.got(swap_id) == BOUGHT - XMR_FEE
    desk.check()


def test_an_inventory_that_is_short_by_then_refunds(desk: Desk) -> None:
    swap_id = desk.open()
    desk.late()
    other = _bind_nearly_all(desk)
    desk.pay(swap_id, 5 * SELL)
    desk.settle()
    assert desk.state(swap_id) == ("refunded", "inventory_short")
    assert desk.refunded(swap_id) == 5 * SELL - BTC_FEE
    assert desk.state(other) == ("awaiting_deposit", None)
    desk.check()


@pytest.mark.parametrize("end", ["rejected", "cancelled", "failed"])
def test_a_payout_that_is_not_made_leaves_what_was_bought_in_the_balance(desk: Desk, end: str) -> None:
    engine = desk.engine
    engine.set_policy("XMR", withdrawal_approval_above_units=10**12)
    swap_id = desk.open()
    desk.pay(swap_id)
    assert desk.state(swap_id)[0] == "paying_out"
    payout = desk.row(swap_id).withdrawal_id

    def finish(tx: Tx) -> None:
        if end == "failed":
            withdrawal.give_back(tx, withdrawal.lock_all(tx, [payout])[0], "failed", "proven_dead")
        elif end == "rejected":
            withdrawal.reject(tx, engine.person("bob"), payout, "no")
        else:
            withdrawal.cancel(tx, engine.caller, payout)

    assert desk.row(swap_id).due_at > engine.database.now()
    engine.database.run(finish, "test_end")
    assert desk.row(swap_id).due_at <= engine.database.now()  # the withdrawal has woken it
    engine.tick()
    assert desk.state(swap_id) == ("failed", f"payout_{end}")
    assert desk.balance(swap_id, "XMR") == BOUGHT
    assert desk.told(swap_id)[-1] == "failed"
    desk.settle()
    assert desk.got(swap_id) == 0
    desk.check()


def test_a_payout_keeps_to_the_limits_of_withdrawals(desk: Desk) -> None:
    """They are counted when it leaves, not when the quote is accepted."""
    swap_id = desk.open()
    desk.engine.set_policy("XMR", withdrawal_daily_units=10**12)
    desk.pay(swap_id)
    assert desk.state(swap_id) == ("failed", "payout_limit_exceeded")
    assert desk.balance(swap_id, "XMR") == BOUGHT
    desk.check()


def test_a_refund_that_is_rejected_leaves_it_in_the_balance(desk: Desk) -> None:
    engine = desk.engine
    engine.set_policy("BTC", withdrawal_approval_above_units=10_000)
    swap_id = desk.open()
    desk.late()
    engine.set_rates(BTC="50000", XMR="150")
    desk.pay(swap_id)
    back = desk.row(swap_id).refund_withdrawal_id
    assert desk.state(swap_id)[0] == "refunding"
    engine.database.run(lambda tx: withdrawal.reject(tx, engine.person("bob"), back, "no"), "test_reject")
    desk.work()
    assert desk.state(swap_id) == ("refunded", "refund_rejected")
    assert desk.balance(swap_id, "BTC") == SELL
    desk.check()


def test_while_swaps_are_paused_money_waits_and_keeps_its_rate(desk: Desk) -> None:
    swap_id = desk.open()
    desk.engine.database.run(lambda tx: pauses.stop(tx, "BTC", "swaps", "a test", "test"), "test_pause")
    with pytest.raises(AssetPaused):
        desk.open()
    desk.pay(swap_id)
    assert desk.state(swap_id) == ("awaiting_deposit", "paused")
    desk.engine.set_rates(BTC="50000", XMR="150")
    desk.engine.database.run(lambda tx: pauses.resume(tx, "BTC", "swaps", "test"), "test_pause")
    desk.settle()
    assert desk.got(swap_id) == BOUGHT - XMR_FEE
    desk.check()


def test_while_withdrawals_are_paused_payouts_and_refunds_wait(desk: Desk) -> None:
    swap_id, late = desk.open(), desk.open()
    desk.send(swap_id, blocks=0)
    desk.engine.tick()  # seen in time
    for code in ("BTC", "XMR"):
        desk.engine.database.run(lambda tx, c=code: pauses.stop(tx, c, "withdrawals", "a test", "test"), "test_pause")
    desk.late()
    desk.engine.set_rates(BTC="50000", XMR="150")
    desk.pay(late)
    assert desk.state(swap_id) == ("executed", "paused")
    assert desk.state(late) == ("refunding", "slippage_exceeded")
    desk.check()
    for code in ("BTC", "XMR"):
        desk.engine.database.run(lambda tx, c=code: pauses.resume(tx, c, "withdrawals", "test"), "test_pause")
    desk.settle()
    assert (desk.got(swap_id), desk.refunded(late)) == (BOUGHT - XMR_FEE, SELL - BTC_FEE)
    assert desk.state(swap_id)[0] == "completed"
    assert desk.state(late)[0] == "refunded"
    desk.check()


def test_a_frozen_account_s_deposit_waits_for_hours_and_then_is_its_balance(desk: Desk) -> None:
    swap_id = desk.open()
    owner = desk.row(swap_id).account_id
    desk.engine.database.run(lambda tx: accounts.freeze(tx, owner, "suspicion"), "test_freeze")
    with pytest.raises(AccountFrozen):
        desk.open(account=owner)
    desk.pay(swap_id)
    assert desk.state(swap_id) == ("awaiting_deposit", "account_frozen")
    desk.pass_by(hours=5)
    assert desk.state(swap_id) == ("refunded", "account_frozen")
    assert desk.balance(swap_id, "BTC") == SELL
    desk.check()


def test_unpaid_reservations_are_capped_per_account(desk: Desk) -> None:
    owner = desk.engine.account()
    waiting = [desk.open(account=owner) for _ in range(3)]
    with pytest.raises(LimitExceeded):
        desk.open(account=owner)
    desk.open()  # others are not meant
    desk.pay(waiting[0])
    desk.open(account=owner)
    desk.check()


def test_the_cap_holds_when_all_accept_at_once(desk: Desk) -> None:
    owner = desk.engine.account()
    made = [desk.quote()["id"] for _ in range(8)]
    found = together([partial(desk.accept, quote, desk.wish(account=owner)) for quote in made])
    assert Counter(type(each) for each in found) == {int: 3, LimitExceeded: 5}, found
    assert sum(row.reserved_units for row in desk.engine.rows(swap)) == desk.engine.guarded("reserved", "XMR")
    desk.check()


def test_a_refused_acceptance_leaves_nothing_behind(desk: Desk) -> None:
    """Addresses of another chain, or of our own; a quote that is used, too old, or for something else."""
    engine = desk.engine
    owner = engine.account()
    own = {code: engine.address(owner, coin).address for code, coin in desk.coins.items()}
    wrong = [
        ({"payout_address": engine.outside("BTC")}, "/payout_address", "address_invalid"),
        ({"payout_address": own["XMR"]}, "/payout_address", "address_own"),
        ({"refund": engine.outside("XMR")}, "/refund_address", "address_invalid"),
        ({"refund": own["BTC"]}, "/refund_address", "address_own"),
    ]
    for wish, pointer, code in wrong:
        with pytest.raises(InvalidAddress) as refused:
            desk.open(**wish)
        assert (refused.value.pointer, refused.value.code) == (pointer, code)
    with pytest.raises(InvalidInput):
        desk.accept(desk.quote(payout=True)["id"], desk.wish(payout_address=None))
    old = desk.quote()
    desk.clock.forward(seconds=61)
    with pytest.raises(QuoteExpired):
        desk.accept(old["id"], desk.wish())
    taken = desk.quote()
    desk.accept(taken["id"], desk.wish())
    with pytest.raises(QuoteUsed):
        desk.accept(taken["id"], desk.wish())
    last = desk.quote(sell=5 * SELL)
    _bind_nearly_all(desk)
    with pytest.raises(InventoryShort):
        desk.accept(last["id"], desk.wish())
    assert len(engine.rows(swap)) == 3
    desk.check()


def test_a_late_payment_does_not_complete_one_that_came_in_time(desk: Desk) -> None:
    """Otherwise half an amount in time would hold the rate for the other half for as long as it is unconfirmed."""
    swap_id = desk.open()
    desk.pay(swap_id, SELL // 2, blocks=0)
    desk.pass_by(minutes=21)
    assert desk.state(swap_id) == ("expired", "unconfirmed")
    desk.engine.set_rates(BTC="50000", XMR="150")
    desk.pay(swap_id, SELL // 2)
    desk.settle()
    assert desk.state(swap_id) == ("refunded", "slippage_exceeded")
    assert desk.refunded(swap_id) == SELL - BTC_FEE
    desk.check()


def test_a_late_payment_does_not_complete_one_that_is_waited_for(desk: Desk) -> None:
    """What waits for its second half in time does not take another one that came too late for it."""
    swap_id = desk.open()
    desk.pay(swap_id, SELL // 2)
    desk.pay(swap_id, SELL // 2, blocks=0)
    desk.pass_by(minutes=21)
    desk.engine.set_rates(BTC="50000", XMR="150")
    late = desk.send(swap_id, SELL // 2, blocks=0)
    desk.work()
    desk.engine.chain.mine(6, only=[late])
    desk.work()
    assert desk.state(swap_id) == ("awaiting_deposit", "underpaid")
    assert desk.row(swap_id).held_units == SELL
    desk.mine()
    desk.settle()
    assert desk.state(swap_id) == ("completed", None)
    assert (desk.got(swap_id), desk.balance(swap_id, "BTC")) == (BOUGHT - XMR_FEE, SELL // 2)
    desk.check()


def _bind_nearly_all(desk: Desk) -> int:
    """Others wait with reservations of all but a small part of the inventory; one of them."""
    desk.open(sell=24 * SELL, payout_address=None)
    return desk.open(sell=24 * SELL - SELL // 2, payout_address=None)
