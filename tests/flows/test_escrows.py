"""Escrows between accounts: funding from a balance, and every way in which one ends; on both databases."""

from __future__ import annotations

import pytest

from jobs import accounts as store
from ledger import accounts, pauses
from ledger.errors import (
    AccountFrozen,
    AssetPaused,
    InsufficientFunds,
    InvalidAmount,
    InvalidInput,
    LimitExceeded,
    NotFound,
    ReferenceExists,
    StateConflict,
)
from ledger.schema import withdrawal as withdrawals
from tests.flows.engine import Engine
from tests.flows.escrow_desk import HOUR, Desk


@pytest.fixture
def desk(engine: Engine) -> Desk:
    return Desk(engine)


# Making


def test_an_escrow_moves_nothing_until_it_is_funded(desk: Desk) -> None:
    escrow_id = desk.make()
    assert desk.state(escrow_id) == ("awaiting_funds", None)
    assert desk.words() == ["awaiting_funds"]
    assert desk.parts(escrow_id).missing == 500_000
    for call in (desk.release, desk.refund, desk.dispute):
        with pytest.raises(StateConflict):
            call(escrow_id)
    with pytest.raises(InsufficientFunds):
        desk.fund(escrow_id)
    desk.check()


def test_an_escrow_is_between_two_accounts(desk: Desk) -> None:
    with pytest.raises(InvalidInput) as caught:
        desk.make(vendor_id=desk.buyer)
    assert (caught.value.pointer, caught.value.code) == ("/vendor", "same_account")
    with pytest.raises(InvalidInput) as caught:
        desk.make(order_id=desk.vendor)
    assert (caught.value.pointer, caught.value.code) == ("/order", "same_account")


def test_a_reference_is_used_once(desk: Desk) -> None:
    desk.make(reference="order-1")
    with pytest.raises(ReferenceExists):
        desk.make(reference="order-1")


def test_terms_that_cannot_hold_are_refused_by_name(desk: Desk) -> None:
    now = desk.engine.database.now()
    wrong = {
        "/fee_amount": {"fee_units": 500_000},
        "/fee_percent": {"fee_ppm": 1_000_000},
        "/funding_deadline": {"funding_deadline": now - 1},
        "/at_deadline": {"deadline": now + HOUR},
        "/deadline": {"deadline": now + HOUR, "at_deadline": "release", "funding_deadline": now + 2 * HOUR},
        "/amount": {"units": 999, "address": True},  # below what a deposit is credited from
    }
    for pointer, terms in wrong.items():
        with pytest.raises(InvalidInput) as caught:
            desk.make(**terms)
        assert caught.value.pointer == pointer
    assert desk.words() == []


# Funding from a balance


def test_parts_from_a_balance_add_up(desk: Desk) -> None:
    desk.top_up(600_000)
    escrow_id = desk.make(fee_units=20_000, fee_from="buyer")
    desk.fund(escrow_id, 100_000)
    assert desk.state(escrow_id) == ("awaiting_funds", None)
    with pytest.raises(InvalidAmount, match=r"0\.00420000 BTC"):
        desk.fund(escrow_id, 420_001)
    desk.fund(escrow_id)
    assert desk.state(escrow_id) == ("funded", None)
    assert desk.money() == (80_000, 0)
    assert desk.engine.balance(desk.buyer, "escrow") == 520_000
    with pytest.raises(StateConflict):
        desk.fund(escrow_id, 1)
    assert desk.words() == ["awaiting_funds", "partially_funded", "funded"]
    desk.check()


def test_an_order_account_pays_for_its_escrow(desk: Desk) -> None:
    order = desk.run(lambda tx: store.create(tx, desk.engine.caller, "order-7", "order").id)
    escrow_id = desk.make(order_id=order)
    desk.top_up(500_000, order)
    other = desk.engine.account()
    with pytest.raises(InvalidInput, match="buyer"):
        desk.fund(escrow_id, payer=other)
    desk.fund(escrow_id)
    assert desk.engine.available(order) == 0
    assert desk.engine.balance(desk.buyer, "escrow") == 500_000
    desk.release(escrow_id, 200_000)
    desk.refund(escrow_id)
    assert desk.money() == (300_000, 200_000)
    desk.check()
    buyer, vendor = desk.buyer, desk.vendor
    whole = desk.history(escrow_id)
    assert whole == [
        ("funded", buyer, "escrow", 500_000),
        ("released", vendor, "available", 200_000),
        ("released", buyer, "escrow", 300_000),
        ("refunded", buyer, "available", 300_000),
        ("refunded", buyer, "escrow", 0),
    ]
    assert desk.history(order, "order") == [("deposited", order, "available", 500_000), *whole]


def test_a_frozen_account_funds_nothing(desk: Desk) -> None:
    desk.top_up(500_000)
    escrow_id = desk.make()
    desk.run(lambda tx: accounts.freeze(tx, desk.buyer, "suspicion"))
    with pytest.raises(AccountFrozen):
        desk.fund(escrow_id)
    desk.check()


def test_after_its_funding_deadline_a_balance_funds_it_no_more(desk: Desk) -> None:
    desk.top_up(500_000)
    escrow_id = desk.make(funding_deadline=desk.engine.database.now() + HOUR)
    desk.step(escrow_id)
    assert desk.state(escrow_id) == ("awaiting_funds", None)
    values = desk.row(escrow_id)._mapping
    assert values["due_at"] >= values["funding_deadline"]
    desk.fund(escrow_id, 200_000)
    desk.past(escrow_id)
    with pytest.raises(StateConflict, match="deadline is over"):
        desk.fund(escrow_id)
    desk.step(escrow_id)
    assert desk.state(escrow_id) == ("expired", "underpaid")
    with pytest.raises(StateConflict):
        desk.fund(escrow_id)
    assert desk.money() == (500_000, 0)
    desk.check()


# Release


def test_a_release_pays_the_vendor_at_once_and_takes_the_fee(desk: Desk) -> None:
    escrow_id = desk.funded(fee_ppm=25_000)
    desk.release(escrow_id)
    assert desk.state(escrow_id) == ("released", None)
    assert desk.money() == (0, 487_500)
    assert desk.fees() == 12_500
    assert desk.words() == ["awaiting_funds", "funded", "released"]
    with pytest.raises(StateConflict):
        desk.release(escrow_id)
    paid = desk.engine.withdraw(desk.vendor, 100_000)
    desk.engine.tick()
    assert desk.engine.state(paid) == "broadcast"
    desk.check()


def test_steps_of_any_size_take_exactly_the_whole_fee(desk: Desk) -> None:
    for one, fee_from in ((desk, "buyer"), (desk.another(), "vendor")):
        escrow_id, taken = one.funded(100_003, fee_units=333, fee_from=fee_from), desk.fees()
        released = 0
        for units in (1, 2, 33_331, 7, 66_661):
            one.release(escrow_id, units)
            released += units
            assert one.state(escrow_id) == ("funded", None)
            assert one.fees() - taken == 333 * released // 100_003
        one.check()
        one.release(escrow_id)
        assert one.state(escrow_id) == ("released", None)
        assert one.fees() - taken == 333
        assert one.money() == (0, 100_003 - (333 if fee_from == "vendor" else 0))
    assert desk.words()[-6:] == ["partially_released"] * 5 + ["released"]
    desk.check()


def test_more_than_is_left_is_not_released(desk: Desk) -> None:
    escrow_id = desk.funded()
    desk.release(escrow_id, 400_000)
    for call in (desk.release, desk.refund):
        with pytest.raises(InvalidAmount):
            call(escrow_id, 100_001)
    desk.check()


def test_a_release_is_paid_out_in_the_same_moment(desk: Desk) -> None:
    escrow_id = desk.funded(fee_ppm=20_000)
    to = desk.engine.chain.outside_address()
    shown = desk.release(escrow_id, 300_000, to)
    (payout,) = desk.engine.rows(withdrawals)
    assert shown["payouts"] == [payout.public_id]
    assert (payout.account_id, payout.units, payout.fee_units) == (desk.vendor, 294_000 - 2_000, 2_000)
    assert desk.money() == (0, 0)
    assert ("paid_out", desk.vendor, "held", 294_000) in desk.history(escrow_id)
    desk.engine.tick()
    desk.engine.chain.mine(2)
    desk.engine.tick()
    assert desk.engine.state(payout.id) == "completed"
    assert desk.engine.chain.received(to) == 292_000
    desk.check()


def test_a_payout_that_is_refused_releases_nothing(desk: Desk) -> None:
    escrow_id = desk.funded()
    ours = desk.engine.address(desk.buyer).address
    desk.engine.set_policy(withdrawal_daily_units=400_000)
    outside = desk.engine.chain.outside_address()
    for to, error in ((ours, InvalidInput), ("nonsense", InvalidInput), (outside, LimitExceeded)):
        with pytest.raises(error):
            desk.release(escrow_id, None, to)
    assert desk.state(escrow_id) == ("funded", None)
    assert desk.money() == (0, 0)
    assert desk.engine.rows(withdrawals) == []
    desk.check()


# Refund, dispute, resolve, cancel


def test_a_refund_gives_all_back_with_the_fee(desk: Desk) -> None:
    escrow_id = desk.funded(fee_units=20_000, fee_from="buyer")
    desk.refund(escrow_id)
    assert desk.state(escrow_id) == ("refunded", None)
    assert desk.money() == (520_000, 0)
    assert desk.fees() == 0
    desk.check()


def test_a_part_released_and_the_rest_refunded_is_a_split(desk: Desk) -> None:
    escrow_id = desk.funded(fee_units=50_000, fee_from="buyer")
    desk.release(escrow_id, 123_457)
    desk.refund(escrow_id, 100_000)
    desk.refund(escrow_id)
    assert desk.state(escrow_id) == ("resolved", "split")
    assert desk.fees() == 12_345  # a tenth of what was released, rounded down
    assert desk.money() == (550_000 - 123_457 - 12_345, 123_457)
    assert desk.engine.balance(desk.buyer, "escrow") == 0
    desk.check()


def test_in_a_dispute_only_the_arbiter_moves_money(desk: Desk) -> None:
    escrow_id = desk.funded()
    with pytest.raises(StateConflict):
        desk.resolve(escrow_id, 500_000)
    desk.dispute(escrow_id)
    assert desk.state(escrow_id) == ("disputed", "not as described")
    for call in (desk.release, desk.refund, desk.cancel, desk.dispute):
        with pytest.raises(StateConflict):
            call(escrow_id)
    assert desk.money() == (0, 0)
    desk.check()


def test_a_split_is_exact_to_the_atomic_unit(desk: Desk) -> None:
    desk.top_up(10_000_000)
    for fee_from in ("buyer", "vendor"):
        for vendor_units in (0, 1, 166_667, 333_333, 500_000):
            escrow_id, before = desk.make(fee_units=777, fee_from=fee_from), (*desk.money(), desk.fees())
            desk.fund(escrow_id)
            desk.dispute(escrow_id)
            desk.resolve(escrow_id, vendor_units, 500_000 - vendor_units)
            fee = 777 * vendor_units // 500_000
            reason = {0: "to_buyer", 500_000: "to_vendor"}.get(vendor_units, "split")
            assert desk.state(escrow_id) == ("resolved", reason)
            now = (*desk.money(), desk.fees())
            got = vendor_units - (fee if fee_from == "vendor" else 0)
            assert tuple(a - b for a, b in zip(now, before, strict=True)) == (-got - fee, got, fee)
            assert desk.engine.balance(desk.buyer, "escrow") == 0
    desk.check()


def test_a_split_must_be_of_what_is_left(desk: Desk) -> None:
    escrow_id = desk.funded()
    desk.release(escrow_id, 100_000)
    desk.dispute(escrow_id)
    for amounts, pointer in (((400_001, None), "/vendor_amount"), ((100_000, 299_999), "/buyer_amount")):
        with pytest.raises(InvalidAmount) as caught:
            desk.resolve(escrow_id, *amounts)
        assert caught.value.pointer == pointer
    desk.resolve(escrow_id, 150_000)
    assert desk.money() == (250_000, 250_000)
    desk.check()


def test_a_key_does_not_resolve_what_an_operator_must(desk: Desk) -> None:
    escrow_id = desk.funded(arbiter="operator")
    desk.dispute(escrow_id)
    operator, engine = desk.engine.caller, desk.engine
    engine.caller = type(operator)(operator.project_id, 1, "ann", "key:ann")
    with pytest.raises(StateConflict, match="operator"):
        desk.resolve(escrow_id, 0)
    engine.caller = operator
    desk.resolve(escrow_id, 0)
    assert desk.money() == (500_000, 0)


def test_cancelling_gives_back_what_had_come(desk: Desk) -> None:
    desk.top_up(300_000)
    escrow_id = desk.make()
    desk.fund(escrow_id, 300_000)
    desk.cancel(escrow_id)
    assert desk.state(escrow_id) == ("cancelled", None)
    assert desk.money() == (300_000, 0)
    whole = desk.make(300_000)
    desk.fund(whole)
    with pytest.raises(StateConflict):
        desk.cancel(whole)
    desk.check()


def test_another_projects_escrow_is_unknown(desk: Desk) -> None:
    escrow_id = desk.funded()
    stranger = Desk(desk.engine)
    mine = desk.engine.caller
    desk.engine.caller = type(mine)(mine.project_id + 1, None, "eve", "eve")
    for call in (stranger.release, stranger.refund, stranger.dispute, stranger.cancel, stranger.fund):
        with pytest.raises(NotFound):
            call(escrow_id)
    desk.engine.caller = mine
    assert desk.state(escrow_id) == ("funded", None)


# Deadlines, by the database's clock


def test_its_deadline_ends_it_by_itself(desk: Desk) -> None:
    deadline = desk.engine.database.now() + HOUR
    for one, way, end in ((desk, "release", "released"), (desk.another(), "refund", "refunded")):
        escrow_id = one.funded(deadline=deadline, at_deadline=way, fee_units=1_000)
        one.engine.tick()
        one.step(escrow_id)
        assert one.state(escrow_id) == ("funded", None)
        assert one.row(escrow_id).due_at is not None
        one.over(escrow_id, "deadline")
        assert one.state(escrow_id) == (end, "deadline")
        assert one.money() == ((0, 499_000) if way == "release" else (500_000, 0))
        assert one.words()[-1] == end
        one.step(escrow_id)
    desk.check()


def test_a_deadline_after_a_part_was_refunded_splits(desk: Desk) -> None:
    escrow_id = desk.funded(deadline=desk.engine.database.now() + HOUR, at_deadline="release")
    desk.refund(escrow_id, 100_000)
    desk.over(escrow_id, "deadline")
    assert desk.state(escrow_id) == ("resolved", "deadline")
    assert desk.money() == (100_000, 400_000)
    desk.check()


def test_a_dispute_stops_the_deadline(desk: Desk) -> None:
    escrow_id = desk.funded(deadline=desk.engine.database.now() + HOUR, at_deadline="release")
    desk.dispute(escrow_id)
    desk.over(escrow_id, "deadline")
    desk.engine.tick()
    assert desk.state(escrow_id)[0] == "disputed"
    assert desk.row(escrow_id).due_at is None


def test_a_deadline_waits_while_escrows_are_paused_or_the_buyer_is_frozen(desk: Desk) -> None:
    escrow_id = desk.funded(deadline=desk.engine.database.now() + HOUR, at_deadline="release")
    desk.run(lambda tx: pauses.stop(tx, "BTC", "escrows", "a drill", "ada"))
    desk.over(escrow_id, "deadline")
    assert desk.state(escrow_id) == ("funded", "paused")
    desk.run(lambda tx: pauses.resume(tx, "BTC", "escrows", "ada"))
    desk.run(lambda tx: accounts.freeze(tx, desk.buyer, "suspicion"))
    desk.step(escrow_id)
    assert desk.state(escrow_id) == ("funded", "account_frozen")
    desk.run(lambda tx: accounts.unfreeze(tx, desk.buyer, "suspicion"))
    desk.step(escrow_id)
    assert desk.state(escrow_id) == ("released", "deadline")
    desk.check()


# Frozen and paused


def test_a_frozen_buyer_releases_nothing_and_may_be_refunded(desk: Desk) -> None:
    first, second = desk.funded(), desk.funded()
    desk.dispute(second)
    desk.run(lambda tx: accounts.freeze(tx, desk.buyer, "suspicion"))
    with pytest.raises(AccountFrozen):
        desk.release(first)
    with pytest.raises(AccountFrozen):
        desk.resolve(second, 1)
    desk.refund(first)
    desk.resolve(second, 0)
    assert desk.money() == (1_000_000, 0)
    desk.check()


def test_a_frozen_vendor_is_paid_and_cannot_pay_out(desk: Desk) -> None:
    escrow_id = desk.funded()
    desk.run(lambda tx: accounts.freeze(tx, desk.vendor, "suspicion"))
    with pytest.raises(AccountFrozen):
        desk.release(escrow_id, None, desk.engine.chain.outside_address())
    desk.release(escrow_id)
    assert desk.money() == (0, 500_000)


def test_a_pause_stops_every_movement(desk: Desk) -> None:
    desk.top_up(100_000)
    open_, whole, disputed = desk.make(), desk.funded(), desk.funded()
    desk.dispute(disputed)
    desk.run(lambda tx: pauses.stop(tx, "BTC", "escrows", "a drill", "ada"))
    calls = [
        lambda: desk.make(),
        lambda: desk.fund(open_, 1),
        lambda: desk.cancel(open_),
        lambda: desk.release(whole),
        lambda: desk.refund(whole),
        lambda: desk.resolve(disputed, 1),
        lambda: desk.decide(open_, "return"),
    ]
    for call in calls:
        with pytest.raises(AssetPaused):
            call()
    desk.dispute(whole)  # moves nothing
    desk.check()


def test_what_the_vendor_owes_is_repaid_first(desk: Desk) -> None:
    engine = desk.engine
    txid = engine.chain.fund(engine.address(desk.vendor).address, 300_000, blocks=2)
    engine.tick()
    engine.funded(1_000_000)
    engine.withdraw(desk.vendor, 250_000)
    engine.tick()
    engine.chain.reorg(8, gone=[txid])
    engine.tick()
    assert engine.balance(desk.vendor, "receivable") == 252_000
    engine.chain.mine(8)
    engine.tick()
    escrow_id = desk.funded()
    desk.release(escrow_id)
    assert engine.balance(desk.vendor, "receivable") == 0
    assert engine.frozen(desk.vendor) is None
    assert desk.money() == (0, 500_000 - 252_000)


# History


def test_its_history_says_whose_it_was_at_every_moment(desk: Desk) -> None:
    escrow_id = desk.funded(fee_units=10_000)
    desk.release(escrow_id, 250_000)
    desk.refund(escrow_id)
    buyer, vendor = desk.buyer, desk.vendor
    assert desk.history(escrow_id) == [
        ("funded", buyer, "escrow", 500_000),
        ("released", vendor, "available", 245_000),
        ("released", 1, "service_fees", 5_000),
        ("released", buyer, "escrow", 250_000),
        ("refunded", buyer, "available", 250_000),
        ("refunded", buyer, "escrow", 0),
    ]
