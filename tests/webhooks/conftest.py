"""One database of each kind for the folder; each test has a project and a receiver of its own."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.db import Database
from tests import databases
from tests.receiver import Receiver, receiving
from tests.webhooks.shop import Shop


@pytest.fixture(scope="session", params=databases.DIALECTS)
def database(request: pytest.FixtureRequest, server_folder: Path) -> Iterator[Database]:
    """Founded, shared by the tests of this folder."""
    if request.param == "sqlite":
        folder = server_folder / f"webhooks-{secrets.token_hex(4)}"
        folder.mkdir()
        url = databases.sqlite_url(folder, server_folder / "template.sqlite3")
    else:
        url = request.getfixturevalue("mariadb_server").create_database(f"webhooks_{secrets.token_hex(4)}")
        databases.make(url)
    found = Database(url, pool_size=20)
    yield found
    found.close()


@pytest.fixture
def shop(database: Database) -> Iterator[Shop]:
    found = Shop(database)
    yield found
    found.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found
