"""Engines on both databases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devstack.anvil import Anvil
from ledger.db import Database
from tests import databases
from tests.clock import Clock
from tests.flows.books_engine import BooksEngine
from tests.flows.engine import Engine
from tests.flows.ethereum_engine import EthereumEngine
from tests.flows.swap_desk import Desk
from tests.flows.trade_engine import TradeEngine


@pytest.fixture(params=databases.DIALECTS)
def database(request: pytest.FixtureRequest, tmp_path: Path, server_folder: Path) -> Iterator[Database]:
    """A founded, empty database of each kind."""
    if request.param == "sqlite":
        url = databases.sqlite_url(tmp_path, server_folder / "template.sqlite3")
    else:
        url = databases.mariadb_url(request.getfixturevalue("mariadb_server"))
    database = Database(url)
    yield database
    database.close()


@pytest.fixture
def engine(database: Database, tmp_path: Path) -> Engine:
    return Engine(tmp_path, database)


@pytest.fixture
def ethereum(database: Database, tmp_path: Path, make_anvil: Callable[..., Anvil]) -> EthereumEngine:
    """An engine on an EVM chain of its own, where a block is final twelve blocks later."""
    return EthereumEngine(tmp_path, database, node=make_anvil(epoch_slots=4, keep_chain=False))


@pytest.fixture
def trades(database: Database, tmp_path: Path) -> TradeEngine:
    """An engine on two model chains, with inventory and rates."""
    return TradeEngine(tmp_path, database)


@pytest.fixture
def desk(trades: TradeEngine, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """Where swaps by deposit are made, with a clock to put forward."""
    return Desk(trades, Clock(monkeypatch))


@pytest.fixture
def counter(database: Database, tmp_path: Path) -> BooksEngine:
    """Requests alone, on money by the books."""
    return BooksEngine(tmp_path, database)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The database's clock, to be put forward."""
    return Clock(monkeypatch)
