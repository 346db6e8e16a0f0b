"""A credited deposit leaves the chain after its money went from hand to hand (FAULTS E2): all that it paid for is
found, and what of that is not spent is kept still, wherever it lies, until the loss is settled.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import select

from jobs import halting, transfers, withdrawal
from jobs.explain import explain
from jobs.trace import dependants
from ledger import accounts
from ledger.db import Tx
from ledger.errors import AccountFrozen, InsufficientFunds, LeaseLost, StateConflict
from ledger.schema import deposit, frozen_part
from tests.clock import end_leases
from tests.flows.engine import Engine
from tests.flows.escrow_desk import Desk
from wallets.protocol import Output


@pytest.fixture
def desk(engine: Engine) -> Desk:
    engine.funded(20_000_000)  # coins of others, so that payouts do not spend the deposit itself
    return Desk(engine)


def frozen(desk: Desk) -> list[tuple[str, int, int, int | None]]:
    """(place, account, units, live) of all parts."""
    return [(row.place, row.account_id, row.units, row.live) for row in desk.engine.rows(frozen_part)]


def owed(desk: Desk) -> int:
    return desk.engine.balance(desk.buyer, "receivable")


def told(desk: Desk, txid: str) -> list[str]:
    """What `coffer explain` says of the deposit's money."""
    found = desk.engine.database.read(lambda tx: explain(tx, txid))
    return [line.strip() for line in found.trace]


def test_what_a_transfer_passed_on_is_frozen_until_the_deposit_is_back(desk: Desk) -> None:
    txid = desk.paid_in(500_000)
    desk.give(desk.buyer, desk.vendor, 400_000)
    desk.lose(txid, 6)
    assert owed(desk) == 400_000
    assert desk.money() == (0, 0)
    assert frozen(desk) == [("balance", desk.vendor, 400_000, 1)]
    with pytest.raises(InsufficientFunds):
        desk.engine.withdraw(desk.vendor, 100_000)
    desk.check()
    desk.again(txid)
    assert (owed(desk), desk.money()) == (0, (100_000, 400_000))
    assert frozen(desk) == [("balance", desk.vendor, 400_000, None)]
    assert desk.engine.frozen(desk.buyer) is None
    desk.check()


def test_it_is_followed_through_many_hands_and_only_what_is_not_spent_is_frozen(desk: Desk) -> None:
    engine, third, fourth = desk.engine, desk.engine.account(), desk.engine.account()
    txid = desk.paid_in(500_000)
    desk.give(desk.buyer, desk.vendor, 500_000)
    desk.give(desk.vendor, third, 300_000)
    desk.give(third, fourth, 100_000)
    spent = engine.withdraw(fourth, 60_000)
    engine.tick()
    desk.lose(txid, 6)
    assert engine.state(spent) in ("broadcast", "confirming")
    assert owed(desk) == 500_000
    expected = {desk.vendor: 200_000, third: 200_000, fourth: 38_000}
    assert {account: units for _, account, units, _ in frozen(desk)} == expected
    desk.check()
    desk.again(txid)
    assert (owed(desk), engine.available(desk.vendor), engine.available(third)) == (0, 200_000, 200_000)
    desk.check()


def test_the_oldest_money_of_an_account_is_spent_first(desk: Desk) -> None:
    """The vendor had money of his own before: he still has the deposit's, and may spend all that is his."""
    engine, third = desk.engine, desk.engine.account()
    desk.top_up(250_000, desk.vendor)
    txid = desk.paid_in(500_000)
    desk.give(desk.buyer, desk.vendor, 400_000)
    desk.give(desk.vendor, third, 300_000)  # his own 250 000, and 50 000 of the deposit's
    desk.lose(txid, 6)
    assert {account: units for _, account, units, _ in frozen(desk)} == {desk.vendor: 350_000, third: 50_000}
    assert (engine.available(desk.vendor), engine.available(third)) == (0, 250_000)
    desk.check()


def test_only_what_its_depositor_owes_is_frozen_what_was_spent_last_first(desk: Desk) -> None:
    engine, third = desk.engine, desk.engine.account()
    txid = desk.paid_in(500_000)
    desk.give(desk.buyer, desk.vendor, 300_000)
    desk.give(desk.buyer, third, 200_000)
    desk.top_up(250_000)
    engine.chain.reorg(12, gone=[txid])  # what came after it is in the pool again
    engine.run_task("scan")
    later, paid = sorted(engine.rows(deposit), key=lambda row: row.txid == txid)[-2:]
    engine.runtime.advance("deposit", paid.id)  # before the other is judged: it is still there to pay with
    assert owed(desk) == 250_000
    assert frozen(desk) == [("balance", third, 200_000, 1), ("balance", desk.vendor, 50_000, 1)]
    assert later.credited == 1
    engine.tick()  # and now the other one goes, which had stood in for it
    assert owed(desk) == 500_000
    assert sum(units for _, _, units, _ in frozen(desk)) == 500_000
    desk.check()


def test_an_escrow_that_somebody_else_funded_with_it_is_not_released(desk: Desk) -> None:
    engine = desk.engine
    other = desk.another()
    txid = desk.paid_in(500_000)
    desk.give(desk.buyer, other.buyer, 500_000)
    escrow_id = other.make()
    other.fund(escrow_id)
    desk.lose(txid, 6)
    assert frozen(desk) == [("escrow", other.buyer, 500_000, 1)]
    with pytest.raises(AccountFrozen, match="left the chain"):
        other.release(escrow_id)
    desk.check()
    desk.again(txid)
    other.release(escrow_id)
    assert engine.available(other.vendor) == 500_000
    desk.check()


def test_what_a_frozen_escrow_gives_back_stays_frozen(desk: Desk) -> None:
    engine = desk.engine
    other = desk.another()
    txid = desk.paid_in(500_000)
    desk.give(desk.buyer, other.buyer, 500_000)
    escrow_id = other.make()
    other.fund(escrow_id)
    desk.lose(txid, 6)
    other.refund(escrow_id, 200_000)
    assert [part for part in frozen(desk) if part[3]] == [
        ("balance", other.buyer, 200_000, 1),
        ("escrow", other.buyer, 300_000, 1),
    ]
    other.refund(escrow_id)
    assert engine.available(other.buyer) == 0
    assert sum(units for place, _, units, live in frozen(desk) if live and place == "balance") == 500_000
    desk.check()
    desk.again(txid)
    assert (owed(desk), engine.available(other.buyer)) == (0, 500_000)
    desk.check()


@pytest.mark.parametrize("approval", [True, False], ids=["pending_approval", "queued"])
def test_a_withdrawal_that_has_not_left_is_taken_back_and_frozen(desk: Desk, approval: bool) -> None:
    engine = desk.engine
    txid = desk.paid_in(500_000)
    desk.give(desk.buyer, desk.vendor, 500_000)
    if approval:
        engine.set_policy(withdrawal_approval_above_units=1_000)
    waiting = engine.withdraw(desk.vendor, 300_000)
    desk.engine.chain.reorg(6, gone=[txid])
    engine.run_task("scan")
    (paid,) = [row for row in engine.rows(deposit) if row.txid == txid]
    engine.runtime.advance("deposit", paid.id)
    assert engine.state(waiting) == "cancelled"
    assert [units for _, account, units, _ in frozen(desk) if account == desk.vendor] == [302_000, 198_000]
    assert engine.available(desk.vendor) == 0
    engine.tick()
    desk.check()


def test_a_signed_payment_of_which_nothing_is_out_waits_for_the_deposit(desk: Desk) -> None:
    engine = desk.engine
    txid = desk.paid_in(500_000)
    desk.give(desk.buyer, desk.vendor, 500_000)
    payee = engine.chain.outside_address()
    waiting = engine.withdraw(desk.vendor, 300_000, payee)
    engine.run_task("batch")
    assert engine.row(withdrawal.withdrawal, waiting).payment_id is not None
    engine.chain.reorg(6, gone=[txid])
    engine.run_task("scan")
    (paid,) = [row for row in engine.rows(deposit) if row.txid == txid]
    engine.runtime.advance("deposit", paid.id)
    assert ("withdrawal", desk.vendor, 302_000, 1) in frozen(desk)
    engine.tick(3)
    assert engine.state(waiting) == "queued"
    assert engine.chain.received(payee) == 0
    desk.check()
    desk.again(txid)
    engine.tick(2)
    assert engine.state(waiting) in ("broadcast", "confirming")
    desk.check()


def test_a_payment_whose_worker_died_at_the_pivot_goes_on_although_its_account_is_frozen_since(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signer's record says that it may have left: it can never be let go, and others wait in it."""
    engine, real = desk.engine, desk.engine.database.run
    payee = engine.chain.outside_address()
    row_id = engine.withdraw(engine.funded(500_000), 300_000, payee)
    owner = engine.row(withdrawal.withdrawal, row_id).account_id

    def dies(unit: Callable[[Tx], Any], name: str) -> Any:
        if name == "payment.signed.finish":
            raise LeaseLost("as after a crash")
        return real(unit, name)

    with monkeypatch.context() as patch:
        patch.setattr(engine.database, "run", dies)
        engine.tick()
    assert engine.payment_of(row_id).state == "signed"
    desk.run(lambda tx: accounts.freeze(tx, owner, "reorg_debt"))
    desk.run(lambda tx: end_leases(tx.execute))
    engine.tick()
    assert engine.state(row_id) == "broadcast"
    engine.chain.mine(1)
    assert engine.chain.received(payee) == 300_000
    engine.tick()
    desk.check()


def test_a_deposit_that_repaid_a_debt_has_paid_for_what_was_bought_on_it(desk: Desk) -> None:
    first = desk.paid_in(500_000)
    desk.give(desk.buyer, desk.vendor, 500_000)
    desk.lose(first, 6)
    second = desk.paid_in(500_000)
    assert (owed(desk), desk.money()) == (0, (0, 500_000))
    desk.lose(second, 6)
    assert (owed(desk), desk.money()) == (500_000, (0, 0))
    assert frozen(desk)[-1] == ("balance", desk.vendor, 500_000, 1)
    desk.check()
    assert any("repaid" in line for line in told(desk, second))


def test_two_deposits_of_one_block_that_go_together_freeze_what_either_had_paid_for(desk: Desk) -> None:
    engine = desk.engine
    first = engine.chain.pay(Output(engine.address(desk.buyer).address, 300_000))
    second = engine.chain.fund(engine.address(desk.buyer).address, 200_000, blocks=6)
    engine.tick()
    desk.give(desk.buyer, desk.vendor, 100_000)
    engine.chain.reorg(6, gone=[first, second])
    engine.tick()
    assert owed(desk) == 100_000
    assert frozen(desk) == [("balance", desk.vendor, 100_000, 1)]
    desk.check()


def test_a_part_that_lies_in_an_escrow_cannot_be_taken_but_thawed(desk: Desk) -> None:
    other = desk.another()
    txid = desk.paid_in(500_000)
    desk.give(desk.buyer, other.buyer, 500_000)
    escrow_id = other.make()
    other.fund(escrow_id)
    desk.lose(txid, 6)
    (part,) = desk.engine.rows(frozen_part)
    with pytest.raises(StateConflict, match="escrow"):
        desk.take(part.id)
    desk.thaw(part.id)
    other.release(escrow_id)
    assert desk.engine.available(other.vendor) == 500_000
    desk.check()


def test_explain_tells_where_the_money_of_a_vanished_deposit_went(desk: Desk) -> None:
    engine, escrow_id = desk.engine, desk.by_address(fee_ppm=20_000)
    txid = desk.pay(escrow_id, 500_000)
    desk.release(escrow_id)
    spent = engine.withdraw(desk.vendor, 300_000)
    engine.tick()
    desk.lose(txid, 6)
    lines = told(desk, txid)
    assert any("released by es_" in line for line in lines)
    assert any(line.startswith("0.00302000 BTC withdrawn by") for line in lines)
    assert any(line.startswith("0.00188000 BTC frozen in the balance") for line in lines)
    assert any(line.startswith("0.00500000 BTC owed for it by") for line in lines)
    assert any("owes 0.00500000 BTC now, and may spend nothing" in line for line in lines)
    subjects = desk.engine.database.read(lambda tx: explain(tx, txid)).subjects
    named = {subject["kind"] for subject in subjects}
    assert {"deposit", "escrow", "withdrawal", "payment"} <= named
    assert engine.row(withdrawal.withdrawal, spent).public_id in {subject["id"] for subject in subjects}
    desk.again(txid)
    assert any("0.00188000 BTC thawed in the balance" in line for line in told(desk, txid))
    assert any("came back" in line for line in told(desk, txid))


def test_money_is_never_followed_twice(desk: Desk) -> None:
    """What a trace finds is the deposit, to the unit, whatever happened to it."""
    from jobs.trace.follow import leaves, trace, walk

    engine = desk.engine
    txid = desk.paid_in(500_000)
    escrow_id = desk.make(300_000, fee_ppm=10_000)
    desk.fund(escrow_id)
    desk.release(escrow_id, 100_000)
    desk.give(desk.vendor, desk.buyer, 30_000)
    desk.refund(escrow_id, 50_000)
    engine.withdraw(desk.buyer, 77_777)
    engine.tick()

    def read(tx):  # type: ignore[no-untyped-def]
        paid = tx.one(select(deposit).where(deposit.c.txid == txid))
        found = trace(tx, paid)
        assert found is not None
        assert found.whole
        for step in walk(found.root):
            assert step.left + sum(after.units for after in step.steps) in (step.units, 0), step
        return sum(leaf.step.left for leaf in leaves(found.root))

    lying = engine.database.read(read)
    assert lying == 500_000 - 1_000  # the fee is the house's; the withdrawal is held until it settles


def back_and_forth(desk: Desk, times: int) -> int:
    """The vendor's money goes to a third account and back so often; that account."""
    third = desk.engine.account()

    def unit(tx: Tx) -> None:
        pair = [desk.vendor, third]
        for _ in range(times):
            transfers.make(tx, desk.engine.caller, transfers.Order(*pair, "BTC", 400_000, secrets.token_hex(8)))
            pair.reverse()

    desk.run(unit)
    return third


@contextmanager
def usual_stack() -> Iterator[None]:
    """As deep as a worker's; libraries that only tests load make it deeper."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(1_000)
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def not_followed(desk: Desk) -> bool:
    return ("money_not_followed", f"debt:{desk.buyer}:BTC") in desk.engine.alarms()


def test_money_that_goes_back_and_forth_for_ever_stops_no_reversal(desk: Desk) -> None:
    """It is followed so far and no further, and an operator is told; what is nearer is frozen all the same."""
    txid = desk.paid_in(500_000)
    fourth = desk.engine.account()
    desk.give(desk.buyer, fourth, 100_000)
    desk.give(desk.buyer, desk.vendor, 400_000)
    third = back_and_forth(desk, 520)
    with usual_stack():
        desk.lose(txid, 6)
    assert (owed(desk), desk.engine.frozen(desk.buyer)) == (500_000, "reorg_debt")
    assert frozen(desk) == [("balance", fourth, 100_000, 1)]
    assert (desk.money(), desk.engine.available(third)) == ((0, 400_000), 0)
    assert not_followed(desk)
    desk.check()
    with usual_stack():
        assert "... and more: not all of it was followed" in told(desk, txid)
    desk.again(txid)
    assert (owed(desk), desk.money(), desk.engine.available(fourth)) == (0, (0, 400_000), 100_000)
    assert not not_followed(desk)
    desk.check()


def test_a_trace_that_fails_stops_no_reversal(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    txid = desk.paid_in(500_000)
    desk.give(desk.buyer, desk.vendor, 500_000)

    def fails(*_: Any) -> None:
        raise RecursionError

    with monkeypatch.context() as patch:
        patch.setattr(dependants, "trace", fails)
        desk.lose(txid, 6)
    assert (owed(desk), desk.engine.frozen(desk.buyer), frozen(desk)) == (500_000, "reorg_debt", [])
    assert not_followed(desk)
    desk.check()


def test_a_trace_that_was_followed_whole_raises_no_alarm(desk: Desk) -> None:
    txid = desk.paid_in(500_000)
    desk.give(desk.buyer, desk.vendor, 400_000)
    third = back_and_forth(desk, 101)
    desk.lose(txid, 6)
    assert (owed(desk), frozen(desk)) == (400_000, [("balance", third, 400_000, 1)])
    assert not not_followed(desk)
    desk.check()


@pytest.mark.parametrize("approval", [True, False], ids=["pending_approval", "queued"])
def test_a_withdrawal_that_may_have_been_paid_before_a_restore_waits_and_is_not_given_back(
    desk: Desk, approval: bool
) -> None:
    """What the lost rows knew nobody knows yet: given back, it would have been paid and given back."""
    engine = desk.engine
    txid = desk.paid_in(500_000)
    desk.give(desk.buyer, desk.vendor, 500_000)
    if approval:
        engine.set_policy(withdrawal_approval_above_units=1_000)
    waiting = engine.withdraw(desk.vendor, 300_000)
    desk.run(lambda tx: halting.stop(tx, engine.name, "restored", "a drill", "op"))
    before = engine.state(waiting)
    engine.chain.reorg(6, gone=[txid])
    engine.run_task("scan")
    (paid,) = [row for row in engine.rows(deposit) if row.txid == txid]
    engine.runtime.advance("deposit", paid.id)
    assert owed(desk) == 500_000
    assert engine.state(waiting) == before == ("pending_approval" if approval else "queued")
    assert engine.balance(desk.vendor, "held") == 302_000 + 198_000
    assert ("withdrawal", desk.vendor, 302_000, 1) in frozen(desk)
    desk.run(lambda tx: halting.lift(tx, engine.name, "restored", "op"))
    engine.tick(2)
    assert engine.state(waiting) == before  # kept still until the deposit is back
    desk.check()
    desk.again(txid)
    engine.tick(2)
    assert engine.state(waiting) in ("pending_approval", "broadcast", "confirming")
    assert not [part for part in frozen(desk) if part[3]]
    desk.check()


def test_what_is_frozen_while_the_signer_lets_it_go_is_gone(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The signer's record says that it has left: nothing is kept still any more, and no alarm says so."""
    engine = desk.engine
    txid = desk.paid_in(500_000)
    desk.give(desk.buyer, desk.vendor, 500_000)
    sent = engine.withdraw(desk.vendor, 498_000)
    signer = engine.services.require_signer()
    real = signer.leave
    seen: list[tuple[str, int, int, int | None]] = []

    def leaves(*args: Any) -> Any:
        head = real(*args)
        engine.chain.reorg(6, gone=[txid])
        engine.run_task("scan")
        (paid,) = [row for row in engine.rows(deposit) if row.txid == txid]
        engine.runtime.advance("deposit", paid.id)
        seen.extend(frozen(desk))
        return head

    with monkeypatch.context() as patch:
        patch.setattr(signer, "leave", leaves)
        engine.tick()
    assert seen == [("withdrawal", desk.vendor, 500_000, 1)]
    assert engine.state(sent) in ("broadcast", "confirming")
    assert (owed(desk), frozen(desk)) == (500_000, [("withdrawal", desk.vendor, 500_000, None)])
    assert "money_frozen" not in {name for name, _ in engine.alarms()}
    desk.check()
