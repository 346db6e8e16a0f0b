"""Withdrawals from request to settlement on the model chain, on both databases."""

from __future__ import annotations

from jobs import tokens
from tests.flows.engine import Engine


def test_a_withdrawal_is_paid_once_and_settled(engine: Engine) -> None:
    account = engine.funded(1_000_000)
    payee = engine.chain.outside_address()
    row_id = engine.withdraw(account, 400_000, payee)
    assert (engine.available(account), engine.balance(account, "held")) == (598_000, 402_000)
    engine.tick()
    assert engine.state(row_id) == "broadcast"
    assert engine.chain.received(payee) == 400_000
    engine.check_invariants()
    engine.chain.mine(1)
    engine.tick()
    assert engine.state(row_id) == "confirming"
    engine.chain.mine(3)
    engine.tick()
    assert engine.state(row_id) == "completed"
    assert (engine.available(account), engine.balance(account, "held")) == (598_000, 0)
    assert engine.house("service_fees") == 2_000
    assert engine.house("in_flight") == 0
    assert engine.chain.received(payee) == 400_000
    engine.check_invariants()
    engine.chain.mine(100)
    engine.tick()
    assert engine.payment_of(row_id).state == "final"
    assert engine.deposit_of(account).state == "final"
    engine.check_invariants()


def test_a_task_that_has_run_rests_for_its_interval(engine: Engine) -> None:
    served = [row for row in engine.rows(engine.runtime.sagas["task"].table) if row.queue in ("bitcoin", "tasks")]
    for row in served:
        assert engine.runtime.advance("task", row.id, woken=True) == 1, row.name
        after = engine.row(engine.runtime.sagas["task"].table, row.id)
        assert after.due_at >= after.updated_at + row.interval_us, row.name


def test_what_was_queued_leaves_also_when_its_asset_is_disabled_since(engine: Engine) -> None:
    withdrawal_id = engine.withdraw(engine.funded(1_000_000), 100_000)
    engine.database.run(lambda tx: tokens.set_enabled(tx, "BTC", False, "test"), "test")
    engine.tick()
    engine.chain.mine(6)
    engine.tick()
    assert engine.state(withdrawal_id) == "completed"
