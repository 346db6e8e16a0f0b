"""Ledger transfers, spread over accounts and on one hot account, against the bare transaction."""

from __future__ import annotations

import random
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select

import migrations
from bench import bare_ledger, crowd
from bench.report import Row, tell
from devstack.mariadb import MariaDB
from jobs import accounts as account_jobs
from jobs.caller import Caller
from ledger import accounts, founding, postings
from ledger.db import Database, Tx
from ledger.ids import new_id
from ledger.postings import Leg
from ledger.schema import project

THREADS = (1, 4, 16)


@dataclass
class Mover:
    """One journal transfer a turn, as `POST /v1/transfers` posts it."""

    database: Database
    ids: list[int]
    hot: bool

    def act(self) -> None:
        pair = random.sample(self.ids[1:], 2)
        giver, taker = (self.ids[0], pair[0]) if self.hot else pair
        legs, key = [Leg((giver, "available"), (taker, "available"), 1)], secrets.token_hex(12)
        self.database.run(lambda tx: postings.post(tx, key, "bench", "BTC", legs, ("bench", 1)), "bench")


def measure(kind: str, rounds: int, seconds: float) -> list[Row]:
    """The rows of one database kind."""
    with tempfile.TemporaryDirectory(prefix="coffer-bench-", ignore_cleanup_errors=True) as folder:
        if kind == "sqlite":
            return _measure(f"sqlite:///{folder}/bench.sqlite3", kind, rounds, seconds)
        server = MariaDB(Path(folder) / "mariadb")
        server.start()
        try:
            return _measure(server.create_database("bench"), kind, rounds, seconds)
        finally:
            server.stop()


def _measure(url: str, kind: str, rounds: int, seconds: float) -> list[Row]:
    database = Database(url, pool_size=20)
    migrations.upgrade(database)
    founding.found(database, "test")
    ids = database.run(_accounts, "bench")
    bare_ledger.prepare(url)
    rows = []
    for hot in (False, True):
        for threads in THREADS:
            name = f"ledger transfers, {'one hot account' if hot else 'spread'}, {threads} threads ({kind})"
            tell(name)
            row = Row(name, "/s")
            for _ in range(rounds):
                ours = crowd.run_threads(Mover, (database, ids, hot), threads=threads, seconds=seconds)
                bare = crowd.run_threads(bare_ledger.Mover, (url, hot), threads=threads, seconds=seconds)
                row.add(ours.per_second, bare_transaction=bare.per_second)
                row.remark = ours.fault or bare.fault
            rows.append(row)
    database.close()
    return rows


def _accounts(tx: Tx) -> list[int]:
    values = {"public_id": new_id("pj"), "name": "bench", "created_at": tx.now}
    caller = Caller(tx.insert(project.insert().values(values)), None, "bench", "bench")
    ids = [int(account_jobs.create(tx, caller, f"a{n}", "user").id) for n in range(bare_ledger.ACCOUNTS)]
    for row_id in ids:
        leg = Leg(accounts.house("treasury_hot"), (row_id, "available"), 10**9)
        postings.post(tx, f"fund:{row_id}", "bench", "BTC", [leg], ("bench", 1))
    assert tx.value(select(project.c.id).where(project.c.name == "bench"))
    return ids
