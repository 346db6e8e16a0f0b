"""Alarms end with what they tell of: what a person decides is closed by that, and told again if it comes back."""

from __future__ import annotations

import pytest
from sqlalchemy import insert, select, update

from jobs import alarms
from jobs.deposit.scan import MOVED
from jobs.escrow import ending as escrow_ending
from jobs.resolve import alarms as resolve_alarms
from jobs.resolve import by_hand
from jobs.resolve import payments as resolve_payments
from jobs.swap import resolve as swap_resolve
from ledger import audit, halts, pauses
from ledger.errors import InvalidInput, NotFound
from ledger.policy import FINAL_DEPTH
from ledger.schema import deposit, escrow, event, payment, payment_item, swap
from ledger.schema import withdrawal as withdrawals
from tests.flows.engine import MAC, Engine
from tests.flows.escrow_desk import Desk as EscrowDesk
from tests.flows.swap_desk import Desk
from wallets.fake.model import Tx
from wallets.protocol import Output


def of(engine: Engine, subject: str) -> set[str]:
    """The open alarms of it."""
    return {name for name, about in engine.alarms() if about == subject}


def told(engine: Engine, name: str) -> int:
    """How often shops and operators were told of such an alarm."""
    return len([row for row in engine.rows(event) if row.type == "alarm.raised" and row.data["name"] == name])


def contested(engine: Engine, row_id: int) -> str:
    """Something else spends the payment's inputs, deep enough for a person; its transaction."""
    ours = engine.chain.transaction(engine.payment_of(row_id).txid)
    theirs = Tx(ours.inputs, (Output(engine.chain.outside_address(), 50_000),), 500)
    engine.chain.mine_instead(theirs)
    engine.chain.mine(6)
    engine.tick(3)
    assert engine.payment_of(row_id).state == "review"
    engine.database.run(lambda tx: halts.lift(tx, "bitcoin", "resource_moved", "op"), "t")
    return theirs.txid


def recheck(engine: Engine, row_id: int) -> None:
    name = engine.payment_of(row_id).public_id
    engine.database.run(lambda tx: resolve_payments.recheck_payment(tx, name, "op"), "t")


def resolve(engine: Engine, row_id: int, choice: str) -> None:
    name = engine.payment_of(row_id).public_id
    row, asked = engine.database.read(lambda tx: resolve_payments.needs_proof(tx, name))
    proof = resolve_payments.prove(engine.services, row, asked)
    engine.database.run(lambda tx: resolve_payments.resolve_payment(tx, name, choice, proof, "op"), "t")


def test_a_contested_payment_that_is_paid_after_all_leaves_no_alarm(engine: Engine) -> None:
    row_id = engine.withdraw(engine.funded(1_000_000), 100_000)
    engine.tick()
    subject = f"payment:{engine.payment_of(row_id).id}"
    theirs = contested(engine, row_id)
    assert of(engine, subject) == {"payment_contested"}
    engine.chain.reorg(8, gone=[theirs])
    engine.tick()
    recheck(engine, row_id)
    assert of(engine, subject) == set()
    engine.tick()
    engine.chain.mine(3)
    engine.tick(2)
    assert (engine.state(row_id), of(engine, subject)) == ("completed", set())


def test_a_payment_that_is_contested_again_is_told_again(engine: Engine) -> None:
    row_id = engine.withdraw(engine.funded(1_000_000), 100_000)
    engine.tick()
    contested(engine, row_id)
    assert told(engine, "payment_contested") == 1
    recheck(engine, row_id)
    engine.tick(3)
    assert engine.payment_of(row_id).state == "review"
    assert of(engine, f"payment:{engine.payment_of(row_id).id}") == {"payment_contested"}
    assert told(engine, "payment_contested") == 2


@pytest.mark.parametrize("choice", ["retry", "refund", "aside"])
def test_a_contested_payment_that_is_let_go_leaves_no_alarm(engine: Engine, choice: str) -> None:
    row_id = engine.withdraw(engine.funded(1_000_000), 100_000)
    engine.tick()
    paid = engine.payment_of(row_id)
    contested(engine, row_id)
    engine.chain.mine(FINAL_DEPTH)
    engine.run_task("scan")
    resolve(engine, row_id, choice)
    engine.runtime.advance("payment", paid.id)
    assert (engine.row(payment, paid.id).state, of(engine, f"payment:{paid.id}")) == ("dead", set())


def test_what_was_not_seen_is_over_when_something_else_is_found(engine: Engine) -> None:
    row_id = engine.withdraw(engine.funded(1_000_000), 100_000)
    engine.tick()
    paid = engine.payment_of(row_id)
    engine.database.run(lambda tx: alarms.raise_(tx, "not_seen", f"payment:{paid.id}", "t"), "t")
    contested(engine, row_id)
    assert of(engine, f"payment:{paid.id}") == {"payment_contested"}


# What the signer refused


def refused(engine: Engine) -> tuple[str, str]:
    """A withdrawal in review, since its payment was to pay somebody else in its name, and the alarm's subject."""
    row_id = engine.withdraw(engine.funded(1_000_000), 100_000)
    engine.run_task("batch")
    (row,) = engine.rows(payment)
    extra = {"payment_id": row.id, "withdrawal_id": row_id, "address": engine.chain.outside_address(), "units": 500_000}
    engine.database.run(lambda tx: tx.execute(insert(payment_item).values(extra | {"live": None})), "t")
    engine.tick(2)
    assert (engine.row(payment, row.id).state, engine.state(row_id)) == ("dead", "review")
    return str(engine.row(withdrawals, row_id).public_id), f"payment:{row.id}"


@pytest.mark.parametrize("choice", ["refund", "requeue"])
def test_what_the_signer_refused_is_told_until_the_withdrawal_is_decided(engine: Engine, choice: str) -> None:
    name, subject = refused(engine)
    assert of(engine, subject) == {"signer_refused"}
    if choice == "refund":
        engine.database.run(lambda tx: by_hand.refund_withdrawal(tx, name, "op"), "t")
    else:
        engine.database.run(lambda tx: by_hand.requeue_withdrawal(tx, name, MAC, "op"), "t")
    assert of(engine, subject) == set()


def test_own_money_that_was_refused_is_told_until_it_moves(engine: Engine) -> None:
    cold = engine.services.cold_addresses
    engine.services.cold_addresses = {"bitcoin": engine.chain.outside_address()}  # the signer knows another
    engine.set_policy(hot_ceiling_units=3_000_000, hot_keep_units=1_000_000)
    engine.funded(5_000_000)
    engine.tick(3)
    assert [row.state for row in engine.rows(payment)] == ["dead"]
    assert of(engine, "payment:1") == {"signer_refused"}
    engine.services.cold_addresses = cold
    engine.database.run(lambda tx: pauses.resume(tx, "BTC", "withdrawals", "op"), "t")
    long_ago = update(payment).values(created_at=1, updated_at=1)
    engine.database.run(lambda tx: tx.execute(long_ago), "t")
    engine.tick(2)
    engine.chain.mine(3)
    engine.tick(2)
    assert engine.rows(payment)[-1].state == "settled"
    assert of(engine, "payment:1") == set()


# What a request moves


def failing(engine: Engine, table: object, kind: str, row_id: int) -> str:
    """A row whose step has failed; the alarm's subject."""
    subject = f"{kind}:{row_id}"

    def fail(tx: object) -> None:
        t = table
        values = {"attempts": 3, "status_reason": "internal_error"}
        tx.execute(update(t).where(t.c.id == row_id).values(values))  # type: ignore[attr-defined]
        for name in ("internal_error", "node_unavailable", "crashed_repeatedly"):
            alarms.raise_(tx, name, subject, "t")  # type: ignore[arg-type]

    engine.database.run(fail, "t")
    return subject


def test_an_escrow_that_a_request_moves_has_not_failed_any_more(engine: Engine) -> None:
    desk = EscrowDesk(engine)
    escrow_id = desk.make()
    subject = failing(engine, escrow, "escrow", escrow_id)
    desk.run(lambda tx: escrow_ending.cancel(tx, engine.caller, escrow_id))
    assert (desk.row(escrow_id).attempts, of(engine, subject)) == (0, set())


def test_a_swap_that_a_deposit_reaches_has_not_failed_any_more(desk: Desk) -> None:
    made = desk.open()
    subject = failing(desk.engine, swap, "swap", made)
    desk.pay(made)
    assert of(desk.engine, subject) == set()


# What has happened, and cannot be decided


def test_a_final_deposit_that_comes_back_is_where_it_was(engine: Engine) -> None:
    account = engine.account()
    engine.chain.fund(engine.address(account).address, 20_000, blocks=6)
    engine.tick()
    engine.chain.mine(FINAL_DEPTH)
    engine.tick(2)
    (row,) = engine.rows(deposit)
    assert row.state == "final"
    gone = update(deposit).where(deposit.c.id == row.id).values(seen="pool", height=None, block_hash=None)
    engine.database.run(lambda tx: tx.execute(gone), "t")
    engine.database.run(lambda tx: alarms.raise_(tx, MOVED, f"deposit:{row.id}", "t"), "t")
    engine.chain.reorg(FINAL_DEPTH + 6)
    engine.chain.mine(1)
    engine.tick()
    assert (engine.rows(deposit)[0].seen, of(engine, f"deposit:{row.id}")) == ("confirmed", set())


def test_what_has_happened_is_closed_by_who_looked(engine: Engine) -> None:
    engine.database.run(lambda tx: alarms.raise_(tx, MOVED, "deposit:7", "t"), "t")
    engine.database.run(lambda tx: alarms.raise_(tx, "payment_contested", "payment:7", "t"), "t")
    with pytest.raises(InvalidInput, match="by the act that decides"):
        engine.database.run(lambda tx: resolve_alarms.close(tx, "payment_contested", "payment:7", "op"), "t")
    engine.database.run(lambda tx: resolve_alarms.close(tx, MOVED, "deposit:7", "op"), "t")
    assert engine.alarms() == {("payment_contested", "payment:7")}
    with pytest.raises(NotFound):
        engine.database.run(lambda tx: resolve_alarms.close(tx, MOVED, "deposit:7", "op"), "t")
    assert engine.database.read(audit.faults) == []


def test_a_changed_swap_that_an_operator_gives_back_is_decided(desk: Desk) -> None:
    made = desk.open(refund=None)
    desk.engine.database.run(lambda tx: pauses.stop(tx, "XMR", "swaps", "slow", "op"), "t")
    desk.pay(made)
    name = desk.row(made).public_id
    desk.engine.database.run(lambda tx: alarms.raise_(tx, "swap_changed", name, "t"), "t")
    desk.engine.database.run(lambda tx: swap_resolve.refund(tx, name, "op"), "t")
    assert of(desk.engine, name) == set()
    assert desk.engine.database.read(lambda tx: tx.value(select(swap.c.state).where(swap.c.id == made))) == "refunding"
