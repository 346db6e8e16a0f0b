"""Bumps, and the payments that spend each other's change."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Row, select, update

from jobs import runtime
from jobs.payment import bump as payment_bump
from jobs.payment import send as payment_send
from jobs.resolve import payments as resolve_payments
from ledger.errors import NodeProtocolError, ResourceTaken, TransactionRefused
from ledger.schema import alarm, halt, payment, resource, task
from ledger.schema import withdrawal as withdrawals
from tests.clock import Clock
from tests.flows.engine import Engine
from tests.flows.ethereum_engine import EthereumEngine
from wallets.fake.model import Tx as FakeTx
from wallets.protocol import Output, SignedTransaction


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


def without_change(engine: Engine) -> Row[Any]:
    """A payment of all that the wallet has: no change could bear a higher fee."""
    engine.set_policy(withdrawal_fee_units=800, payment_bump_after_seconds=60)
    row_id = engine.withdraw(engine.funded(1_000_000), 999_200)
    engine.tick()
    made = engine.payment_of(row_id)
    assert (made.state, made.fee_units) == ("confirming", made.fee_max_units)
    return made


def wait(clock: Clock, engine: Engine, seconds: int) -> None:
    clock.forward(seconds=seconds)
    engine.run_task("scan")  # nothing is judged by a chain that was not read lately
    engine.tick()


def fee_alarms(engine: Engine) -> set[tuple[str, str]]:
    return {found for found in engine.alarms() if found[0] in ("fee_too_low", "bump_failed")}


@pytest.mark.parametrize("step", ["reprice", "sign"])
def test_a_payment_that_the_node_does_not_bump_is_watched_and_settles(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def refuse(*_: Any) -> Any:
        raise NodeProtocolError("the proposal does something else than the payment says")

    row_id = engine.withdraw(engine.funded(1_000_000), 100_000)
    engine.tick()
    waiting = engine.payment_of(row_id).id
    order_bump(engine, waiting)
    monkeypatch.setattr(engine.services.wallets["bitcoin"], step, refuse)
    engine.tick()
    assert engine.payment_of(row_id).state == "confirming"
    assert fee_alarms(engine) == {("bump_failed", f"payment:{waiting}")}
    engine.chain.mine(2)
    engine.tick()
    assert engine.state(row_id) == "completed"
    assert not fee_alarms(engine)
    engine.check_invariants()


def test_a_payment_whose_bump_always_fails_settles_once_it_is_in_a_block(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise RuntimeError("a fault of ours")

    row_id = engine.withdraw(engine.funded(1_000_000), 100_000)
    engine.tick()
    order_bump(engine, engine.payment_of(row_id).id)
    monkeypatch.setattr(engine.services.wallets["bitcoin"], "reprice", fail)
    engine.tick(2)
    assert engine.payment_of(row_id).state == "bumping"
    engine.chain.mine(2)
    engine.tick()
    assert (engine.state(row_id), engine.payment_of(row_id).candidates) == ("completed", 1)
    engine.check_invariants()


def test_a_block_wakes_a_payment_that_is_being_bumped(engine: Engine) -> None:
    row_id = engine.withdraw(engine.funded(1_000_000), 100_000)
    engine.tick()
    later = engine.database.now() + 3_600_000_000
    bumping = update(payment).where(payment.c.id == engine.payment_of(row_id).id).values(state="bumping", due_at=later)
    engine.database.run(lambda tx: tx.execute(bumping), "t")
    engine.chain.mine(1)
    engine.run_task("scan")
    assert engine.payment_of(row_id).due_at < later


def test_a_bump_that_was_signed_and_not_stored_halts_nothing_when_the_original_is_mined(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signer's record knows of a candidate then that no row does: it was made here, and was never sent."""

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("the worker fails before its commit")

    row_id = engine.withdraw(engine.funded(1_000_000), 100_000)
    engine.tick()
    first = engine.payment_of(row_id)
    order_bump(engine, first.id)
    monkeypatch.setattr(payment_bump, "_store_bump", fail)
    engine.tick()
    assert engine.payment_of(row_id).state == "bumping"
    monkeypatch.undo()
    engine.chain.mine(2)
    engine.tick()
    second = engine.withdraw(engine.row(withdrawals, row_id).account_id, 50_000)
    engine.tick()
    assert (engine.state(row_id), engine.row(withdrawals, row_id).txid) == ("completed", first.txid)
    assert engine.state(second) == "broadcast"
    assert not engine.rows(halt)
    engine.check_invariants()


def test_a_payment_that_waits_long_and_cannot_be_bumped_is_told(clock: Clock, engine: Engine) -> None:
    waiting = without_change(engine)
    engine.chain.set_rate(50_000)
    for _ in range(2):
        wait(clock, engine, 61)
        assert engine.row(payment, waiting.id).status_reason == "fee_ceiling"
        assert not fee_alarms(engine)
    wait(clock, engine, 61)
    assert engine.row(payment, waiting.id).state == "confirming"
    assert fee_alarms(engine) == {("fee_too_low", f"payment:{waiting.id}")}
    engine.chain.mine(1)
    engine.tick()
    assert engine.row(payment, waiting.id).state == "confirming"
    assert not fee_alarms(engine)
    engine.check_invariants()


def test_a_payment_that_offers_the_highest_rate_already_is_told_of(clock: Clock, engine: Engine) -> None:
    engine.set_policy(payment_rate_max=5_000, payment_bump_after_seconds=60)
    row_id = engine.withdraw(engine.funded(1_000_000), 100_000)
    engine.tick()
    waiting = engine.payment_of(row_id)
    assert waiting.rate == waiting.rate_max
    engine.chain.set_rate(50_000)
    wait(clock, engine, 61)
    assert not fee_alarms(engine)
    wait(clock, engine, 181)
    assert engine.payment_of(row_id).candidates == 1
    assert fee_alarms(engine) == {("fee_too_low", f"payment:{waiting.id}")}
    engine.chain.mine(2)
    engine.tick()
    assert engine.state(row_id) == "completed"
    assert not fee_alarms(engine)


def test_what_was_told_of_its_fee_is_over_once_it_is_bumped(
    clock: Clock, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def taken(*_: Any) -> Any:
        raise ResourceTaken("the change already serves another payment")

    def broken(*_: Any) -> Any:
        raise NodeProtocolError("an answer of another shape")

    engine.set_policy(payment_bump_after_seconds=60)
    row_id = engine.withdraw(engine.funded(1_000_000), 100_000)
    engine.tick()
    waiting = engine.payment_of(row_id).id
    for failure in (taken, broken):
        with monkeypatch.context() as patch:
            patch.setattr(engine.services.wallets["bitcoin"], "reprice", failure)
            wait(clock, engine, 200)
    told = {("fee_too_low", f"payment:{waiting}"), ("bump_failed", f"payment:{waiting}")}
    assert fee_alarms(engine) == told
    wait(clock, engine, 200)
    assert engine.payment_of(row_id).candidates == 2
    assert not fee_alarms(engine)


def test_what_was_told_of_its_fee_is_over_once_a_person_must_look(clock: Clock, engine: Engine) -> None:
    waiting = without_change(engine)
    engine.chain.set_rate(50_000)
    wait(clock, engine, 200)
    assert fee_alarms(engine)
    ours = engine.chain.transaction(waiting.txid)
    engine.chain.mine_instead(FakeTx(ours.inputs, (Output(engine.chain.outside_address(), 50_000),), 500))
    engine.chain.mine(6)
    engine.tick(3)
    assert engine.row(payment, waiting.id).state == "review"
    assert not fee_alarms(engine)


def test_a_batched_sweep_settles_though_another_sweeper_was_named_before_its_bump(ethereum: EthereumEngine) -> None:
    ethereum.stock()
    another = ethereum.make_wallet(ethereum.deployed("Sweeper", ethereum.outside()))
    ethereum.services.wallets = {"ethereum": ethereum.make_wallet(ethereum.deployed("Sweeper", ethereum.hot))}
    ethereum.funded(50 * 10**6, ethereum.add_token("GOOD", sweep_batched=1))
    sweep = ethereum.payments("sweep")[0]
    assert (sweep.state, sweep.batched) == ("confirming", 1)
    order_bump(ethereum, sweep.id)
    ethereum.services.wallets = {"ethereum": another}
    ethereum.runtime.advance("payment", sweep.id)
    assert fee_alarms(ethereum) == {("bump_failed", f"payment:{sweep.id}")}
    ethereum.mine(3)
    assert ethereum.row(payment, sweep.id).state == "settled"
    assert not fee_alarms(ethereum)
    ethereum.agree()
