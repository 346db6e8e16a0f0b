"""What the scanner must not be held up by, whatever outsiders send."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from jobs.deposit import scan
from ledger import pauses
from ledger.schema import deposit, task
from tests.flows.engine import Engine
from wallets.protocol import Output


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that takes few new deposits, so that tests need not send many."""
    monkeypatch.setattr(scan, "NEW_MAX", 3)


@pytest.mark.usefixtures("few")
def test_payments_that_were_replaced_before_they_were_seen_hold_up_nobody(engine: Engine) -> None:
    spoiler, honest = engine.account(), engine.account()
    flood = engine.chain.pay(*(Output(engine.address(spoiler).address, 5_000) for _ in range(8)))
    engine.chain.replace(flood)
    engine.chain.fund(engine.address(honest).address, 500_000, blocks=6)
    engine.tick()
    assert engine.available(honest) == 500_000
    assert [row.units for row in engine.rows(deposit)] == [500_000]
    engine.check_invariants()


@pytest.mark.usefixtures("few")
def test_a_scan_rests_when_all_it_is_told_of_is_known(engine: Engine) -> None:
    account = engine.account()
    engine.chain.pay(*(Output(engine.address(account).address, 5_000) for _ in range(8)))
    engine.chain.mine(100)  # final, and still in what the node lists since the cursor
    engine.tick(2)
    assert {row.state for row in engine.rows(deposit)} == {"final"}
    row = engine.database.read(lambda tx: tx.one(select(task).where(task.c.name == "scan:bitcoin")))
    assert engine.runtime.advance("task", row.id, woken=True) == 1
    after = engine.row(task, row.id)
    assert after.due_at >= after.updated_at + row.interval_us


def test_an_output_of_nothing_is_no_deposit_and_stops_nothing(engine: Engine) -> None:
    account = engine.account()
    engine.chain.fund(engine.address(account).address, 0, blocks=6)
    engine.tick(2)
    assert engine.rows(deposit) == []
    assert engine.database.read(lambda tx: pauses.reason(tx, "BTC", "withdrawals")) is None
    engine.check_invariants()
