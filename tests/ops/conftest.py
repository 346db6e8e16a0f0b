"""Installations on SQLite (and MariaDB where it matters), with the shared Redis or one of their own."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis import Redis

from devstack.redis import RedisServer
from tests import databases
from tests.ops.installation import Installation


@pytest.fixture
def redis(redis_server: RedisServer) -> Iterator[Redis]:
    """The shared Redis, empty."""
    redis_server.flush()
    connection = Redis.from_url(redis_server.url)
    yield connection
    connection.close()


@pytest.fixture
def install(
    request: pytest.FixtureRequest, tmp_path: Path, server_folder: Path
) -> Iterator[Callable[..., Installation]]:
    """Makes installations: `install()`, `install(redis_url)`, `install(dialect="mariadb")`."""
    made: list[Installation] = []

    def make(redis_url: str | None = None, *, dialect: str = "sqlite") -> Installation:
        if dialect == "sqlite":
            url = databases.sqlite_url(tmp_path, server_folder / "template.sqlite3")
        else:
            url = databases.mariadb_url(request.getfixturevalue("mariadb_server"))
        installation = Installation(tmp_path, url, redis_url)
        made.append(installation)
        return installation

    yield make
    for installation in made:
        installation.close()


@pytest.fixture
def own_redis(server_folder: Path) -> Iterator[RedisServer]:
    """A Redis that a test may kill."""
    server = RedisServer(Path(tempfile.mkdtemp(prefix="redis-", dir=server_folder)))
    server.start()
    yield server
    server.stop()
