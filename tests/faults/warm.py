"""What a fork server prepares once, so that each child starts in milliseconds: compiled SQL and an unused app.

The children get an engine without any connection, as a forked API worker does, and an app that has served nobody.
"""

from __future__ import annotations

import functools
import gc
import threading

from flask import Flask

import migrations
from api.app import create_app
from jobs import bootstrap
from ledger import founding
from ledger.db import Database, check_safe
from settings import Settings
from tests.faults import invariants
from tests.faults.flow import close
from tests.faults.flows import FLOWS
from tests.faults.place import Place
from tests.faults.worlds import world as world_of

_databases: dict[str, Database] = {}
_apps: dict[str, Flask] = {}

#: The flow of each kind of chain that uses most of the engine's statements.
SAMPLES = {
    "fake": "withdrawal",
    "bitcoin": "withdrawal",
    "ethereum": "eth-withdrawal",
    "trades": "rates-fetched",
    "monero": "xmr-withdrawal",
    "monero-accounts": "xmr-sweep",
}


def install() -> None:
    """Have every start of this process and its children use the shared engine of its database, checked each time."""
    migrations.head = functools.cache(migrations.head)
    bootstrap.open_database = _open


def _open(settings: Settings, *, pool_size: int = 10) -> Database:
    url = settings.database_url.get_secret_value()
    if url not in _databases:
        _databases[url] = Database(url, pool_size=pool_size)
    database = _databases[url]
    check_safe(database)
    migrations.check(database)
    founding.check_mode(database, settings.mode)
    return database


def warm_up(place: Place) -> None:
    """Run a flow here once, on a case that is thrown away, and close everything that it opened."""
    world = world_of(place)
    world.runtime.heartbeat._thread = threading.Thread()  # none may run in a process that forks
    flow = FLOWS[SAMPLES[place.kind]]
    try:
        world.open()
        for stage in (*flow.stages, close):
            stage(world)
        found = invariants.check(world, flow.ends)
    finally:
        world.database.close()
    if found:
        raise AssertionError(f"{flow.name} without any crash: {found}")
    _apps[world.settings.database_url.get_secret_value()] = create_app(
        bootstrap.services(world.settings, world.database), world.settings
    )
    gc.collect()
    gc.freeze()  # so that a child's collections do not copy the parent's memory


def after_fork() -> None:
    """In the child."""
    for database in _databases.values():
        database.after_fork()


def app(settings: Settings) -> Flask | None:
    """The prepared app, of a process that was forked from a warmed one."""
    return _apps.get(settings.database_url.get_secret_value())
