"""Two transactions of which one is held until the other has ended, or waits for it: MariaDB only, SQLite has one
writer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from devstack.mariadb import MariaDB
from ledger.db import Database

#: Far more than either takes: something is wrong, and the test ends.
PATIENCE_SECONDS = 30
#: The server shows what it showed last to whoever asks again within a tenth of a second.
LOOK_SECONDS = 0.2
_WAITING = "SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"


def server_of(database: Database, request: pytest.FixtureRequest) -> MariaDB:
    """The server that a test's database is on; the test is skipped where there is none."""
    if database.sqlite:
        pytest.skip("SQLite has one writer: nothing happens beside an open transaction")
    found = request.getfixturevalue("mariadb_server")
    assert isinstance(found, MariaDB)
    return found


def until_over_or_waiting(server: MariaDB, over: Callable[[], bool]) -> None:
    """Return once the other transaction is `over`, or the server says that one waits for a lock."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not over() and server.admin(_WAITING) == [(0,)]:
        assert time.monotonic() < deadline, "it neither ends nor waits"
        time.sleep(LOOK_SECONDS)


def beside(server: MariaDB, work: Callable[[], object]) -> threading.Thread:
    """Start `work` in a thread of its own, which is given back when it is over or waits for a lock."""
    thread = threading.Thread(target=work)
    thread.start()
    until_over_or_waiting(server, lambda: not thread.is_alive())
    return thread
