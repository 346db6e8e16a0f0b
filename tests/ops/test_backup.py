"""`coffer backup` and `coffer restore` on an installation: what is copied, what is refused, what waits afterwards."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select

from devstack.mariadb import MariaDB
from jobs.backup import copying
from jobs.signer.record import FILE, Record
from ledger.db import Database
from ledger.schema import halt, hedge, index_counter, metadata, pause, ready_address, restoration
from tests.ops.installation import Installation
from wallets.fake.addresses import derive

Installer = Callable[..., Installation]
#: What a restore writes into a database besides what was in it.
TOUCHED = {"restoration", "halt", "pause", "alarm", "event", "audit", "audit_head", "index_counter", "ready_address"}


@pytest.fixture
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """A database of a dialect in which nothing is."""
    made: list[MariaDB] = []

    def make(dialect: str) -> str:
        if dialect == "sqlite":
            return f"sqlite:///{tmp_path / 'restored.sqlite3'}"
        server: MariaDB = request.getfixturevalue("mariadb_server")
        made.append(server)
        server.drop_database("coffer_restored")
        return server.create_database("coffer_restored")

    yield make
    for server in made:
        server.drop_database("coffer_restored")


@pytest.fixture
def shop(install: Installer) -> Installation:
    """With some history, on SQLite."""
    return with_history(install())


def with_history(installation: Installation) -> Installation:
    engine = installation.engine
    customer = engine.funded(5_000_000)
    engine.withdraw(customer, 100_000)
    engine.tick()
    installation.chain.mine(6)
    engine.tick(2)
    return installation


def rows_of(database: Database) -> dict[str, list[str]]:
    """All there is, by table."""
    tables = metadata.sorted_tables
    return {
        table.name: sorted(repr(tuple(row)) for row in database.read(lambda tx, t=table: tx.all(select(t))))  # type: ignore[misc]
        for table in tables
    }


def lose_wallet(installation: Installation) -> None:
    with installation.chain.state(write=True) as s:
        s.wallets.clear()


@pytest.mark.parametrize("dialect", ["sqlite", "mariadb"])
def test_a_restored_database_is_the_one_that_was_backed_up(
    install: Installer, empty_url: Callable[[str], str], tmp_path: Path, dialect: str
) -> None:
    shop = with_history(install(dialect=dialect))
    before = rows_of(shop.database)
    made = json.loads(shop.said("backup", str(tmp_path / "backup"), "--json"))
    lose_wallet(shop)
    shop.variables["COFFER_DATABASE_URL"] = empty_url(dialect)
    said = shop.said("restore", str(tmp_path / "backup"), "--as", "me")
    restored = Database(shop.variables["COFFER_DATABASE_URL"])
    after = rows_of(restored)
    assert {name for name in before if before[name] != after[name]} <= TOUCHED
    assert f"{made['backup_id']} of" in said
    assert "bitcoin wallet: put back" in said
    assert "ends with the backup" in said
    row = restored.read(lambda tx: tx.one(select(restoration)))
    assert (row.backup_id, row.actor) == (made["backup_id"], "operator:me")
    restored.close()


def test_what_is_restored_is_in_quarantine_from_its_first_moment(
    shop: Installation, empty_url: Callable[[str], str], tmp_path: Path
) -> None:
    made = json.loads(shop.said("backup", str(tmp_path / "backup"), "--json"))
    shop.variables["COFFER_DATABASE_URL"] = empty_url("sqlite")
    shop.said("restore", str(tmp_path / "backup"), "--skip-indices", "50")
    restored = Database(shop.variables["COFFER_DATABASE_URL"])
    halted = restored.read(lambda tx: tx.all(select(halt.c.chain, halt.c.cause)))
    assert {tuple(row) for row in halted} == {("bitcoin", "restored")}, "the others never had a wallet"
    paused = restored.read(lambda tx: tx.all(select(pause.c.asset, pause.c.flow)))
    assert {tuple(row) for row in paused} == {("*", "transfers"), ("*", "escrows"), ("*", "swaps")}
    first = made["marks"]["chains"]["bitcoin"]["next_index"]
    index = select(index_counter.c.next_index).where(index_counter.c.chain == "bitcoin")
    assert restored.read(lambda tx: tx.value(index)) == first + 50
    aside = restored.read(lambda tx: tx.all(select(ready_address).where(ready_address.c.chain == "bitcoin")))
    assert [(row.idx, row.address) for row in aside] == [
        (number, derive(f"fakepub:coffer/{number}")) for number in range(first, first + 50)
    ]
    restored.close()


def test_an_order_on_an_exchange_that_may_have_been_placed_since_is_only_looked_up(
    shop: Installation, empty_url: Callable[[str], str], tmp_path: Path
) -> None:
    values = {
        "public_id": "hg_1",
        "queue": "rates",
        "venue": "kraken",
        "symbol": "BTC/USD",
        "side": "buy",
        "asset": "BTC",
    }
    values |= {"client_order_id": "one", "state": "planned"}
    clock = {"due_at": 1, "created_at": 1, "updated_at": 1}
    shop.database.run(lambda tx: tx.execute(insert(hedge).values(values | clock | {"units": 5})), "test_hedge")
    shop.said("backup", str(tmp_path / "backup"))
    shop.variables["COFFER_DATABASE_URL"] = empty_url("sqlite")
    shop.said("restore", str(tmp_path / "backup"))
    restored = Database(shop.variables["COFFER_DATABASE_URL"])
    assert restored.read(lambda tx: tx.value(select(hedge.c.placed_at))) is not None
    restored.close()


def test_a_backup_says_what_is_in_it_and_can_be_checked_later(shop: Installation, tmp_path: Path) -> None:
    shop.said("backup", str(tmp_path / "backup"))
    said = shop.said("backup", str(tmp_path / "backup"), "--check")
    files = {path.relative_to(tmp_path / "backup").as_posix() for path in (tmp_path / "backup").rglob("*.*")}
    assert files == {"database.sqlite3", "manifest.json", f"signer/{FILE}"}
    assert all(name in said for name in ("database.sqlite3", "wallets/bitcoin/wallet", f"signer/{FILE}"))
    assert (tmp_path / "backup").stat().st_mode & 0o77 == 0
    readable = [path for path in (tmp_path / "backup").rglob("*") if path.is_file() and path.stat().st_mode & 0o77]
    assert readable == []


def test_a_folder_that_holds_something_gets_no_backup(shop: Installation, tmp_path: Path) -> None:
    shop.said("backup", str(tmp_path / "backup"))
    assert "is not empty" in shop.refused("backup", str(tmp_path / "backup"))


def test_a_backup_that_is_not_whole_is_refused(shop: Installation, tmp_path: Path) -> None:
    shop.said("backup", str(tmp_path / "backup"))

    def refused(spoil: Callable[[Path], object]) -> str:
        shutil.rmtree(tmp_path / "spoilt", ignore_errors=True)
        shutil.copytree(tmp_path / "backup", tmp_path / "spoilt")
        spoil(tmp_path / "spoilt")
        return shop.refused("restore", str(tmp_path / "spoilt"))

    def changed(folder: Path) -> None:
        with (folder / "database.sqlite3").open("r+b") as file:
            file.seek(5_000)
            file.write(b"x")

    def another_time(folder: Path) -> None:
        text = (folder / "manifest.json").read_text()
        (folder / "manifest.json").write_text(text.replace('"next_index": 2', '"next_index": 1'))

    assert "its hash is another" in refused(changed)
    assert "is missing" in refused(lambda folder: (folder / "wallets" / "bitcoin" / "wallet").unlink())
    assert "does not belong" in refused(lambda folder: (folder / "wallets" / "more").write_text("x"))
    assert "holds no whole backup" in refused(lambda folder: (folder / "manifest.json").unlink())
    assert "was changed, or made under another" in refused(another_time)
    shop.variables["COFFER_ROW_MAC_KEY"] = "ab" * 32
    assert "was changed, or made under another" in refused(lambda folder: None)


def test_nothing_is_put_over_what_is_there(shop: Installation, tmp_path: Path) -> None:
    shop.said("backup", str(tmp_path / "backup"))
    before = rows_of(shop.database)
    assert "exists: a backup goes only where no database is" in shop.refused("restore", str(tmp_path / "backup"))
    assert rows_of(shop.database) == before


def test_a_log_that_an_old_database_left_behind_is_not_read_into_the_new_one(
    shop: Installation, empty_url: Callable[[str], str], tmp_path: Path
) -> None:
    shop.said("backup", str(tmp_path / "backup"))
    shop.variables["COFFER_DATABASE_URL"] = empty_url("sqlite")
    (tmp_path / "restored.sqlite3-wal").write_bytes(b"left behind")
    assert "restored.sqlite3-wal exists" in shop.refused("restore", str(tmp_path / "backup"))


def test_a_signers_record_that_is_older_than_the_backup_is_refused(
    shop: Installation, empty_url: Callable[[str], str], tmp_path: Path
) -> None:
    """Restored from another backup, or rolled back by somebody who would like to be paid again."""
    older = tmp_path / "older"
    shop.said("backup", str(older))
    shop.engine.withdraw(shop.engine.funded(1_000_000), 200_000)
    shop.engine.tick()
    shop.said("backup", str(tmp_path / "backup"))
    record = tmp_path / "signer" / FILE
    for lying in record.parent.glob(f"{FILE}*"):
        lying.unlink()
    shutil.copy(older / "signer" / FILE, record)
    shop.variables["COFFER_DATABASE_URL"] = empty_url("sqlite")
    assert "it is older, or another" in shop.refused("restore", str(tmp_path / "backup"))
    assert not (tmp_path / "restored.sqlite3").exists()


def test_a_restore_that_was_cut_off_is_run_again(
    shop: Installation, empty_url: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jobs.backup import restore

    shop.said("backup", str(tmp_path / "backup"))
    lose_wallet(shop)
    shutil.rmtree(tmp_path / "signer")
    shop.variables["COFFER_DATABASE_URL"] = empty_url("sqlite")
    for place in ("restore.records", "restore.wallet"):
        with monkeypatch.context() as patch:
            patch.setattr(restore, "crashpoint", lambda name, at=place: 1 / 0 if name == at else None)
            assert shop.coffer("restore", str(tmp_path / "backup")).exit_code != 0
        assert not (tmp_path / "restored.sqlite3").exists()
    assert "ends with the backup" in shop.said("restore", str(tmp_path / "backup"))


def test_a_record_in_which_there_is_nothing_yet_is_in_nobodys_way(
    shop: Installation, empty_url: Callable[[str], str], tmp_path: Path
) -> None:
    """What a start, or a restore, that was cut off leaves: a file without its tables."""
    shop.said("backup", str(tmp_path / "backup"))
    lose_wallet(shop)
    shutil.rmtree(tmp_path / "signer")
    (tmp_path / "signer").mkdir(mode=0o700)
    (tmp_path / "signer" / FILE).touch()
    shop.variables["COFFER_DATABASE_URL"] = empty_url("sqlite")
    assert "ends with the backup" in shop.said("restore", str(tmp_path / "backup"))
    assert Record.open(tmp_path / "signer").head() == Record.open(tmp_path / "backup" / "signer").head()


def test_a_copy_is_its_owners_alone_from_its_first_moment(
    shop: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect, modes = sqlite3.connect, dict[str, int]()

    def watched(file: object, **more: Any) -> sqlite3.Connection:
        if not more:
            modes[Path(str(file)).name] = Path(str(file)).stat().st_mode & 0o777
        return connect(str(file), **more)

    monkeypatch.setattr(copying.sqlite3, "connect", watched)
    copying.copy_sqlite(tmp_path / "signer" / FILE, tmp_path / "copy")
    assert modes == {"copy": 0o600}
    with pytest.raises(FileExistsError):
        copying.copy_sqlite(tmp_path / "signer" / FILE, tmp_path / "copy")
