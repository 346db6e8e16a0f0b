"""What someone with write access to the database could change to make money leave: nothing of it is signed."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import insert, select, update

from jobs import runtime, withdrawal
from jobs.payment import contents as payment_contents
from jobs.resolve import payments as resolve_payments
from ledger import holds, pauses
from ledger.schema import payment, payment_item, swap
from ledger.schema import withdrawal as withdrawals
from tests.flows.engine import Engine
from tests.flows.swap_desk import Desk


def joined(engine: Engine, row_id: int) -> int:
    """Let a withdrawal join a payment of which nothing is decided yet; the payment's id."""
    engine.runtime.advance("task", task_id(engine, f"batch:{engine.name}"), woken=True)
    payment_id = engine.row(withdrawals, row_id).payment_id
    assert engine.row(payment, payment_id).state == "building"
    return int(payment_id)


def task_id(engine: Engine, name: str) -> int:
    table = engine.runtime.sagas["task"].table
    return int(engine.database.read(lambda tx: tx.value(select(table.c.id).where(table.c.name == name))))


@pytest.mark.parametrize("of_withdrawal", [False, True])
def test_an_output_that_no_withdrawal_asked_for_is_never_signed(engine: Engine, of_withdrawal: bool) -> None:
    account = engine.funded(1_000_000)
    row_id = engine.withdraw(account, 100_000)
    payment_id = joined(engine, row_id)
    thief = engine.chain.outside_address()
    extra: dict[str, Any] = {"payment_id": payment_id, "address": thief, "units": 500_000, "live": None}
    extra["withdrawal_id"] = row_id if of_withdrawal else None
    engine.database.run(lambda tx: tx.execute(insert(payment_item).values(extra)), "t")
    engine.tick(2)
    assert engine.chain.received(thief) == 0
    assert engine.row(payment, payment_id).status_reason == "item_mismatch"
    assert engine.database.read(lambda tx: pauses.reason(tx, "BTC", "withdrawals")) is not None
    engine.database.run(lambda tx: pauses.resume(tx, "BTC", "withdrawals", "op"), "t")
    engine.tick(2)
    assert engine.state(row_id) == ("review" if of_withdrawal else "broadcast")  # the one at fault waits for a person
    assert engine.chain.received(thief) == 0


def test_a_fee_above_the_ceiling_is_never_signed(engine: Engine) -> None:
    row_id = engine.withdraw(engine.funded(1_000_000), 100_000)
    payment_id = reserved(engine, row_id)
    lower = update(payment).where(payment.c.id == payment_id).values(fee_max_units=10)
    engine.database.run(lambda tx: tx.execute(lower), "t")
    engine.tick()
    row = engine.row(payment, payment_id)
    assert (row.state, row.status_reason) == ("dead", "fee_above_ceiling")
    assert engine.chain.pool == ()


def reserved(engine: Engine, row_id: int) -> int:
    """Let a withdrawal join a payment whose coins are chosen, and that is not signed; the payment's id."""
    payment_id = joined(engine, row_id)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runtime, "STEPS_MAX", 1)
        engine.runtime.advance("payment", payment_id)
    assert engine.row(payment, payment_id).state == "reserved"
    return payment_id


def test_a_withdrawal_whose_money_went_back_is_never_signed(engine: Engine) -> None:
    account, payee = engine.funded(1_000_000), engine.chain.outside_address()
    row_id = engine.withdraw(account, 100_000, payee)
    key = withdrawal.hold_key(row_id, 1)
    engine.database.run(lambda tx: holds.void(tx, key, ("withdrawal", row_id)), "t")  # and its row stays queued
    engine.tick(2)
    assert engine.chain.received(payee) == 0
    assert (engine.state(row_id), engine.available(account)) == ("review", 1_000_000)
    assert engine.database.read(lambda tx: pauses.reason(tx, "BTC", "withdrawals")) is not None


def test_a_database_from_before_the_coins_were_chosen_pays_nobody_twice(engine: Engine) -> None:
    """The payment was signed and sent; a restored database has it as building, and would choose other coins."""
    payee = engine.chain.outside_address()
    row_id = engine.withdraw(engine.funded(1_000_000), 100_000, payee)
    payment_id = reserved(engine, row_id)
    row = engine.row(payment, payment_id)
    what = engine.database.read(lambda tx: payment_contents.contents(tx, row))
    engine.services.require_signer().admit(payment_contents.sign_request(row, what))  # in the life that was lost
    other = {"proposal": row.proposal | {"resources": [f"{'0' * 64}:0"]}}
    engine.database.run(lambda tx: tx.execute(update(payment).where(payment.c.id == payment_id).values(other)), "t")
    engine.tick(2)
    assert (engine.row(payment, payment_id).state, engine.state(row_id)) == ("review", "review")
    resolved = resolve_payments.Proof(engine.row(payment, payment_id).version, {})
    engine.database.run(
        lambda tx: resolve_payments.resolve_payment(tx, row.public_id, "retry", resolved, "op"), "resolve"
    )
    engine.tick(2)
    assert (engine.row(payment, payment_id).state, engine.state(row_id)) == ("review", "review")
    assert engine.chain.received(payee) == 0


def test_a_swap_pays_out_no_more_than_it_was_executed_for(desk: Desk) -> None:
    """Its payout waits for a pause, and someone raises what it has bought: the account could bear it."""
    thief = desk.engine.outside("XMR")
    owner = desk.engine.funded_in(BTC=10**8, XMR=10**14)
    made = desk.open(account=owner, payout_address=thief)
    desk.engine.database.run(lambda tx: pauses.stop(tx, "XMR", "withdrawals", "slow", "op"), "t")
    desk.pay(made)
    bought = desk.row(made).buy_units
    assert (desk.state(made)[0], desk.row(made).executed_at is not None) == ("executed", True)
    more = update(swap).where(swap.c.id == made).values(buy_units=bought + 10**13)
    desk.engine.database.run(lambda tx: tx.execute(more), "t")
    desk.engine.database.run(lambda tx: pauses.resume(tx, "XMR", "withdrawals", "op"), "t")
    desk.settle()
    assert desk.engine.received(thief, "XMR") == 0
    assert desk.state(made)[0] == "failed"
    assert [line.split()[0] for line in desk.alarms()] == ["swap_changed"]
