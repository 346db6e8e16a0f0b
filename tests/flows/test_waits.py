"""A withdrawal that must wait for the hot wallet tells why, and about how long."""

from __future__ import annotations

from typing import Any

import pytest

from jobs import views
from ledger.errors import FundsLocked
from ledger.schema import withdrawal
from tests.flows.engine import Engine


def test_the_wait_for_locked_money_is_told(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    account = engine.funded(1_000_000)
    withdrawal_id = engine.withdraw(account, 100_000)
    wallet: Any = engine.services.wallet("bitcoin")

    def locked(*_: Any, **__: Any) -> Any:
        raise FundsLocked("enough is there", 7)

    with monkeypatch.context() as patch:
        patch.setattr(wallet, "propose", locked)
        engine.tick()
    row = engine.row(withdrawal, withdrawal_id)
    assert (row.state, row.status_reason, row.payment_id) == ("queued", "hot_funds_locked", None)
    shown = engine.database.read(lambda tx: views.withdrawal(tx, withdrawal_id))
    assert "about 7 more blocks" in shown["status_detail"]
    engine.tick(3)
    engine.chain.mine(6)
    engine.tick()
    assert engine.state(withdrawal_id) == "completed"
