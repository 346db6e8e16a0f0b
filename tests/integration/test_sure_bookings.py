"""An operator's booking whose first COMMIT comes through while it is made again: it is booked once, and not refused.

SQLite has one writer: there, what the first run wrote is shown to the second within its own transaction.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import func, select

from jobs.resolve import accounts as resolve_accounts
from jobs.swap import inventory
from ledger import accounts, balances, postings
from ledger.db import Database, Tx
from ledger.postings import Leg
from ledger.schema import audit, transfer

CAPITAL = 10**8


@pytest.fixture(autouse=True)
def _capital(database: Database) -> None:
    legs = [Leg(accounts.house("treasury_hot"), accounts.house("capital"), CAPITAL)]
    database.run(lambda tx: postings.post(tx, "t", "deposit", "BTC", legs, ("test", 0)), "t")
    for act in (inventory.fund, inventory.withdraw):  # the ledger's accounts are there from now on
        database.run(lambda tx, act=act: act(tx, "BTC", 1, "ann"), "t")  # type: ignore[misc]


def overtaken(
    database: Database, patch: pytest.MonkeyPatch, module: Any, name: str, unit: Callable[[Tx], Any], key: str
) -> int:
    """Run the unit, and have it run and commit before this reading in it; how often it was booked, and written down."""
    acts = database.read(lambda tx: tx.value(select(func.count()).select_from(audit)))
    real = getattr(module, name)

    def read(tx: Tx, *args: Any, **more: Any) -> Any:
        patch.undo()
        if database.engine.dialect.name == "sqlite":
            unit(tx)
        else:
            database.run(unit, "first")
        return real(tx, *args, **more)

    patch.setattr(module, name, read)
    database.run(unit, "second")

    def counted(tx: Tx) -> int:
        booked = tx.value(select(func.count()).select_from(transfer).where(transfer.c.transfer_key == key))
        assert tx.value(select(func.count()).select_from(audit)) == acts + booked
        return int(booked)

    return database.read(counted)


@pytest.mark.parametrize("units", [CAPITAL, CAPITAL // 4])
def test_all_capital_is_set_aside_once(database: Database, monkeypatch: pytest.MonkeyPatch, units: int) -> None:
    key = inventory.new_key()
    fund = lambda tx: inventory.fund(tx, "BTC", units, "ann", key)  # noqa: E731
    assert overtaken(database, monkeypatch, accounts, "lock_balances", fund, key) == 1
    assert database.read(lambda tx: balances.of_house(tx, "BTC")["inventory"]) == units


@pytest.mark.parametrize("units", [CAPITAL, CAPITAL // 4])
def test_all_inventory_is_taken_back_once(database: Database, monkeypatch: pytest.MonkeyPatch, units: int) -> None:
    database.run(lambda tx: inventory.fund(tx, "BTC", CAPITAL, "ann"), "t")
    key = inventory.new_key()
    back = lambda tx: inventory.withdraw(tx, "BTC", units, "ann", key)  # noqa: E731
    assert overtaken(database, monkeypatch, accounts, "lock_balances", back, key) == 1
    assert database.read(lambda tx: balances.of_house(tx, "BTC")["inventory"]) == CAPITAL - units


@pytest.mark.parametrize("units", [CAPITAL, CAPITAL // 4])
def test_a_loss_of_all_that_there_is_is_booked_once(
    database: Database, monkeypatch: pytest.MonkeyPatch, units: int
) -> None:
    key = resolve_accounts.loss_key()
    lose = lambda tx: resolve_accounts.book_loss(tx, "BTC", units, "t", "ann", key)  # noqa: E731
    assert overtaken(database, monkeypatch, balances, "of_house", lose, key) == 1
    assert database.read(lambda tx: balances.of_house(tx, "BTC")["reorg_loss"]) == -units
