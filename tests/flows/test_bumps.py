"""Bumps, and the payments that spend each other's change."""

from __future__ import annotations

import pytest
from sqlalchemy import select, update

from jobs import runtime
from jobs.payment import send as payment_send
from jobs.resolve import payments as resolve_payments
from ledger.errors import TransactionRefused
from ledger.schema import alarm, payment, resource, task
from ledger.schema import withdrawal as withdrawals
from tests.flows.engine import Engine
from wallets.protocol import SignedTransaction


def advance_batch(engine: Engine) -> None:
    row_id = engine.database.read(lambda tx: tx.value(select(task.c.id).where(task.c.name == "batch:bitcoin")))
    engine.runtime.advance("task", row_id, woken=True)


def inputs_of(engine: Engine, payment_id: int) -> set[str]:
    query = select(resource.c.resource_key).where(resource.c.payment_id == payment_id, resource.c.live == 1)
    return {row.resource_key for row in engine.database.read(lambda tx: tx.all(query))}


def order_bump(engine: Engine, payment_id: int, rate: int | None = None) -> None:
    public_id = engine.row(payment, payment_id).public_id
    engine.database.run(lambda tx: resolve_payments.bump_payment(tx, public_id, rate, "op"), "t")


def test_change_of_a_payment_that_was_just_bumped_is_not_spent(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the bump's commit and its sending the node still shows the old change: whoever spends it is lost."""
    account = engine.funded(1_000_000)
    first = engine.withdraw(account, 100_000)
    engine.tick()
    bumped = engine.payment_of(first)
    order_bump(engine, bumped.id)
    monkeypatch.setattr(runtime, "STEPS_MAX", 2)  # confirming, bumping
    engine.runtime.advance("payment", bumped.id)
    assert engine.row(payment, bumped.id).candidates == 2
    assert engine.row(payment, bumped.id).state == "broadcast"
    second = engine.withdraw(account, 50_000)
    advance_batch(engine)
    other = engine.row(withdrawals, second).payment_id
    engine.runtime.advance("payment", other)
    monkeypatch.undo()
    engine.tick(3)
    engine.chain.mine(3)
    engine.tick(3)
    engine.chain.mine(3)
    engine.tick(3)
    assert (engine.state(first), engine.state(second)) == ("completed", "completed")
    engine.check_invariants()


def test_a_payment_is_not_bumped_while_another_that_no_node_shows_spends_its_change(engine: Engine) -> None:
    account = engine.funded(1_000_000)
    first = engine.withdraw(account, 100_000)
    engine.tick()
    parent = engine.payment_of(first)
    second = engine.withdraw(account, 50_000)
    engine.tick()
    child = engine.payment_of(second)
    assert {key.partition(":")[0] for key in inputs_of(engine, child.id)} == {parent.txid}
    engine.chain.evict(child.txid)
    order_bump(engine, parent.id)
    engine.runtime.advance("payment", parent.id)
    assert engine.row(payment, parent.id).candidates == 1
    assert engine.row(payment, parent.id).status_reason == "change_in_use"
    engine.tick(2)
    engine.chain.mine(3)
    engine.tick(3)
    assert (engine.state(first), engine.state(second)) == ("completed", "completed")
    engine.check_invariants()


def test_a_payment_that_the_pool_no_longer_takes_is_bumped(engine: Engine) -> None:
    """The market rose above it and the pool dropped it: sending the same bytes again cannot help."""
    row_id = engine.withdraw(engine.funded(1_000_000), 100_000)
    engine.tick()
    first = engine.payment_of(row_id)
    engine.set_policy(payment_bump_after_seconds=10)
    long_ago = update(payment).where(payment.c.id == first.id).values(sent_at=1)
    engine.database.run(lambda tx: tx.execute(long_ago), "t")
    engine.chain.set_rate(30_000, rate_min=20_000)
    engine.chain.evict(first.txid)
    engine.tick(2)
    second = engine.payment_of(row_id)
    assert second.candidates == 2
    assert second.state == "confirming"
    assert first.fee_units < second.fee_units <= second.fee_max_units
    engine.chain.mine(3)
    engine.tick()
    assert engine.state(row_id) == "completed"
    engine.check_invariants()


def test_a_payment_that_cannot_be_bumped_into_the_pool_waits_quietly(engine: Engine) -> None:
    row_id = engine.withdraw(engine.funded(1_000_000), 100_000)
    engine.tick()
    first = engine.payment_of(row_id)
    long_ago = update(payment).where(payment.c.id == first.id).values(sent_at=1)
    engine.database.run(lambda tx: tx.execute(long_ago), "t")
    engine.chain.set_rate(900_000, rate_min=900_000)
    engine.chain.evict(first.txid)
    engine.tick(3)
    row = engine.payment_of(row_id)
    assert (row.state, row.status_reason) == ("broadcast", "not_seen")
    assert row.candidates <= 2  # at its ceiling
    assert engine.runtime.advance("payment", first.id) == 0
    assert ("not_seen", 1) in {(found.name, found.open) for found in engine.rows(alarm)}
    engine.chain.set_rate(None, rate_min=1_000)
    engine.tick(2)
    assert ("not_seen", 1) not in {(found.name, found.open) for found in engine.rows(alarm)}
    engine.chain.mine(3)
    engine.tick()
    assert engine.state(row_id) == "completed"
    engine.check_invariants()


def test_a_final_payment_owns_no_coins_any_more(engine: Engine) -> None:
    """What is bound to live payments is read, and locked in the node, again and again: it must not grow for ever."""
    row_id = engine.withdraw(engine.funded(1_000_000), 100_000)
    engine.tick()
    paid = engine.payment_of(row_id).id
    engine.chain.mine(99)
    engine.tick()
    assert (engine.payment_of(row_id).state, len(inputs_of(engine, paid))) == ("settled", 1)
    engine.chain.mine(1)
    engine.tick()
    assert (engine.payment_of(row_id).state, len(inputs_of(engine, paid))) == ("final", 0)
    engine.check_invariants()


def test_bytes_that_never_could_confirm_are_made_anew_though_no_pool_ever_had_them(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    wallet = engine.services.wallets["bitcoin"]

    def refuse(tx: SignedTransaction) -> None:
        raise TransactionRefused("invalid_input", invalid=True)

    row_id = engine.withdraw(engine.funded(1_000_000), 100_000)
    monkeypatch.setattr(wallet, "broadcast", refuse)
    engine.tick(2)
    since = engine.payment_of(row_id).sent_at
    engine.tick(2)
    row = engine.payment_of(row_id)
    assert (row.state, row.candidates) == ("broadcast", 1)
    assert since is not None
    assert row.sent_at == since
    long_ago = update(payment).where(payment.c.id == row.id).values(sent_at=since - payment_send.INVALID_US)
    engine.database.run(lambda tx: tx.execute(long_ago), "t")
    engine.tick()
    assert engine.payment_of(row_id).candidates == 2
