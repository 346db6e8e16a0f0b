"""Swaps by deposit that come to an exchange: what came, when it came, and what it bought."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from jobs import purposes
from jobs.swap import balance as swap_balance
from jobs.swap import quotes
from jobs.swap.books import Wish
from jobs.swap.saga import SWAP
from ledger import ownership
from ledger.db import Tx
from ledger.errors import LeaseLost
from ledger.money import BTC, XMR
from ledger.schema import deposit, quote
from tests.flows.swap_desk import BOUGHT, SELL, XMR_FEE, Desk
from tests.flows.trade_engine import INVENTORY

PAID_OUT = BOUGHT - XMR_FEE


def test_the_quoted_amount_in_time_is_paid_out_as_quoted(desk: Desk) -> None:
    swap = desk.open()
    assert desk.state(swap) == ("awaiting_deposit", None)
    out = desk.row(swap).reserved_units
    assert desk.engine.guarded("reserved", "XMR") == out == BOUGHT + desk.row(swap).service_fee_units
    desk.pay(swap, blocks=1)
    assert desk.state(swap) == ("awaiting_deposit", "deposit_seen")
    desk.mine()
    assert desk.state(swap)[0] == "paying_out"
    desk.settle()
    assert desk.state(swap) == ("completed", None)
    assert desk.got(swap) == PAID_OUT
    assert desk.told(swap) == ["awaiting_deposit", "paid_in", "executed", "paying_out", "completed"]
    assert [desk.balance(swap, code) for code in ("BTC", "XMR")] == [0, 0]
    desk.check()


def test_without_a_payout_address_what_is_bought_goes_to_the_balance(desk: Desk) -> None:
    swap = desk.open(payout_address=None)
    desk.pay(swap)
    assert desk.state(swap) == ("completed", None)
    assert desk.balance(swap, "XMR") == BOUGHT
    desk.check()


def test_the_deposit_s_history_tells_that_it_was_swapped(desk: Desk) -> None:
    swap = desk.open(payout_address=None)
    desk.pay(swap, SELL + 10)
    row = desk.engine.rows(deposit)[-1]
    story = desk.engine.database.read(lambda tx: ownership.of(tx, ("deposit", row.id)))
    assert [(r.event, r.place, r.units) for r in story][-1] == ("swapped", "inventory", SELL + 10)
    desk.check()


def test_a_little_less_or_more_gets_the_quoted_rate_for_what_came(desk: Desk) -> None:
    """Half a percent is tolerated. The network fee does not shrink or grow with the amount."""
    less, more = desk.open(), desk.open()
    desk.send(less, SELL - SELL // 200)
    desk.pay(more, SELL + SELL // 200)
    desk.settle()
    assert desk.state(less) == desk.state(more) == ("completed", None)
    assert desk.got(less) == (BOUGHT * 995) // 1000 - XMR_FEE
    assert desk.got(more) == (BOUGHT * 1005) // 1000 - XMR_FEE
    desk.check()


def test_a_little_more_than_the_inventory_has_is_returned_to_the_balance(desk: Desk) -> None:
    swap = desk.open(payout_address=None)
    everything = desk.engine.guarded("inventory", "XMR")
    others = desk.engine.funded_in(BTC=6 * 10**8)
    _swap_from_balance(desk, others, everything)
    desk.pay(swap, SELL + 10_000)
    assert desk.state(swap) == ("completed", None)
    assert (desk.balance(swap, "XMR"), desk.balance(swap, "BTC")) == (BOUGHT, 10_000)
    row = desk.engine.rows(deposit)[-1]
    story = desk.engine.database.read(lambda tx: ownership.of(tx, ("deposit", row.id)))
    assert [(r.event, r.place, r.units) for r in story][-2:] == [
        ("swapped", "inventory", SELL),
        ("returned", "available", 10_000),
    ]
    desk.check()


def test_split_payments_add_up(desk: Desk) -> None:
    swap = desk.open()
    desk.pay(swap, SELL // 4)
    assert desk.state(swap) == ("awaiting_deposit", "underpaid")
    desk.send(swap, SELL // 4)
    desk.pay(swap, SELL // 2)
    desk.settle()
    assert desk.state(swap) == ("completed", None)
    assert desk.got(swap) == PAID_OUT
    desk.check()


def test_too_little_at_the_deadline_is_exchanged_at_a_rate_no_worse(desk: Desk) -> None:
    swap = desk.open()
    desk.pay(swap, SELL // 2)
    assert desk.state(swap) == ("awaiting_deposit", "underpaid")
    desk.engine.set_rates(BTC="60100", XMR="150")
    desk.pass_by(minutes=21)
    desk.settle()
    assert desk.state(swap) == ("completed", None)
    assert BOUGHT // 2 < desk.got(swap) < BOUGHT * 6010 // 6000 // 2
    row = desk.row(swap)
    assert row.requote_sell_rate_id > desk.engine.row(quote, row.quote_id).sell_rate_id
    assert row.sell_units == SELL // 2
    desk.check()


def test_far_too_much_is_exchanged_at_the_rate_of_now_at_once(desk: Desk) -> None:
    swap = desk.open()
    desk.pay(swap, 2 * SELL)
    desk.settle()
    assert desk.state(swap) == ("completed", None)
    assert desk.got(swap) == 2 * BOUGHT - XMR_FEE
    desk.check()


def test_a_deposit_seen_in_time_keeps_its_rate_until_it_is_credited(desk: Desk) -> None:
    """SPEC decision 16, whatever the price does meanwhile; the time counts when it is first seen."""
    swap = desk.open()
    desk.pay(swap, blocks=0)
    desk.engine.set_rates(BTC="30000", XMR="150")
    desk.pass_by(hours=1)
    assert desk.state(swap) == ("awaiting_deposit", "deposit_seen")
    desk.mine()
    desk.settle()
    assert desk.got(swap) == PAID_OUT
    desk.check()


def test_a_deposit_that_stays_unconfirmed_for_hours_no_longer_holds_the_rate(desk: Desk) -> None:
    """Otherwise a payment with hardly any fee would be a bet on the price that the house cannot win."""
    swap = desk.open()
    desk.pay(swap, blocks=0)
    desk.pass_by(hours=5)
    assert desk.state(swap) == ("expired", "unconfirmed")
    assert desk.engine.guarded("reserved", "XMR") == 0
    desk.engine.set_rates(BTC="30000", XMR="150")
    desk.mine()
    desk.settle()
    assert desk.state(swap) == ("refunded", "slippage_exceeded")
    desk.check()


@pytest.mark.parametrize("units", [999, 2_000, SELL - SELL // 200 - 1])
def test_too_little_that_is_unconfirmed_binds_no_inventory_past_the_deadline(desk: Desk, units: int) -> None:
    """Otherwise dust, paid with hardly any fee, would bind all that the house has for hours."""
    swap = desk.open()
    desk.pay(swap, units, blocks=0)
    assert desk.engine.guarded("reserved", "XMR") == desk.row(swap).reserved_units > 0
    desk.late()
    assert desk.state(swap)[0] == "expired"
    assert desk.engine.guarded("reserved", "XMR") == 0
    assert desk.engine.guarded("inventory", "XMR") == INVENTORY["XMR"]
    desk.check()


def test_dust_that_confirms_after_the_deadline_is_the_account_s_to_spend(desk: Desk) -> None:
    """It is too little to exchange, and too little to pay back."""
    swap = desk.open()
    desk.pay(swap, 1_500, blocks=0)
    desk.late()
    assert desk.state(swap) == ("expired", "unconfirmed")
    desk.mine()
    desk.settle()
    assert desk.state(swap) == ("refunded", "below_fee")
    assert desk.balance(swap, "BTC") == 1_500
    desk.check()


def test_what_is_ignored_when_it_confirms_is_not_waited_for(desk: Desk) -> None:
    swap = desk.open()
    desk.pay(swap, 999, blocks=0)
    desk.late()
    assert desk.state(swap) == ("expired", None)
    desk.mine()
    assert desk.engine.rows(deposit)[-1].state == "ignored"
    assert (desk.state(swap), desk.balance(swap, "BTC")) == (("expired", None), 0)
    desk.check()


def test_half_that_confirms_after_the_deadline_is_exchanged_at_the_rate_of_now(desk: Desk) -> None:
    swap = desk.open()
    desk.pay(swap, SELL // 2, blocks=0)
    desk.late()
    assert desk.state(swap) == ("expired", "unconfirmed")
    desk.mine()
    desk.settle()
    assert desk.state(swap)[0] == "completed"
    assert desk.got(swap) == BOUGHT // 2 - XMR_FEE
    assert desk.told(swap) == ["awaiting_deposit", "expired", "paid_in", "executed", "paying_out", "completed"]
    desk.check()


@pytest.mark.parametrize("dust", [999, 2_000])
def test_what_is_held_is_judged_at_the_deadline_whatever_dust_is_under_way(desk: Desk, dust: int) -> None:
    swap = desk.open()
    held = SELL - SELL // 200 - (500 if dust < 1_000 else 2_001)
    desk.pay(swap, held)
    desk.pay(swap, dust, blocks=0)
    assert desk.state(swap) == ("awaiting_deposit", "underpaid")
    desk.late()
    assert desk.row(swap).executed_at is not None
    assert (desk.row(swap).sell_units, desk.engine.guarded("reserved", "XMR")) == (held, 0)
    desk.mine()
    desk.settle()
    assert desk.state(swap)[0] == "completed"
    assert desk.balance(swap, "BTC") == (dust if dust > 1_000 else 0)
    desk.check()


@pytest.mark.parametrize("parts", [(SELL,), (SELL - SELL // 200,), (SELL // 2, SELL // 2), (2 * SELL,)])
def test_enough_that_is_unconfirmed_at_the_deadline_is_waited_for(desk: Desk, parts: tuple[int, ...]) -> None:
    swap = desk.open()
    for units in parts:
        desk.pay(swap, units, blocks=0)
    desk.late()
    assert desk.state(swap) == ("awaiting_deposit", "deposit_seen")
    assert desk.engine.guarded("reserved", "XMR") == desk.row(swap).reserved_units > 0
    desk.mine()
    desk.settle()
    assert desk.state(swap)[0] == "completed"
    assert desk.got(swap) == BOUGHT * sum(parts) // SELL - XMR_FEE
    desk.check()


def test_what_is_held_waits_past_the_deadline_for_what_completes_it(desk: Desk) -> None:
    swap = desk.open()
    desk.pay(swap, SELL // 2)
    desk.pay(swap, SELL // 2, blocks=0)
    desk.engine.set_rates(BTC="30000", XMR="150")
    desk.pass_by(minutes=21)
    assert desk.state(swap) == ("awaiting_deposit", "underpaid")
    desk.mine()
    desk.settle()
    assert (desk.state(swap), desk.got(swap)) == (("completed", None), PAID_OUT)
    desk.check()


def test_a_late_deposit_is_exchanged_within_the_customer_s_slippage(desk: Desk) -> None:
    swap = desk.open(slippage_ppm=20_000)
    desk.late()
    assert desk.state(swap) == ("expired", None)
    desk.engine.set_rates(BTC="59400", XMR="150")
    desk.pay(swap)
    desk.settle()
    assert desk.state(swap)[0] == "completed"
    assert desk.got(swap) == BOUGHT * 99 // 100 - XMR_FEE
    assert desk.told(swap) == ["awaiting_deposit", "expired", "paid_in", "executed", "paying_out", "completed"]
    desk.check()


def test_nothing_paid_expires_and_frees_what_was_reserved(desk: Desk) -> None:
    swap = desk.open()
    desk.late()
    assert desk.state(swap) == ("expired", None)
    assert desk.engine.guarded("reserved", "XMR") == 0
    assert desk.engine.guarded("inventory", "XMR") == INVENTORY["XMR"]
    desk.check()


def test_a_deposit_after_completion_is_the_account_s_to_spend(desk: Desk) -> None:
    swap = desk.open()
    desk.pay(swap)
    desk.settle()
    desk.pay(swap, 50_000)
    assert desk.state(swap) == ("completed", None)
    assert desk.balance(swap, "BTC") == 50_000
    desk.check()


def test_another_asset_at_the_same_address_is_the_account_s_to_spend(desk: Desk) -> None:
    """Where one address takes several assets, a token may come to the address of a swap that sells the coin."""
    swap = desk.open()
    token = SimpleNamespace(asset="USDC", units=1)
    home, owner = desk.home(swap), desk.row(swap).account_id
    found = desk.engine.database.run(lambda tx: purposes.of(home).owner(tx, token, home), "test_owner")
    assert found == (owner, "available")


def test_a_deposit_that_comes_while_another_is_judged_is_judged_with_it(desk: Desk) -> None:
    """The step that had seen only the first is fenced off: it writes nothing."""
    swap = desk.open()
    desk.send(swap, SELL // 2)
    desk.pay(swap, SELL // 2, blocks=2)
    first, second = (r.id for r in desk.engine.rows(deposit)[-2:])
    desk.engine.chain.mine(4)
    desk.engine.run_task("scan")
    runtime, saga = desk.engine.runtime, SWAP
    runtime.advance("deposit", first)
    claim = runtime._claim_patiently(saga, swap, woken=True)
    assert claim is not None
    outcome = claim.step.run(claim.row, desk.engine.services)
    runtime.advance("deposit", second)
    with pytest.raises(LeaseLost):
        runtime._finish(saga, claim, outcome, more=False)
    desk.settle()
    assert desk.got(swap) == PAID_OUT
    desk.check()


def _swap_from_balance(desk: Desk, account: int, everything: int) -> None:
    """Other customers buy all of the free inventory."""
    engine = desk.engine
    engine.set_policy("BTC", swap_maximum_units=10**10)
    engine.set_policy("XMR", swap_maximum_units=10**16)

    def unit(tx: Tx) -> None:
        sell = everything // 3_980_000
        ask = quotes.ask(tx, engine.caller, quotes.Ask(BTC, XMR, "sell", sell), engine.services)
        swap_balance.make(tx, engine.caller, ask["id"], Wish(account, "everything"), engine.services)

    engine.database.run(unit, "test_swap")
