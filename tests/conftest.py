"""Real servers for the whole suite: one of each per pytest process (so per xdist worker), started when first asked for.

Fixtures of one kind of test live in the conftest.py of its folder (unit, contract, integration, chain).
"""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from devstack.anvil import Anvil
from devstack.bitcoind import Bitcoind
from devstack.geth import Geth
from devstack.mariadb import MariaDB
from devstack.redis import RedisServer

_LOOPBACK = ("127.", "::1", "localhost")


@pytest.fixture(scope="session", autouse=True)
def _loopback_only() -> Iterator[None]:
    """No test reaches outside this machine."""
    patch = pytest.MonkeyPatch()
    real = socket.socket.connect

    def connect(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not str(address[0]).startswith(_LOOPBACK):
            raise PermissionError(f"a test tried to reach {address}")
        real(self, address)

    patch.setattr(socket.socket, "connect", connect)
    yield
    patch.undo()


@pytest.fixture(scope="session")
def server_folder() -> Iterator[Path]:
    """Where this process keeps its servers' data; gone afterwards. Its path is short enough for Unix sockets."""
    with tempfile.TemporaryDirectory(prefix="coffer-test-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def redis_server(server_folder: Path) -> Iterator[RedisServer]:
    """A real Redis. Tests share it: take a key prefix of your own, or flush."""
    server = RedisServer(server_folder / "redis")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def mariadb_server(server_folder: Path) -> Iterator[MariaDB]:
    """A real MariaDB. Tests share it: make a database of your own with `create_database`."""
    server = MariaDB(server_folder / "mariadb")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def bitcoind(server_folder: Path) -> Iterator[Bitcoind]:
    """A real node on regtest with 110 blocks. Tests share it: make a wallet of your own, and leave the tip valid."""
    node = Bitcoind(server_folder / "bitcoind")
    node.start()
    node.mine(110)
    yield node
    node.stop()


@pytest.fixture
def make_bitcoind(server_folder: Path) -> Iterator[Callable[..., Bitcoind]]:
    """Starts fresh nodes for one test alone: for reorganisations, crashes and odd options."""
    nodes: list[Bitcoind] = []

    def make(*options: str) -> Bitcoind:
        node = Bitcoind(Path(tempfile.mkdtemp(prefix="node-", dir=server_folder)), options)
        nodes.append(node)
        node.start()
        return node

    yield make
    for node in nodes:
        node.stop()


@pytest.fixture(scope="session")
def anvil(server_folder: Path) -> Iterator[Anvil]:
    """A private EVM chain. Tests share it: make keys of your own, mine what you need, and leave no reorganisation."""
    node = Anvil(server_folder / "anvil", keep_chain=False)
    node.start()
    yield node
    node.stop()


@pytest.fixture
def make_anvil(server_folder: Path) -> Iterator[Callable[..., Anvil]]:
    """Starts fresh EVM chains for one test alone; takes what `Anvil` takes after the folder."""
    nodes: list[Anvil] = []

    def make(*options: str, **others: Any) -> Anvil:
        node = Anvil(Path(tempfile.mkdtemp(prefix="anvil-", dir=server_folder)), options, **others)
        nodes.append(node)
        node.start()
        return node

    yield make
    for node in nodes:
        node.stop()


@pytest.fixture(scope="session")
def geth(server_folder: Path) -> Iterator[Geth]:
    """A real geth, where there is one; see `pytest_terminal_summary`."""
    missing = Geth.why_missing()
    if missing is not None:
        pytest.skip(missing)
    node = Geth(server_folder / "geth")
    node.start()
    yield node
    node.stop()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    missing = Geth.why_missing()
    told = "there, tests that ask for it ran on it" if missing is None else f"NOT there, nothing ran on it: {missing}"
    terminalreporter.write_line(f"geth: {told}")
