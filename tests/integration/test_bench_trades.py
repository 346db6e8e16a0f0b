"""The bench of trades does what it says: each turn is a real swap, or a real release."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Table, func, select

from bench import trades
from ledger import balances
from ledger.schema import escrow, swap


@pytest.mark.parametrize(
    ("plan", "table", "state"),
    [("swaps between balances", swap, "completed"), ("escrow releases", escrow, "released")],
)
def test_each_turn_is_one(plan: str, table: Table, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trades, "READY", {"swap": 5, "escrow": 100})
    market = trades.prepared(f"sqlite:///{tmp_path}/bench.sqlite3")
    client, prepare = trades.PLANS[plan]
    prepare(market)
    for _ in range(3):
        client(market).act()
    done = select(func.count()).select_from(table).where(table.c.state == state)
    assert market.database.read(lambda tx: tx.value(done)) == 3
    assert market.database.read(balances.faults) == []
    market.database.close()
