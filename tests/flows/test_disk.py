"""A disk that is full or read only stops work, and is nobody's fault but its own (FAULTS C4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import exc

from jobs.runtime import CRASHES_MAX
from ledger.db import Tx
from ledger.errors import DatabaseUnavailable
from ledger.schema import payment
from tests.flows.engine import Engine


@pytest.mark.parametrize("failing", ["finish", "failed"], ids=["outcome", "node-failure"])
def test_claims_whose_outcome_cannot_be_written_are_no_crashes(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    """A disk that takes the update of a claim and not the insert of its outcome must set no payment aside."""
    row_id = engine.withdraw(engine.funded(1_000_000), 100_000)
    engine.run_task("batch")
    paid, real = engine.payment_of(row_id), engine.database.run

    def full(unit: Callable[[Tx], Any], name: str) -> Any:
        if name.startswith("payment.") and name.endswith(f".{failing}"):
            raise DatabaseUnavailable(f"{name}: the disk is full")
        return real(unit, name)

    def away(*_: Any) -> None:
        raise exc.SQLAlchemyError("anything that a step may raise")

    with monkeypatch.context() as patch:
        patch.setattr(engine.database, "run", full)
        if failing == "failed":
            patch.setattr(engine.services.wallet("bitcoin"), "propose", away)
        for _ in range(CRASHES_MAX + 3):
            engine._make_due("payment")
            engine.runtime.advance("payment", paid.id)
            row = engine.row(payment, paid.id)
            assert (row.crashes, row.lease_until) == (0, 0)
    assert engine.row(payment, paid.id).state == "building"
    engine.tick()
    assert engine.state(row_id) == "broadcast"
    engine.check_invariants()
