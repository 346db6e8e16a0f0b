"""Coffer in one process as its entry points start it, a shop before it and a chain behind it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from flask import Flask
from sqlalchemy import Table, insert, select, update

from api.app import create_app
from jobs import bootstrap, keys
from jobs.keys import Keyring
from jobs.sweeper import Sweeper
from ledger import policy
from ledger.db import Tx
from ledger.ids import new_id
from ledger.money import BTC, format_units
from ledger.schema import deposit, index_counter, lease, payment, project, task, withdrawal
from settings import Settings
from tests.faults.client import Client
from tests.faults.outside import BitcoinOutside, FakeOutside, Outside
from wallets.protocol import Output

SECRET, MAC_KEY = "5a" * 32, "6b" * 32
PEOPLE = ("ann", "bob", "carol")
#: What the flows need to be short; everything else is as installed.
POLICY = {"payment_window_ms": 0, "address_watch_ahead": 100, "withdrawal_approval_above_units": 600_000}
#: Sweeps before a stage that still moves is called endless.
SWEEPS_MAX = 40
#: Waits up to here are over when a stage begins: leases (15 s), back-offs and rests (20 s). Longer ones are only
#: what a lost wake-up costs, and the flow's end waits for those too.
SHORT_US = 25_000_000
HOUR_US = 3_600_000_000


@dataclass(frozen=True)
class Place:
    """Where a case lives: its folder, its database and its chain."""

    folder: str
    database_url: str
    worker_url: str = ""  #: of a bitcoind; empty: the model chain in the folder
    admin_url: str = ""

    @property
    def chain_file(self) -> Path:
        return Path(self.folder) / "chain.pickle"

    @property
    def settings(self) -> Settings:
        values: dict[str, Any] = {
            "mode": "test",
            "database_url": self.database_url,
            "api_secret": SECRET,
            "row_mac_key": MAC_KEY,
            "signer_dir": Path(self.folder) / "signer",
            "bitcoin_rpc_url": self.worker_url or f"fake:{self.chain_file}",
            "bitcoin_daily_outflow_cap": "1000",
            "api_rate_limit": "1000000/minute",
            "redis_url": None,
        }
        return Settings(**values)

    def outside(self) -> Outside:
        return BitcoinOutside(self.admin_url) if self.admin_url else FakeOutside(self.chain_file)


class World:
    """One start of Coffer. Making it opens the database and checks it; `open` adopts the wallet."""

    def __init__(self, place: Place, app: Flask | None = None) -> None:
        self._app = app
        self.settings = place.settings
        self.outside = place.outside()
        self.services = bootstrap.worker_services(self.settings, "bitcoin")
        self.runtime = bootstrap.runtime(self.services)
        self.database = self.services.database
        self.client = Client(Path(place.folder))

    @cached_property
    def app(self) -> Flask:
        return self._app or create_app(bootstrap.services(self.settings, self.database), self.settings)

    def open(self) -> None:
        bootstrap.adopt(self.services, self.services.wallet("bitcoin"))

    # What a shop asks for

    def ask(self, name: str, path: str, holder: str = "ann", **body: Any) -> Any:
        return self.client.post(self.app, name, f"/v1/{path}", body or None, holder)

    def account(self, name: str) -> str:
        return str(self.ask(name, "accounts", reference=name, kind="user")["id"])

    def address(self, name: str, account: str) -> None:
        self.ask(name, f"accounts/{self.client.id_of(account)}/addresses", asset="BTC")

    def withdraw(self, name: str, account: str, units: int, payee: str) -> None:
        body = {"account": self.client.id_of(account), "asset": "BTC", "amount": format_units(units, BTC.decimals)}
        self.ask(name, "withdrawals", **body, address=self.outside.payee(payee), reference=name)

    def transfer(self, name: str, giver: str, taker: str, units: int) -> None:
        ends = {"from_account": self.client.id_of(giver), "to_account": self.client.id_of(taker)}
        self.ask(name, "transfers", **ends, asset="BTC", amount=format_units(units, BTC.decimals), reference=name)

    # What the outside does

    def pay(self, name: str, *outputs: tuple[str, int]) -> None:
        """An outsider pays to addresses that were given out under these names."""
        paid = [Output(self.client.answer_of(address)["address"], units) for address, units in outputs]
        self.client.note(name, self.outside.pay(paid))

    def pay_noted(self, name: str, noted: str, units: int) -> None:
        self.client.note(name, self.outside.pay([Output(self.client.noted(noted), units)]))

    def publish(self, name: str, address: str) -> None:
        """The shop reads an address that was not ready when it was asked for."""
        path = f"/v1/addresses/{self.client.id_of(address)}"
        headers = {"Authorization": f"Bearer {self.client.token('ann')}"}
        self.client.note(name, self.app.test_client().get(path, headers=headers).get_json()["address"])

    # Time and work

    def work(self) -> None:
        """Seconds later: read the chain, form payments, do what is due until nothing moves."""
        for table in (deposit, payment):
            t = table.c
            short = t.due_at - t.updated_at <= SHORT_US
            self._raw(update(table).where(short).values(due_at=1))
            self._raw(update(table).where(~short).values(due_at=_later()))
        self._run_tasks("bitcoin", "scan:bitcoin", "batch:bitcoin")

    def work_for_hours(self) -> None:
        """Nothing waits for a wake-up any more."""
        for table in (deposit, payment):
            self._raw(update(table).where(table.c.due_at.is_not(None)).values(due_at=1))
        self._run_tasks("bitcoin", "scan:bitcoin", "batch:bitcoin", "watch:bitcoin", "relock:bitcoin")

    def close_the_day(self) -> None:
        """The tasks that follow the others: events, reconciliation, the nightly checks."""
        self._run_tasks("bitcoin", "reconcile:bitcoin")
        self._run_tasks("tasks", "sequence", "requests", "snapshot", "audit", "tidy")

    def _run_tasks(self, queue: str, *names: str) -> None:
        """These tasks in this order, and then whatever they made due. The others rest, so that the number of steps
        does not depend on this machine's speed."""
        self._raw(update(task).values(due_at=_later()))
        for moment, name in enumerate(names, start=1):
            self._raw(update(task).where(task.c.name == name).values(due_at=moment))
        self._raw(update(withdrawal).values(not_before=0))
        for _ in range(SWEEPS_MAX):
            if not Sweeper(self.runtime, queue).sweep():
                return
            self._raw(update(task).values(due_at=_later()))
        raise AssertionError("the engine does not come to rest")

    def expire_leases(self) -> None:
        """A start after a crash comes when the dead process's leases have run out."""
        for table in (task, deposit, payment):
            self._raw(update(table).where(table.c.lease_until > 0).values(lease_until=1))
        self._raw(update(lease).where(lease.c.until > 0).values(until=1))

    def let_hours_pass(self) -> None:
        """Payments that are on their way have been so for long enough to be bumped."""
        self._raw(update(payment).where(payment.c.sent_at.is_not(None)).values(sent_at=1))

    def use_up_addresses(self, left: int) -> None:
        """All but `left` of the watched addresses are given out."""
        from ledger.schema import chain

        watched = int(self.database.read(lambda tx: tx.value(select(chain.c.watched_count))))
        self._raw(update(index_counter).values(next_index=watched - left))

    def _raw(self, statement: Any) -> None:
        """A change by the test itself: no crashpoint, no unit of work."""
        with self.database.engine.begin() as connection:
            connection.execute(statement)

    # What a check looks at

    def rows(self, table: Table) -> list[Any]:
        return list(self.database.read(lambda tx: tx.all(select(table))))


def found(place: Place) -> None:
    """The shop's project, its people's keys, and the policy, in a database that has its first rows."""
    bootstrap.upgrade(place.settings)
    services = bootstrap.services(place.settings)
    client = Client(Path(place.folder))
    ring = Keyring(bytes.fromhex(SECRET), "test")

    def unit(tx: Tx) -> dict[str, str]:
        values = {"public_id": new_id("pj"), "name": "shop", "created_at": tx.now}
        project_id = tx.insert(insert(project).values(values))
        wishes = {who: keys.Wish(name=who, holder=who, scopes=list(keys.SCOPES)) for who in PEOPLE}
        for name, value in POLICY.items():
            policy.change(tx, "BTC", name, value, "test")
        return {who: keys.create(tx, ring, project_id, wish, "test")[1] for who, wish in wishes.items()}

    for who, token in services.database.run(unit, "test_found").items():
        client.give_key(who, token)
    services.database.close()


def _later() -> int:
    return time.time_ns() // 1000 + HOUR_US
