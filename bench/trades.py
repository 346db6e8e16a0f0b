"""Swaps between balances and releases of escrows, through the engine, against the bare transaction of the same rounds.

Each is what its API call does below HTTP: one transaction with its checks, postings, history, ownership and event.
Quotes and funded escrows are made before a round: what is measured is the exchange, and the release. All swaps meet at
the house's inventory, so that the bare transaction with one account in all transfers stands beside it as well.
"""

from __future__ import annotations

import random
import secrets
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from sqlalchemy import Row, insert, select

import migrations
from bench import bare_ledger, crowd
from bench.report import Row as Figure
from bench.report import tell
from devstack.mariadb import MariaDB
from jobs import accounts as account_jobs
from jobs import tasks
from jobs.caller import Caller
from jobs.escrow import ending as escrow_ending
from jobs.escrow import funding as escrow_funding
from jobs.escrow import make as escrow_make
from jobs.escrow.make import Terms
from jobs.row_mac import RowMac
from jobs.services import Services
from jobs.swap import balance as swap_balance
from jobs.swap import quotes
from jobs.swap.books import Wish
from ledger import accounts, founding, postings
from ledger.db import Database, Tx
from ledger.ids import new_id
from ledger.money import BTC, XMR
from ledger.postings import Leg
from ledger.schema import project, quote, rate

THREADS = (1, 4, 16)
CUSTOMERS = 200
#: Made ready for a round of a second; one that used all of them up shows a fault, `Empty`.
READY = {"swap": 1_500, "escrow": 600}
#: Rates and quotes count as made this far ahead: nothing here runs out while it waits for its round.
AHEAD_US = 3_600 * 1_000_000
_SOLD, _PRICES = 100_000, {"BTC": "60000", "XMR": "150"}


@dataclass
class Market:
    """A database with customers who have money, a house with inventory, and rates."""

    database: Database
    caller: Caller
    customers: Sequence[int]
    services: Services
    ready: SimpleQueue[Any] = field(default_factory=SimpleQueue)  #: what waits for its turn, by id

    def lay_ready(self, ids: Sequence[Any]) -> None:
        """These and nothing else."""
        self.ready = SimpleQueue()
        for each in ids:
            self.ready.put(each)


@dataclass
class Swapper:
    """One balance swap a turn, of a quote that waits for it."""

    market: Market

    def act(self) -> None:
        m, wish = self.market, Wish(random.choice(self.market.customers), secrets.token_hex(12))
        quote_id = m.ready.get_nowait()
        m.database.run(lambda tx: swap_balance.make(tx, m.caller, quote_id, wish, m.services), "bench")


@dataclass
class Releaser:
    """One funded escrow a turn, released whole to its vendor."""

    market: Market

    def act(self) -> None:
        m = self.market
        escrow_id = m.ready.get_nowait()
        m.database.run(lambda tx: escrow_ending.release(tx, m.caller, escrow_id), "bench")


def measure(kind: str, rounds: int, seconds: float) -> list[Figure]:
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


def _measure(url: str, kind: str, rounds: int, seconds: float) -> list[Figure]:
    market = prepared(url)
    bare_ledger.prepare(url)
    rows = []
    for name, (client, prepare) in PLANS.items():
        for threads in THREADS:
            row = Figure(f"{name}, {threads} threads ({kind})", "/s")
            tell(row.name)
            for _ in range(rounds):
                prepare(market)
                ours = crowd.run_threads(client, (market,), threads=threads, seconds=seconds)
                bare, hot = (
                    crowd.run_threads(bare_ledger.Mover, (url, one), threads=threads, seconds=seconds)
                    for one in (False, True)
                )
                row.add(ours.per_second, bare_transaction=bare.per_second, the_same_on_a_hot_account=hot.per_second)
                row.remark = ours.fault or bare.fault or hot.fault
            rows.append(row)
    market.database.close()
    return rows


def prepared(url: str) -> Market:
    """A new database of ours at an empty one."""
    database = Database(url, pool_size=20)
    migrations.upgrade(database)
    founding.found(database, "test")
    database.run(tasks.found, "bench")
    return database.run(lambda tx: _open(tx, database), "bench")


def _open(tx: Tx, database: Database) -> Market:
    values = {"public_id": new_id("pj"), "name": "bench", "created_at": tx.now}
    caller = Caller(tx.insert(insert(project).values(values)), None, "bench", "bench")
    ids = [int(account_jobs.create(tx, caller, f"a{n}", "user").id) for n in range(CUSTOMERS)]
    for coin in (BTC, XMR):
        for row_id in ids:
            _give(tx, coin.code, (row_id, "available"), 10**6 * _SOLD, row_id)
        _give(tx, coin.code, accounts.house("inventory"), 10**24, 0)
        source = {"source": "bench", "price": _PRICES[coin.code], "used": True}
        told = {"asset": coin.code, "currency": "USD", "price": _PRICES[coin.code], "problem": None, "spread_ppm": 0}
        tx.execute(insert(rate).values(told | {"sources": [source], "quoted_at": tx.now + AHEAD_US, "at": tx.now}))
    return Market(database, caller, ids, Services(database, "test", _no_books, RowMac(secrets.token_bytes(32))))


def _give(tx: Tx, code: str, owner: accounts.Owner, units: int, number: int) -> None:
    leg = Leg(accounts.house("treasury_hot"), owner, units)
    postings.post(tx, f"bench:{code}:{owner[1]}:{number}", "deposit", code, [leg], ("bench", 1))


def _no_books(chain: str) -> Any:
    raise LookupError(f"nothing here leaves to {chain}")


def _make_quotes(market: Market) -> None:
    """One by the engine; the others are copies of it, as many customers would have them."""
    wish = quotes.Ask(BTC, XMR, "sell", _SOLD)

    def unit(tx: Tx) -> list[str]:
        public_id = quotes.ask(tx, market.caller, wish, market.services)["id"]
        row = tx.one(select(quote).where(quote.c.public_id == public_id))
        copies = [_copy(row, tx.now + AHEAD_US) for _ in range(READY["swap"])]
        tx.execute(insert(quote), copies)
        return [str(each["public_id"]) for each in copies]

    market.lay_ready(market.database.run(unit, "bench"))


def _copy(row: Row[Any], expires_at: int) -> dict[str, Any]:
    kept = {name: value for name, value in row._mapping.items() if name != "id"}
    return kept | {"public_id": new_id("qt"), "expires_at": expires_at}


def _make_escrows(market: Market) -> None:
    """Funded from balances, by the engine; a hundred to a commit."""

    def unit(tx: Tx) -> list[int]:
        return [_funded(tx, market) for _ in range(100)]

    market.lay_ready([i for _ in range(READY["escrow"] // 100) for i in market.database.run(unit, "bench")])


def _funded(tx: Tx, market: Market) -> int:
    buyer, vendor = random.sample(market.customers, 2)
    terms = Terms(buyer, vendor, BTC, _SOLD, secrets.token_hex(12), fee_ppm=10_000)
    made = escrow_make.create(tx, market.caller, terms, market.services)
    escrow_funding.fund(tx, market.caller, made.id)
    return made.id


#: What is measured -> who does it, and what makes it ready before a round.
PLANS: Mapping[str, tuple[type[Any], Callable[[Market], None]]] = {
    "swaps between balances": (Swapper, _make_quotes),
    "escrow releases": (Releaser, _make_escrows),
}
