"""A reorganisation takes back what had funded an escrow (FAULTS E2): before, after, and in the middle of its release.

Balances are whole at every moment: what is gone is taken from the escrow first, then from the buyer; the rest the buyer
owes, and what the vendor got from it and has not spent is frozen.
"""

from __future__ import annotations

import pytest

from jobs.resolve import accounts as resolve_accounts
from ledger.errors import InsufficientFunds, StateConflict
from ledger.schema import account, frozen_part, hold_end
from ledger.schema import withdrawal as withdrawals
from tests.flows.engine import Engine
from tests.flows.escrow_desk import Desk


@pytest.fixture
def desk(engine: Engine) -> Desk:
    engine.funded(20_000_000)  # coins of others, so that payouts do not spend the deposit itself
    return Desk(engine)


def owed(desk: Desk) -> int:
    return desk.engine.balance(desk.buyer, "receivable")


def frozen(desk: Desk) -> list[tuple[int, int | None]]:
    return [(row.units, row.live) for row in desk.engine.rows(frozen_part)]


def test_a_partial_payment_that_vanishes_is_waited_for_again(desk: Desk) -> None:
    escrow_id = desk.by_address()
    txid = desk.pay(escrow_id, 200_000)
    desk.lose(txid, 6)
    assert desk.state(escrow_id) == ("awaiting_funds", None)
    assert desk.parts(escrow_id).missing == 500_000
    assert desk.row(escrow_id).due_at is not None
    assert desk.words()[-1] == "funding_reversed"
    desk.pay(escrow_id, 500_000)
    assert desk.state(escrow_id) == ("funded", None)
    assert owed(desk) == 0
    desk.check()


def test_a_funded_escrow_awaits_its_funds_again_until_they_are_back(desk: Desk) -> None:
    escrow_id = desk.by_address()
    txid = desk.pay(escrow_id, 500_000)
    desk.lose(txid, 6)
    assert desk.state(escrow_id) == ("awaiting_funds", "funding_reversed")
    assert desk.engine.balance(desk.buyer, "escrow") == 0
    with pytest.raises(StateConflict):
        desk.release(escrow_id)
    desk.over(escrow_id)  # its deadline does not end it: a person decides, or the money comes back
    assert desk.state(escrow_id) == ("awaiting_funds", "funding_reversed")
    desk.check()
    desk.again(txid)
    assert desk.state(escrow_id) == ("funded", None)
    desk.release(escrow_id)
    assert desk.money() == (0, 500_000)
    desk.check()


def test_another_payment_may_take_the_place_of_one_that_vanished(desk: Desk) -> None:
    desk.top_up(500_000)
    escrow_id = desk.by_address()
    txid = desk.pay(escrow_id, 500_000)
    desk.lose(txid, 6)
    desk.over(escrow_id)
    desk.fund(escrow_id)
    assert desk.state(escrow_id) == ("funded", None)
    assert desk.money() == (0, 0)
    desk.again(txid)  # and now it is back: more than was asked for
    assert desk.money() == (500_000, 0)
    assert desk.state(escrow_id) == ("funded", None)
    desk.check()


@pytest.mark.parametrize("decision", ["accept", "return"])
def test_a_person_may_decide_about_what_is_left(desk: Desk, decision: str) -> None:
    desk.top_up(200_000)
    escrow_id = desk.by_address(fee_ppm=100_000)
    desk.fund(escrow_id, 200_000)
    txid = desk.pay(escrow_id, 300_000)
    desk.lose(txid, 6)
    assert desk.state(escrow_id) == ("awaiting_funds", "funding_reversed")
    desk.decide(escrow_id, decision)
    if decision == "accept":
        assert desk.state(escrow_id) == ("funded", "accepted")
        desk.release(escrow_id)
        assert desk.money() == (0, 180_000)
        assert desk.fees() == 20_000
    else:
        assert desk.state(escrow_id) == ("refunded", "returned")
        assert desk.money() == (200_000, 0)
    desk.check()


def test_what_the_vendor_has_not_spent_is_frozen_until_the_deposit_is_back(desk: Desk) -> None:
    escrow_id = desk.by_address(fee_ppm=20_000)
    txid = desk.pay(escrow_id, 500_000)
    desk.release(escrow_id)
    desk.lose(txid, 6)
    assert desk.state(escrow_id) == ("released", "funding_reversed")
    assert owed(desk) == 500_000
    assert desk.engine.frozen(desk.buyer) == "reorg_debt"
    assert desk.engine.frozen(desk.vendor) is None
    assert desk.money() == (0, 0)
    assert desk.engine.balance(desk.vendor, "held") == 490_000
    assert frozen(desk) == [(490_000, 1)]
    assert ("money_frozen", "frozen:1") in desk.engine.alarms()
    with pytest.raises(InsufficientFunds):
        desk.engine.withdraw(desk.vendor, 100_000)
    desk.check()
    desk.again(txid)
    assert desk.state(escrow_id) == ("released", "funding_returned")
    assert (owed(desk), desk.money()) == (0, (0, 490_000))
    assert desk.engine.frozen(desk.buyer) is None
    assert frozen(desk) == [(490_000, None)]
    assert not [name for name, _ in desk.engine.alarms() if name == "money_frozen"]
    assert desk.parts(escrow_id).undone_units == 0
    desk.check()


def test_what_the_vendor_has_spent_stays_spent(desk: Desk) -> None:
    escrow_id = desk.by_address()
    txid = desk.pay(escrow_id, 500_000)
    desk.release(escrow_id)
    paid = desk.engine.withdraw(desk.vendor, 300_000)
    desk.engine.tick()
    desk.lose(txid, 6)
    assert desk.engine.state(paid) in ("broadcast", "confirming")
    assert frozen(desk) == [(198_000, 1)]
    assert owed(desk) == 500_000
    assert desk.money() == (0, 0)
    desk.check()


def test_a_payout_that_has_not_left_is_taken_back_and_frozen(desk: Desk) -> None:
    desk.engine.set_policy(withdrawal_approval_above_units=1_000)
    escrow_id = desk.by_address()
    txid = desk.pay(escrow_id, 500_000)
    desk.release(escrow_id, None, desk.engine.chain.outside_address())
    (payout,) = desk.engine.rows(withdrawals)
    assert payout.state == "pending_approval"
    desk.lose(txid, 6)
    now = desk.engine.row(withdrawals, payout.id)
    assert (now.state, now.status_reason) == ("cancelled", "funding_reversed")
    assert frozen(desk) == [(500_000, 1)]
    assert desk.money() == (0, 0)
    desk.check()


def test_what_the_buyer_can_pay_freezes_nobody(desk: Desk) -> None:
    desk.top_up(800_000)
    escrow_id = desk.by_address()
    txid = desk.pay(escrow_id, 500_000)
    desk.release(escrow_id)
    desk.lose(txid, 6)
    assert (owed(desk), desk.money()) == (0, (300_000, 500_000))
    assert frozen(desk) == []
    desk.check()


def test_in_the_middle_of_a_release_the_rest_is_taken_and_the_part_frozen(desk: Desk) -> None:
    escrow_id = desk.by_address(on_overpaid="keep")
    txid = desk.pay(escrow_id, 500_000)
    desk.release(escrow_id, 200_000)
    desk.refund(escrow_id, 50_000)
    desk.engine.withdraw(desk.buyer, 40_000)
    desk.lose(txid, 6)
    assert desk.state(escrow_id) == ("awaiting_funds", "funding_reversed")
    assert owed(desk) == 500_000 - 250_000 - 8_000
    assert frozen(desk) == [(200_000, 1)]
    assert desk.parts(escrow_id).undone_units == 250_000
    with pytest.raises(StateConflict):
        desk.cancel(escrow_id)
    desk.check()
    desk.again(txid)  # what had gone out before it went is repaid first: the rest is just the price that is left
    assert desk.state(escrow_id) == ("funded", None)
    assert owed(desk) == 0
    assert desk.money() == (8_000, 200_000)
    assert frozen(desk) == [(200_000, None)]
    assert (desk.parts(escrow_id).units, desk.parts(escrow_id).undone_units) == (500_000, 0)
    desk.release(escrow_id)
    assert desk.state(escrow_id) == ("resolved", "split")
    assert desk.money() == (8_000, 450_000)
    desk.check()


def test_a_disputed_escrow_that_is_short_is_decided_before_it_is_split(desk: Desk) -> None:
    desk.top_up(200_000)
    escrow_id = desk.by_address()
    desk.fund(escrow_id, 200_000)
    txid = desk.pay(escrow_id, 300_000)
    desk.dispute(escrow_id)
    desk.lose(txid, 6)
    assert desk.state(escrow_id) == ("disputed", "not as described")
    with pytest.raises(StateConflict, match="decide"):
        desk.resolve(escrow_id, 100_000)
    with pytest.raises(StateConflict, match="arbiter"):
        desk.decide(escrow_id, "return")
    desk.decide(escrow_id, "accept")
    desk.resolve(escrow_id, 50_000)
    assert desk.money() == (150_000, 50_000)
    desk.check()


def test_a_disputed_escrow_is_whole_again_when_its_deposit_is_back(desk: Desk) -> None:
    escrow_id = desk.by_address()
    txid = desk.pay(escrow_id, 500_000)
    desk.dispute(escrow_id)
    desk.lose(txid, 6)
    desk.again(txid)
    assert desk.state(escrow_id) == ("disputed", "not as described")
    desk.resolve(escrow_id, 500_000)
    assert desk.money() == (0, 500_000)
    desk.check()


def test_a_surplus_that_went_back_is_taken_from_there(desk: Desk) -> None:
    escrow_id = desk.by_address(on_overpaid="return")
    txid = desk.pay(escrow_id, 700_000)
    assert desk.money() == (200_000, 0)
    desk.lose(txid, 6)
    assert (owed(desk), desk.money()) == (0, (0, 0))
    desk.again(txid)
    assert desk.state(escrow_id) == ("funded", None)
    assert desk.money() == (200_000, 0)
    desk.check()


def test_a_deposit_after_the_end_is_the_buyers_own_loss(desk: Desk) -> None:
    escrow_id = desk.by_address()
    desk.pay(escrow_id, 500_000)
    desk.release(escrow_id)
    extra = desk.pay(escrow_id, 90_000)
    desk.engine.withdraw(desk.buyer, 80_000)
    desk.lose(extra, 6)
    assert owed(desk) == 82_000
    assert frozen(desk) == []
    assert desk.state(escrow_id) == ("released", None)
    desk.check()


def test_what_came_late_to_an_expired_escrow_and_vanished_comes_back_to_the_buyer(desk: Desk) -> None:
    escrow_id = desk.by_address(on_late="accept")
    txid = desk.pay(escrow_id, 100_000)
    desk.over(escrow_id)
    desk.lose(txid, 6)
    assert (owed(desk), desk.money()) == (0, (0, 0))
    desk.again(txid)
    assert desk.state(escrow_id)[0] == "expired"
    assert desk.money() == (100_000, 0)
    desk.check()


# The debt, paid in other ways


def test_another_deposit_of_the_buyer_pays_the_debt_and_thaws(desk: Desk) -> None:
    escrow_id = desk.by_address()
    txid = desk.pay(escrow_id, 500_000)
    desk.release(escrow_id)
    desk.lose(txid, 6)
    desk.engine.chain.fund(desk.engine.address(desk.buyer).address, 600_000, blocks=6)
    desk.engine.tick()
    assert (owed(desk), desk.money()) == (0, (100_000, 500_000))
    assert frozen(desk) == [(500_000, None)]
    desk.again(txid)
    assert desk.money() == (600_000, 500_000)
    desk.check()


def test_an_operator_thaws_and_the_buyer_still_owes(desk: Desk) -> None:
    escrow_id = desk.by_address()
    txid = desk.pay(escrow_id, 500_000)
    desk.release(escrow_id)
    desk.lose(txid, 6)
    (part,) = desk.engine.rows(frozen_part)
    desk.thaw(part.id)
    assert (owed(desk), desk.money()) == (500_000, (0, 500_000))
    with pytest.raises(StateConflict):
        desk.thaw(part.id)
    with pytest.raises(StateConflict):
        desk.take(part.id)
    desk.check()


def test_an_operator_takes_it_and_a_deposit_that_returns_makes_it_good(desk: Desk) -> None:
    escrow_id = desk.by_address()
    txid = desk.pay(escrow_id, 500_000)
    desk.release(escrow_id)
    desk.lose(txid, 6)
    (part,) = desk.engine.rows(frozen_part)
    assert desk.take(part.id) == 500_000
    assert (owed(desk), desk.money()) == (0, (0, 0))
    assert desk.engine.frozen(desk.buyer) is None
    assert [row.outcome for row in desk.engine.rows(hold_end)] == ["settled"]
    desk.check()
    desk.again(txid)
    assert (owed(desk), desk.money()) == (0, (0, 500_000))
    desk.check()
    desk.lose(txid, 6)
    assert owed(desk) == 500_000
    assert frozen(desk) == [(500_000, None), (500_000, 1)]
    desk.check()


def test_a_written_off_debt_thaws(desk: Desk) -> None:
    escrow_id = desk.by_address()
    txid = desk.pay(escrow_id, 500_000)
    desk.release(escrow_id)
    desk.lose(txid, 6)
    buyer = desk.engine.row(account, desk.buyer).public_id
    desk.run(lambda tx: resolve_accounts.write_off(tx, buyer, "BTC", "operator:ada"))
    assert (owed(desk), desk.money()) == (0, (0, 500_000))
    assert desk.engine.house("reorg_loss") == -500_000
    desk.check()
    desk.again(txid)  # one receipt is one credit: it repays the house, and is nobody's to spend twice
    assert (owed(desk), desk.money()) == (0, (0, 500_000))
    assert desk.engine.house("reorg_loss") == 0
    assert desk.engine.frozen(desk.buyer) is None
    desk.check()
    desk.lose(txid, 6)
    assert (owed(desk), desk.money()) == (500_000, (0, 0))
    assert frozen(desk) == [(500_000, None), (500_000, 1)]
    desk.check()


def test_a_balance_that_had_funded_it_leaves_a_debt_and_a_buyer_who_releases_nothing(desk: Desk) -> None:
    """Money of a balance has no link to one escrow: the buyer owes it, and is frozen until it is paid."""
    txid = desk.engine.chain.fund(desk.engine.address(desk.buyer).address, 500_000, blocks=6)
    desk.engine.tick()
    escrow_id = desk.make()
    desk.fund(escrow_id)
    desk.lose(txid, 6)
    assert owed(desk) == 500_000
    assert desk.engine.frozen(desk.buyer) == "reorg_debt"
    assert desk.state(escrow_id) == ("funded", None)
    desk.refund(escrow_id)
    assert (owed(desk), desk.money()) == (0, (0, 0))
    assert desk.engine.frozen(desk.buyer) is None
    desk.check()
