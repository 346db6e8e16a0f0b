"""Two databases on one wallet: the second is refused; one that takes over stops the first (FAULTS C8)."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import update

from jobs import bootstrap, halting
from ledger import halts
from ledger.db import Database
from ledger.errors import OtherInstallation
from ledger.ids import new_id
from ledger.schema import chain, installation
from tests import databases
from tests.flows.engine import Engine
from wallets.fake import FakeWallet


@pytest.fixture
def second(tmp_path: Path, server_folder: Path) -> Database:
    """Another installation's database, which has never seen a wallet."""
    folder = tmp_path / "second"
    folder.mkdir()
    database = Database(databases.sqlite_url(folder, server_folder / "template.sqlite3"))
    database.run(lambda tx: tx.execute(update(installation).values(public_id=new_id("in"))), "t")
    return database


def test_a_second_database_on_the_same_wallet_is_refused_and_binds_nothing(engine: Engine, second: Database) -> None:
    with pytest.raises(OtherInstallation, match="belongs to installation in_"):
        Engine(engine.folder / "second", second, chain=engine.chain)
    assert second.read(lambda tx: tx.all(chain.select().where(chain.c.genesis_hash.is_not(None)))) == []
    account = engine.funded(1_000_000)
    row_id = engine.withdraw(account, 100_000)
    engine.tick()
    engine.chain.mine(3)
    engine.tick()
    assert engine.state(row_id) == "completed"


def test_the_same_database_opens_its_wallet_again(engine: Engine) -> None:
    wallet = FakeWallet(engine.chain)
    bootstrap.adopt(engine.services, wallet)
    assert wallet.marked() == engine.rows(installation)[0].public_id


def test_an_installation_that_takes_over_stops_the_one_before(engine: Engine, second: Database) -> None:
    account = engine.funded(1_000_000)
    FakeWallet(engine.chain).mark(second.read(lambda tx: tx.one(installation.select())).public_id)
    Engine(engine.folder / "second", second, chain=engine.chain)
    engine.tick()
    assert "other_installation" in str(engine.database.read(lambda tx: halts.reason(tx, "bitcoin")))
    assert ("other_installation", "halt:bitcoin") in engine.alarms()
    FakeWallet(engine.chain).mark(engine.rows(installation)[0].public_id)
    engine.database.run(lambda tx: halting.lift(tx, "bitcoin", "other_installation", "operator:ann"), "t")
    row_id = engine.withdraw(account, 100_000)
    engine.tick(2)
    assert engine.state(row_id) == "broadcast"
