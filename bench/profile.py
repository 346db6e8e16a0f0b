"""Where the time of one request goes: its statements, the time inside the database, and the rest, in one process.

`python -m bench --profile [--db mariadb]`; with COFFER_PROFILE_CALLS=1 also the functions that take longest.
"""

from __future__ import annotations

import cProfile
import logging
import os
import pstats
import secrets
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import event, select, update

import migrations
from api.app import create_app
from bench.report import tell
from bench.web import outside
from devstack.mariadb import MariaDB
from jobs import bootstrap, keys, tasks
from jobs.keys import Keyring
from ledger import accounts, founding, postings
from ledger.db import Database, Tx
from ledger.postings import Leg
from ledger.schema import account, chain, project
from settings import Settings

SECRET = "5a" * 32
KEY = "tpubDC8msFGeGuwnKG9Upg7DM2b4DaRqg3CUZa5g8v2SRQ6K4NSkxUgd7HsL2XVWbVm39yBA4LAxysQAm397zwQSQoQgewGiYZqrA9DsP4zbQ1M"
WARM_UP, REQUESTS = 50, 300


@dataclass
class Statements:
    """Counts and times what goes to the driver."""

    count: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    _since: float = 0.0

    def watch(self, database: Database) -> None:
        engine = database.engine
        event.listen(engine, "before_cursor_execute", self._before)
        event.listen(engine, "after_cursor_execute", self._after)
        real = engine.dialect.do_commit

        def commit(connection: Any) -> None:
            start = time.perf_counter()
            real(connection)
            self._note("COMMIT", start)

        engine.dialect.do_commit = commit  # type: ignore[method-assign]

    def reset(self) -> None:
        self.count.clear()
        self.seconds.clear()

    def _before(self, *_: Any) -> None:
        self._since = time.perf_counter()

    def _after(self, _connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        self._note(" ".join(statement.split())[:100], self._since)

    def _note(self, name: str, since: float) -> None:
        self.count[name] += 1
        self.seconds[name] += time.perf_counter() - since


def main(kind: str) -> None:
    """Profile an address and a withdrawal on one database kind."""
    with tempfile.TemporaryDirectory(prefix="coffer-bench-", ignore_cleanup_errors=True) as folder:
        if kind == "sqlite":
            _profile(f"sqlite:///{folder}/bench.sqlite3")
            return
        server = MariaDB(Path(folder) / "mariadb")
        server.start()
        try:
            _profile(server.create_database("bench"))
        finally:
            server.stop()


def _profile(url: str) -> None:
    database = Database(url)
    migrations.upgrade(database)
    founding.found(database, "test")
    database.run(tasks.found, "bench")
    wish: dict[str, Any] = {"mode": "test", "database_url": url, "api_secret": SECRET, "row_mac_key": "6b" * 32}
    settings = Settings(**wish, api_rate_limit="100000000/minute", log_level="ERROR")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    client = create_app(bootstrap.services(settings, database), settings).test_client()
    token, public_id = database.run(_rows, "bench")
    statements = Statements()
    statements.watch(database)

    def withdraw() -> tuple[str, dict[str, Any]]:
        order = {"account": public_id, "asset": "BTC", "amount": "0.00001", "address": outside()}
        return "/v1/withdrawals", order | {"reference": secrets.token_hex(12)}

    def address() -> tuple[str, dict[str, Any]]:
        return f"/v1/accounts/{public_id}/addresses", {"asset": "BTC"}

    for name, ask in (("withdrawal", withdraw), ("address", address)):

        def call(ask: Callable[[], tuple[str, dict[str, Any]]] = ask) -> None:
            path, body = ask()
            headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": secrets.token_hex(16)}
            answer = client.post(path, json=body, headers=headers)
            assert answer.status_code in (201, 202), answer.text

        for _ in range(WARM_UP):
            call()
        statements.reset()
        start, cpu = time.perf_counter(), time.process_time()
        for _ in range(REQUESTS):
            call()
        _print(name, statements, time.perf_counter() - start, time.process_time() - cpu)
        if os.environ.get("COFFER_PROFILE_CALLS"):
            profiler = cProfile.Profile()
            profiler.runcall(lambda call=call: [call() for _ in range(REQUESTS)])
            pstats.Stats(profiler).sort_stats("tottime").print_stats(35)
            pstats.Stats(profiler).sort_stats("cumtime").print_stats(60)


def _rows(tx: Tx) -> tuple[str, str]:
    values = {"watched_count": 10**7, "account_public_key": KEY, "genesis_hash": "00" * 32}
    tx.execute(update(chain).values(values))
    row = tx.one(select(project.c.id))
    ring = Keyring(bytes.fromhex(SECRET), "test")
    _, token = keys.create(tx, ring, row.id, keys.Wish(name="bench", holder="bench", scopes=list(keys.SCOPES)), "bench")
    born = {"project_id": row.id, "reference": "bench", "kind": "user", "version": 1, "public_id": "ac_" + "0" * 32}
    row_id = tx.insert(account.insert().values(born | {"created_at": tx.now, "updated_at": tx.now}))
    leg = Leg(accounts.house("treasury_hot"), (row_id, "available"), 10**12)
    postings.post(tx, "bench", "deposit", "BTC", [leg], ("bench", 1))
    return token, "ac_" + "0" * 32


def _print(name: str, found: Statements, seconds: float, cpu: float) -> None:
    inside, count = sum(found.seconds.values()), sum(found.count.values())
    tell(name)
    print(
        f"\n{name}: {seconds / REQUESTS * 1000:.2f} ms, of it {cpu / REQUESTS * 1000:.2f} ms of our CPU; "
        f"{count / REQUESTS:.1f} statements, {inside / REQUESTS * 1000:.2f} ms inside the driver"
    )
    for statement in sorted(found.seconds, key=lambda s: -found.seconds[s])[:40]:
        each = found.seconds[statement] / REQUESTS * 1e6
        print(f"  {each:7.0f} us  x{found.count[statement] / REQUESTS:5.2f}  {statement}")
