"""Withdrawals to addresses of our own that no customer was ever given: change, which anyone can see on chain."""

from __future__ import annotations

import json

from sqlalchemy import select

from ledger.schema import candidate
from tests.flows.engine import Engine


def test_a_withdrawal_to_our_own_change_is_given_back_and_the_books_still_agree(engine: Engine) -> None:
    """Paid, it would leave coins on chain that no book explains, and any customer could stop all withdrawals so."""
    account = engine.funded(1_000_000)
    first = engine.withdraw(account, 100_000)
    engine.tick()
    payload = engine.database.read(lambda tx: tx.value(select(candidate.c.payload)))
    change = json.loads(payload)["outputs"][-1][0]
    own, honest = engine.withdraw(account, 50_000, change), engine.withdraw(account, 60_000)
    engine.tick(2)
    engine.chain.mine(3)
    engine.tick(2)
    assert [engine.state(row_id) for row_id in (first, own, honest)] == ["completed", "failed", "completed"]
    assert engine.available(account) == 1_000_000 - 102_000 - 62_000
    engine.check_invariants()
