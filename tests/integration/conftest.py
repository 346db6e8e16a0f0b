"""Databases for tests of the ledger: each test runs on both kinds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.db import Database
from tests import databases
from tests.ledger_books import Books


@pytest.fixture(params=databases.DIALECTS)
def database(request: pytest.FixtureRequest, tmp_path: Path, server_folder: Path) -> Iterator[Database]:
    """A founded, empty database of each kind, this test's own."""
    if request.param == "sqlite":
        url = databases.sqlite_url(tmp_path, server_folder / "template.sqlite3")
    else:
        url = databases.mariadb_url(request.getfixturevalue("mariadb_server"))
    database = Database(url, pool_size=20)
    yield database
    database.close()


@pytest.fixture
def books(database: Database) -> Books:
    return Books(database)


@pytest.fixture(scope="session", params=databases.DIALECTS)
def shared_database(request: pytest.FixtureRequest, server_folder: Path) -> Iterator[Database]:
    """One founded database of each kind for all tests that look at their own rows only."""
    if request.param == "sqlite":
        url = f"sqlite:///{server_folder}/shared.sqlite3"
    else:
        url = request.getfixturevalue("mariadb_server").create_database("coffer_shared")
    databases.make(url)
    database = Database(url, pool_size=20)
    yield database
    database.close()


@pytest.fixture
def shared(shared_database: Database) -> Books:
    return Books(shared_database)
