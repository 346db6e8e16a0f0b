"""Reorganisations that come in the middle of a decision."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from jobs.deposit import saga as deposit
from jobs.services import require_healthy
from ledger.db import Tx
from ledger.schema import task, transfer
from tests.flows.engine import Engine


def test_a_deposit_that_leaves_its_block_while_it_is_judged_is_not_credited(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its old height and the new tip would make it deep enough."""
    account = engine.account()
    txid = engine.chain.fund(engine.address(account).address, 50_000_000, blocks=2)  # needs three
    engine.tick()
    assert engine.deposit_of(account).state == "confirming"
    scan = engine.database.read(lambda tx: tx.value(select(task.c.id).where(task.c.name == "scan:bitcoin")))
    turns = iter([True])

    def after_a_reorganisation(tx: Tx, chain: str) -> Any:
        if next(turns, False):
            engine.chain.reorg(2, gone=[txid])
            assert engine.runtime.advance("task", scan, woken=True) == 1
        return require_healthy(tx, chain)

    monkeypatch.setattr(deposit, "require_healthy", after_a_reorganisation)
    engine.tick(2)
    assert next(turns, None) is None
    assert engine.deposit_of(account).state == "reversed"
    assert [row.kind for row in engine.rows(transfer)] == []
    engine.check_invariants()
