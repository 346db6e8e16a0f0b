"""Schema versions, the founding rows, and what a process refuses to start on."""

from __future__ import annotations

import json
import multiprocessing
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import event, func, inspect, select, text

import migrations
from devstack.mariadb import MariaDB
from jobs import bootstrap
from ledger import audit, founding
from ledger.db import Database, check_safe
from ledger.errors import SchemaMismatch, UnsafeDatabase
from ledger.schema import account, asset, audit_head, chain, index_counter, installation, metadata, project, task
from settings import Settings
from tests import databases

MakeUrl = Callable[[], str]


@pytest.fixture(params=databases.DIALECTS)
def make_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MakeUrl]:
    """Makes empty databases of one kind."""
    made: list[str] = []

    def make() -> str:
        name = f"empty_{secrets.token_hex(4)}"
        if request.param == "sqlite":
            return f"sqlite:///{tmp_path}/{name}.sqlite3"
        made.append(name)
        return str(request.getfixturevalue("mariadb_server").create_database(name))

    yield make
    for name in made:
        request.getfixturevalue("mariadb_server").drop_database(name)


def settings_of(url: str, **changes: Any) -> Settings:
    return Settings(**({"mode": "test", "database_url": url} | changes))


def test_upgrading_twice_changes_nothing(make_url: MakeUrl) -> None:
    database = Database(make_url())
    assert migrations.current(database) is None
    migrations.upgrade(database)
    before = shape(database)
    migrations.upgrade(database)
    assert migrations.current(database) == migrations.head()
    assert shape(database) == before
    migrations.check(database)
    database.close()


def test_migrations_make_what_the_tables_say(make_url: MakeUrl) -> None:
    """Column for column, key for key, check for check: on both databases."""
    migrated, declared = Database(make_url()), Database(make_url())
    migrations.upgrade(migrated)
    metadata.create_all(declared.engine)
    with migrated.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    ours, theirs = shape(migrated), shape(declared)
    ours.pop("alembic_version")
    assert ours.keys() == theirs.keys()
    for table in theirs:
        assert ours[table] == theirs[table], table
    migrated.close()
    declared.close()


def shape(database: Database) -> dict[str, Any]:
    """All that the database itself says of its tables."""
    found = inspect(database.engine)
    shapes = {}
    for table in found.get_table_names():
        columns = {c["name"]: (repr(c["type"]), c["nullable"], c["default"]) for c in found.get_columns(table)}
        parts = [found.get_indexes(table), found.get_unique_constraints(table), found.get_foreign_keys(table)]
        parts.append(found.get_check_constraints(table))
        sorted_parts = [sorted(json.dumps(item, sort_keys=True, default=str) for item in part) for part in parts]
        shapes[table] = (columns, found.get_pk_constraint(table)["constrained_columns"], sorted_parts)
    return shapes


def test_founding_again_changes_nothing(make_url: MakeUrl) -> None:
    url = make_url()
    for _ in range(2):
        bootstrap.upgrade(settings_of(url))
    database = bootstrap.open_database(settings_of(url))
    assert counts(database) == FOUNDED
    database.close()


FOUNDED = {"installation": 1, "project": 1, "account": 1, "asset": 3, "chain": 3, "index_counter": 3, "audit_head": 1}


def counts(database: Database) -> dict[str, int]:
    tables = (installation, project, account, asset, chain, index_counter, audit_head)
    query = {t.name: select(func.count()).select_from(t) for t in tables}
    return database.read(lambda tx: {name: tx.value(q) for name, q in query.items()})


def _upgrade(url: str, start: Any) -> None:
    start.wait()
    bootstrap.upgrade(settings_of(url))


@pytest.mark.parametrize("migrated", [True, False], ids=["founding", "migrating"])
def test_several_processes_may_make_one_database(make_url: MakeUrl, migrated: bool) -> None:
    """As when several containers start at once: all succeed, and the rows stand once."""
    url = make_url()
    if migrated:
        empty = Database(url)
        migrations.upgrade(empty)
        empty.close()
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(3)
    processes = [context.Process(target=_upgrade, args=(url, start)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(90)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    database = Database(url)
    assert counts(database) == FOUNDED
    names = [row.name for row in database.read(lambda tx: tx.all(select(task.c.name)))]
    assert len(names) == len(set(names)) > 5
    assert database.read(audit.faults) == []
    database.close()


def test_another_schema_version_is_refused(make_url: MakeUrl) -> None:
    url = make_url()
    with pytest.raises(SchemaMismatch, match="coffer db upgrade"):
        bootstrap.open_database(settings_of(url))
    bootstrap.upgrade(settings_of(url))
    database = Database(url)
    database.run(lambda tx: tx.execute(text("UPDATE alembic_version SET version_num = '9999'")), "test_sql")
    with pytest.raises(SchemaMismatch, match="9999"):
        bootstrap.open_database(settings_of(url))
    database.close()


def test_the_other_mode_is_refused(make_url: MakeUrl) -> None:
    url = make_url()
    bootstrap.upgrade(settings_of(url))
    with pytest.raises(SchemaMismatch, match="made for test"):
        bootstrap.open_database(settings_of(url, mode="live"))
    with pytest.raises(SchemaMismatch, match="made for test"):
        bootstrap.upgrade(settings_of(url, mode="live"))
    database = bootstrap.open_database(settings_of(url))
    assert database.read(lambda tx: tx.value(select(installation.c.mode))) == "test"
    database.close()


def test_a_database_without_its_first_rows_is_refused(make_url: MakeUrl) -> None:
    url = make_url()
    database = Database(url)
    migrations.upgrade(database)
    with pytest.raises(SchemaMismatch, match="nothing yet"):
        founding.check_mode(database, "test")
    database.close()


def _pragma(statement: str) -> Callable[[Any, Any], None]:
    return lambda raw, _: raw.execute(statement)


@pytest.mark.parametrize("pragma", ["synchronous=NORMAL", "synchronous=OFF", "foreign_keys=OFF", "journal_mode=DELETE"])
def test_sqlite_that_could_lose_a_commit_is_refused(tmp_path: Path, pragma: str) -> None:
    database = Database(f"sqlite:///{tmp_path}/db.sqlite3")
    check_safe(database)
    database.engine.dispose()
    event.listen(database.engine, "connect", _pragma(f"PRAGMA {pragma}"))
    with pytest.raises(UnsafeDatabase, match=pragma.partition("=")[0]):
        check_safe(database)
    database.close()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_sqlite_in_memory_is_refused(url: str) -> None:
    with pytest.raises(UnsafeDatabase, match="needs a file"):
        Database(url)


@pytest.mark.parametrize("value", [0, 2])
def test_mariadb_that_could_lose_a_commit_is_refused(mariadb_server: MariaDB, value: int) -> None:
    url = mariadb_server.create_database("coffer_safe")
    mariadb_server.admin(f"SET GLOBAL innodb_flush_log_at_trx_commit={value}")
    try:
        with pytest.raises(UnsafeDatabase, match="innodb_flush_log_at_trx_commit must be 1"):
            bootstrap.open_database(settings_of(url))
        with pytest.raises(UnsafeDatabase):
            bootstrap.upgrade(settings_of(url))
    finally:
        mariadb_server.admin("SET GLOBAL innodb_flush_log_at_trx_commit=1")
    assert mariadb_server.admin("SHOW TABLES IN coffer_safe") == []


class Loose(MariaDB):
    """A server that an operator set up carelessly."""

    def _options(self) -> list[str]:
        given = [o for o in super()._options() if o not in ("--sync-binlog=1", "--skip-log-bin")]
        given = [o for o in given if not o.startswith("--sql-mode")]
        return [*given, "--sql-mode=", "--log-bin", "--sync-binlog=0", "--skip-innodb-doublewrite"]


@pytest.mark.slow
def test_a_careless_mariadb_is_refused_until_it_is_set_right(tmp_path: Path) -> None:
    server = Loose(tmp_path / "m")
    server.start()
    try:
        url = server.create_database("coffer")
        with pytest.raises(UnsafeDatabase) as refused:
            bootstrap.upgrade(settings_of(url))
        for name in ("sync_binlog", "innodb_doublewrite"):
            assert name in refused.value.detail
        database = Database(url)
        mode = database.read(lambda tx: tx.value(text("SELECT @@SESSION.sql_mode")))
        assert "STRICT_TRANS_TABLES" in mode  # our own sessions are strict whatever the server's default
        database.close()
    finally:
        server.stop()
