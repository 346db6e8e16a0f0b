"""What someone with write access to the database could change to make money leave: nothing of it is signed."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import insert, select

from ledger import pauses
from ledger.schema import payment, payment_item
from ledger.schema import withdrawal as withdrawals
from tests.flows.engine import Engine


def joined(engine: Engine, row_id: int) -> int:
    """Let a withdrawal join a payment of which nothing is decided yet; the payment's id."""
    engine.runtime.advance("task", task_id(engine, "batch:bitcoin"), woken=True)
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
