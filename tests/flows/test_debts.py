"""What a vanished deposit leaves its depositor owing: out of what it is repaid, and what the house bears of it (FAULTS
E2, E3).
"""

from __future__ import annotations

import pytest
from sqlalchemy import insert

from jobs import halting
from jobs.next_steps import next_steps
from jobs.resolve import accounts as resolve_accounts
from jobs.resolve import by_hand
from ledger import pauses
from ledger.errors import StateConflict
from ledger.schema import account, deposit, frozen_part, payment_item
from ledger.schema import withdrawal as withdrawals
from tests.flows.engine import Engine
from tests.flows.escrow_desk import Desk

FEE = 2_000


@pytest.fixture
def desk(engine: Engine) -> Desk:
    return Desk(engine)


def resume(desk: Desk) -> None:
    desk.run(lambda tx: pauses.resume(tx, "BTC", "withdrawals", "test"))


def queued(desk: Desk, *units: int) -> list[int]:
    """Withdrawals of the buyer that wait in the queue while they are paused."""
    made = [desk.engine.withdraw(desk.buyer, each) for each in units]
    desk.run(lambda tx: pauses.stop(tx, "BTC", "withdrawals", "a test", "test"))
    return made


def reversed_alone(desk: Desk, txid: str, depth: int) -> None:
    """As `Desk.lose`, but no other step runs."""
    engine = desk.engine
    engine.chain.reorg(depth, gone=[txid])
    engine.run_task("scan")
    (paid,) = [row for row in engine.rows(deposit) if row.txid == txid]
    engine.runtime.advance("deposit", paid.id)


def stands(desk: Desk, row_id: int) -> tuple[str, str | None]:
    row = desk.engine.row(withdrawals, row_id)
    return row.state, row.status_reason


def owed(desk: Desk) -> int:
    return desk.engine.balance(desk.buyer, "receivable")


def write_off(desk: Desk) -> int:
    name = desk.engine.row(account, desk.buyer).public_id
    return int(desk.run(lambda tx: resolve_accounts.write_off(tx, name, "BTC", "operator:ada")))


# His own withdrawals


@pytest.mark.parametrize("approval", [True, False], ids=["pending_approval", "queued"])
def test_a_debtors_own_withdrawal_that_has_not_left_repays_his_debt(desk: Desk, approval: bool) -> None:
    engine = desk.engine
    if approval:
        engine.set_policy(withdrawal_approval_above_units=1_000)
    txid = desk.paid_in(500_000)
    (waiting,) = queued(desk, 400_000)
    assert engine.state(waiting) == ("pending_approval" if approval else "queued")
    desk.lose(txid, 6)
    assert stands(desk, waiting) == ("cancelled", "funding_reversed")
    assert (owed(desk), engine.available(desk.buyer), engine.balance(desk.buyer, "held")) == (0, 0, 0)
    assert engine.frozen(desk.buyer) is None
    desk.check()
    resume(desk)
    desk.again(txid)
    assert engine.available(desk.buyer) == 500_000
    desk.check()


def test_the_newest_of_his_withdrawals_go_first_and_no_more_than_are_needed(desk: Desk) -> None:
    engine = desk.engine
    txid = desk.paid_in(500_000)
    desk.top_up(300_000)
    made = queued(desk, 200_000, 300_000, 200_000)
    reversed_alone(desk, txid, 12)  # the other one, which is in the pool again, is not judged yet
    assert [engine.state(each) for each in made] == ["queued", "cancelled", "cancelled"]
    assert (owed(desk), engine.frozen(desk.buyer)) == (0, None)
    assert engine.available(desk.buyer) == 300_000 - 200_000 - FEE


def test_others_are_kept_from_spending_only_what_his_own_withdrawals_do_not_repay(desk: Desk) -> None:
    engine = desk.engine
    txid = desk.paid_in(500_000)
    desk.give(desk.buyer, desk.vendor, 300_000)
    (waiting,) = queued(desk, 150_000)
    desk.lose(txid, 6)
    assert stands(desk, waiting) == ("cancelled", "funding_reversed")
    assert (owed(desk), engine.frozen(desk.buyer)) == (300_000, "reorg_debt")
    assert [(row.account_id, row.units) for row in engine.rows(frozen_part)] == [(desk.vendor, 300_000)]
    desk.check()
    desk.again(txid)
    assert (owed(desk), desk.money()) == (0, (200_000, 300_000))
    desk.check()


def test_one_that_may_have_been_paid_in_a_lost_life_stays_and_keeps_his_debt_from_being_written_off(
    desk: Desk,
) -> None:
    engine = desk.engine
    txid = desk.paid_in(500_000)
    (waiting,) = queued(desk, 400_000)
    desk.run(lambda tx: halting.stop(tx, engine.name, "restored", "a drill", "op"))
    desk.lose(txid, 6)
    assert engine.state(waiting) == "queued"
    assert (owed(desk), engine.frozen(desk.buyer)) == (402_000, "reorg_debt")
    name = engine.row(withdrawals, waiting).public_id
    with pytest.raises(StateConflict, match=f"withdrawals cancel {name}"):
        write_off(desk)
    with pytest.raises(StateConflict, match="looked into"):
        desk.run(lambda tx: by_hand.cancel_withdrawal(tx, name, "operator:ada"))
    desk.run(lambda tx: halting.lift(tx, engine.name, "restored", "op"))
    desk.run(lambda tx: by_hand.cancel_withdrawal(tx, name, "operator:ada"))
    assert stands(desk, waiting) == ("cancelled", "cancelled_by_operator")
    assert (owed(desk), engine.frozen(desk.buyer)) == (0, None)
    desk.check()


def test_no_debt_is_written_off_while_a_payment_of_which_nothing_is_out_has_the_money(desk: Desk) -> None:
    engine = desk.engine
    engine.funded(20_000_000)  # coins of others
    txid = desk.paid_in(500_000)
    payee = engine.chain.outside_address()
    waiting = engine.withdraw(desk.buyer, 400_000, payee)
    engine.run_task("batch")
    assert engine.row(withdrawals, waiting).payment_id is not None
    reversed_alone(desk, txid, 6)
    assert (engine.state(waiting), owed(desk)) == ("queued", 402_000)
    with pytest.raises(StateConflict, match="lets it go by itself"):
        write_off(desk)
    engine.tick()
    with pytest.raises(StateConflict, match="withdrawals cancel"):
        write_off(desk)
    name = engine.row(withdrawals, waiting).public_id
    desk.run(lambda tx: by_hand.cancel_withdrawal(tx, name, "operator:ada"))
    assert (owed(desk), engine.frozen(desk.buyer), engine.chain.received(payee)) == (0, None, 0)
    desk.check()


def test_no_debt_is_written_off_while_a_withdrawal_of_his_is_with_a_person(desk: Desk) -> None:
    """Its payment was let go, and its money is held until somebody decides."""
    engine = desk.engine
    txid = desk.paid_in(500_000)
    waiting = engine.withdraw(desk.buyer, 400_000)
    engine.run_task("batch")
    more = {"withdrawal_id": waiting, "address": engine.chain.outside_address(), "units": 1_000, "live": None}
    more["payment_id"] = engine.payment_of(waiting).id
    desk.run(lambda tx: tx.execute(insert(payment_item).values(more)))  # by hand: the signer refuses it
    engine.tick(2)
    assert (engine.state(waiting), engine.payment_of(waiting).state) == ("review", "dead")
    desk.lose(txid, 6)
    assert (owed(desk), engine.frozen(desk.buyer)) == (402_000, "reorg_debt")
    name, debtor = engine.row(withdrawals, waiting).public_id, engine.row(account, desk.buyer)
    with pytest.raises(StateConflict, match=f"withdrawals resolve {name} --refund"):
        write_off(desk)
    (step,) = engine.database.read(lambda tx: next_steps(tx, "account", debtor))
    assert step.startswith(f"coffer withdrawals resolve {name} --refund ")
    desk.run(lambda tx: by_hand.refund_withdrawal(tx, name, "operator:ada"))
    assert (owed(desk), engine.house("reorg_loss"), engine.available(desk.buyer)) == (0, 0, 0)
    assert engine.frozen(desk.buyer) is None
    desk.check()


# Debts that the house has borne


def spent_and_lost(desk: Desk, units: int) -> str:
    """A deposit that the buyer has given to the vendor, and that has left the chain since; its txid."""
    txid = desk.paid_in(units)
    desk.give(desk.buyer, desk.vendor, units)
    desk.lose(txid, 6)
    return txid


def test_what_was_written_off_is_repaid_by_its_own_deposit_whatever_else_is_owed(desk: Desk) -> None:
    """In whatever order they come back, each receipt is one credit."""
    engine = desk.engine
    first = spent_and_lost(desk, 500_000)
    write_off(desk)
    second = spent_and_lost(desk, 200_000)
    assert (owed(desk), engine.house("reorg_loss")) == (200_000, -500_000)
    desk.again(first)
    assert (owed(desk), engine.available(desk.buyer), engine.house("reorg_loss")) == (200_000, 0, 0)
    assert engine.frozen(desk.buyer) == "reorg_debt"
    desk.again(second)
    assert (owed(desk), engine.available(desk.buyer), engine.house("reorg_loss")) == (0, 0, 0)
    assert engine.frozen(desk.buyer) is None
    assert engine.available(desk.vendor) == 700_000
    desk.check()


def test_a_debt_is_not_forgotten_when_one_that_was_written_off_before_comes_back_first(desk: Desk) -> None:
    engine = desk.engine
    first = spent_and_lost(desk, 500_000)
    write_off(desk)
    second = spent_and_lost(desk, 200_000)
    desk.again(first)
    assert write_off(desk) == 200_000
    desk.again(second)
    assert (owed(desk), engine.available(desk.buyer), engine.house("reorg_loss")) == (0, 0, 0)
    assert engine.frozen(desk.buyer) is None
    desk.check()
    reversed_alone(desk, first, 12)  # what it had repaid the house with is what it had paid for at first
    assert (owed(desk), desk.money()) == (500_000, (0, 200_000))
    assert sum(row.units for row in engine.rows(frozen_part) if row.live == 1) == 500_000


def test_a_deposit_that_comes_back_repays_its_own_debt_before_an_older_one(desk: Desk) -> None:
    """Else what the house bears of the older one would be taken for its, and its own return be a second credit."""
    engine = desk.engine
    older, newer = desk.paid_in(200_000), desk.paid_in(500_000)
    desk.give(desk.buyer, desk.vendor, 700_000)
    engine.chain.reorg(12, gone=[older, newer])
    engine.tick()
    assert owed(desk) == 700_000
    desk.again(newer)
    assert (owed(desk), engine.available(desk.vendor)) == (200_000, 500_000)
    assert write_off(desk) == 200_000
    desk.again(older)
    assert (owed(desk), desk.money(), engine.house("reorg_loss")) == (0, (0, 700_000), 0)
    desk.check()


def test_what_is_taken_for_a_deposit_repays_its_debt_before_an_older_one(desk: Desk) -> None:
    """Its holder gets it back when that deposit does, so it never was the older one's."""
    engine = desk.engine
    older, newer = desk.paid_in(500_000), desk.paid_in(500_000)
    third = engine.account()
    desk.give(desk.buyer, third, 500_000)
    desk.give(desk.buyer, desk.vendor, 500_000)
    desk.lose(newer, 6)
    desk.lose(older, 13)
    (part,) = [row for row in engine.rows(frozen_part) if row.account_id == third]
    assert (owed(desk), desk.take(part.id)) == (1_000_000, 500_000)
    assert write_off(desk) == 500_000
    desk.again(newer)
    assert (engine.available(desk.buyer), engine.house("reorg_loss")) == (0, 0)
    desk.again(older)
    assert (owed(desk), desk.money(), engine.available(third)) == (0, (0, 500_000), 500_000)
    assert (engine.house("reorg_loss"), engine.frozen(desk.buyer)) == (0, None)
    desk.check()


def test_what_was_taken_for_a_deposit_is_given_back_before_that_repays_another_debt(desk: Desk) -> None:
    """Else he owes what he gives back, the house bears that, and the other deposit's return is a second credit."""
    engine = desk.engine
    first = spent_and_lost(desk, 500_000)
    (part,) = [row for row in engine.rows(frozen_part) if row.live == 1]
    assert (desk.take(part.id), owed(desk)) == (500_000, 0)
    second = spent_and_lost(desk, 200_000)
    desk.again(first)
    assert (owed(desk), engine.available(desk.vendor)) == (200_000, 500_000)
    assert write_off(desk) == 200_000
    desk.again(second)
    assert (owed(desk), desk.money(), engine.house("reorg_loss")) == (0, (0, 700_000), 0)
    assert engine.frozen(desk.buyer) is None
    desk.check()


def test_a_deposit_whose_own_debt_was_repaid_does_not_pay_for_another_that_was_written_off(desk: Desk) -> None:
    engine = desk.engine
    older, newer = desk.paid_in(200_000), desk.paid_in(500_000)
    desk.give(desk.buyer, desk.vendor, 700_000)
    desk.lose(newer, 6)
    desk.lose(older, 13)
    engine.chain.fund(engine.address(desk.buyer).address, 600_000, blocks=6)  # the first debt, half of the second
    engine.tick()
    assert write_off(desk) == 100_000
    desk.again(newer)
    assert (engine.available(desk.buyer), engine.house("reorg_loss")) == (500_000, -100_000)
    desk.again(older)
    assert (engine.available(desk.buyer), engine.house("reorg_loss")) == (600_000, 0)
    desk.check()


def test_a_deposit_that_comes_and_goes_repays_the_house_each_time(desk: Desk) -> None:
    engine = desk.engine
    txid = spent_and_lost(desk, 500_000)
    for _ in range(2):
        write_off(desk)
        assert engine.house("reorg_loss") == -500_000
        desk.again(txid)
        assert (owed(desk), engine.available(desk.buyer), engine.house("reorg_loss")) == (0, 0, 0)
        desk.lose(txid, 6)
        assert owed(desk) == 500_000
    desk.again(txid)
    assert (owed(desk), desk.money(), engine.house("reorg_loss")) == (0, (0, 500_000), 0)
    desk.check()


def test_one_that_a_person_gives_to_its_owner_each_time_repays_the_house(desk: Desk) -> None:
    engine = desk.engine
    engine.set_policy(deposit_minimum_units=600_000)
    owner = engine.row(account, desk.buyer).public_id
    txid = desk.paid_in(500_000)

    def given() -> None:
        name = engine.deposit_of(desk.buyer).public_id
        desk.run(lambda tx: by_hand.credit_deposit(tx, name, owner, "operator:ada"))

    given()
    desk.give(desk.buyer, desk.vendor, 500_000)
    desk.lose(txid, 6)
    write_off(desk)
    desk.again(txid)
    assert engine.house("reorg_loss") == -500_000  # it is dust, and the house's, until somebody decides
    desk.lose(txid, 6)
    desk.again(txid)
    given()
    assert (owed(desk), desk.money(), engine.house("reorg_loss")) == (0, (0, 500_000), 0)
    assert engine.frozen(desk.buyer) is None
    desk.check()
