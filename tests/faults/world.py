"""Coffer in one process as its entry points start it, a shop before it and a chain behind it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from typing import Any

from flask import Flask
from sqlalchemy import Table, insert, select, update

from api.app import create_app
from jobs import bootstrap, halting, keys, services
from jobs.assets import asset_of, contract_of
from jobs.deposit import scan
from jobs.keys import Keyring
from jobs.payment import calls
from jobs.sweeper import Sweeper
from ledger import policy
from ledger.db import Tx
from ledger.errors import StateConflict
from ledger.ids import new_id
from ledger.money import Asset, format_units
from ledger.schema import address, chain, index_counter, payment, project, task, withdrawal
from ledger.schema import asset as asset_table
from tests.clock import end_leases
from tests.faults import moments
from tests.faults.client import Client
from tests.faults.kinds import kind_of, settings_of
from tests.faults.place import SECRET, Place
from wallets.ethereum.contracts import creation, load
from wallets.protocol import Output

PEOPLE = ("ann", "bob", "carol")
#: Sweeps before a stage that still moves is called endless.
SWEEPS_MAX = 40
#: Waits up to here are over when a stage begins: leases (15 s), back-offs and rests (20 s). Longer ones are only
#: what a lost wake-up costs, and the flow's end waits for those too.
SHORT_US = 25_000_000
HOUR_US = 3_600_000_000


class World:
    """One start of Coffer. Making it opens the database and checks it; `open` adopts the wallet."""

    def __init__(self, place: Place, app: Flask | None = None) -> None:
        moments.install(place.path)
        self._app = app
        self.kind = kind_of(place)
        self.chain = self.kind.chain
        self.settings = settings_of(place)
        self.outside = self.kind.outside(place)
        _bury_sooner(self.kind.final_depth)
        self.services = bootstrap.worker_services(self.settings, self.chain)
        self.runtime = bootstrap.runtime(self.services)
        self.database = self.services.database
        self.client = Client(place.path)
        self.rows_of_work = [saga.table for kind, saga in self.runtime.sagas.items() if kind != "task"]

    @cached_property
    def app(self) -> Flask:
        return self._app or create_app(bootstrap.services(self.settings, self.database), self.settings)

    def open(self) -> None:
        for name in self.kind.chains:
            bootstrap.adopt(self.services, self.services.wallet(name))

    # What a shop asks for

    def ask(self, name: str, path: str, holder: str = "ann", **body: Any) -> Any:
        return self.client.post(self.app, name, f"/v1/{path}", body or None, holder)

    def account(self, name: str) -> str:
        return str(self.ask(name, "accounts", reference=name, kind="user")["id"])

    def address(self, name: str, account: str, asset: str | None = None) -> None:
        self.ask(name, f"accounts/{self.client.id_of(account)}/addresses", asset=self.asset(asset).code)

    def withdraw(self, name: str, account: str, units: int, payee: str, asset: str | None = None) -> None:
        coin = self.asset(asset)
        body = {"account": self.client.id_of(account), "asset": coin.code, "amount": format_units(units, coin.decimals)}
        self.ask(name, "withdrawals", **body, address=self.outside.payee(payee), reference=name)

    def transfer(self, name: str, giver: str, taker: str, units: int) -> None:
        coin = self.kind.coin
        ends = {"from_account": self.client.id_of(giver), "to_account": self.client.id_of(taker)}
        self.ask(name, "transfers", **ends, asset=coin.code, amount=format_units(units, coin.decimals), reference=name)

    def asset(self, code: str | None = None) -> Asset:
        """An asset by its code; the chain's own coin if none is named."""
        if code is None:
            return self.kind.coin
        found = self.database.read(lambda tx: asset_of(tx, code))
        assert found is not None, code
        return found

    # What an operator does

    def set_policy(self, asset: str, **rules: Any) -> None:
        for name, value in rules.items():
            self.database.run(lambda tx, n=name, v=value: policy.change(tx, asset, n, v, "test"), "test_policy")

    def halt(self, cause: str) -> None:
        self.database.run(lambda tx: halting.stop(tx, self.chain, cause, "test", "test"), "test_halt")

    def lift(self, cause: str) -> None:
        self.database.run(lambda tx: halting.lift(tx, self.chain, cause, "test"), "test_lift")

    def list_token(self, code: str, contract: str, decimals: int, rules: Mapping[str, Any]) -> None:
        """As `coffer assets add` lists one."""
        self.client.note(code, contract)

        def unit(tx: Tx) -> None:
            values = {"code": code, "chain": self.chain, "decimals": decimals, "contract": contract, "enabled": 1}
            tx.execute(insert(asset_table).values(values | {"created_at": tx.now}))
            for name, value in (policy.token_rules(decimals) | dict(rules)).items():
                policy.change(tx, code, name, value, "test")

        self.database.run(unit, "test_token")

    def contract(self, code: str) -> str | None:
        return self.database.read(lambda tx: contract_of(tx, code))

    def deploy(self) -> None:
        """An operator has a contract deployed from the hot wallet; a repeated order finds the first one under way."""
        data = creation(load("GoodToken"), ("NEW", 6, self.outside.payee("p1"), 10**12))
        order = calls.Order(self.chain, None, data, "GoodToken")
        with suppress(StateConflict):
            self.database.run(lambda tx: calls.order(tx, self.services, order, "test"), "order_call")

    # What the outside does

    def pay(self, name: str, *outputs: tuple[str, int], asset: str | None = None) -> None:
        """An outsider pays to addresses that were given out under these names (`hot`: the hot wallet's own)."""
        paid = [Output(self._address(address), units) for address, units in outputs]
        self.client.note(name, self.outside.pay(paid, None if asset is None else self.client.noted(asset)))

    def _address(self, name: str) -> str:
        if name == "hot":
            a = address.c
            house = (a.chain == self.chain) & (a.purpose_kind == "treasury")
            return str(self.database.read(lambda tx: tx.value(select(a.address).where(house))))
        return str(self.client.answer_of(name)["address"])

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
        self._let_seconds_pass()
        self._run_tasks(self.chain, f"scan:{self.chain}", f"batch:{self.chain}")

    def run_task(self, name: str) -> None:
        """As `work`, with one more task of the chain after it has been read."""
        self._let_seconds_pass()
        self._run_tasks(self.chain, f"scan:{self.chain}", f"{name}:{self.chain}", f"batch:{self.chain}")

    def work_for_hours(self) -> None:
        """Nothing waits for a wake-up any more."""
        for table in self.rows_of_work:
            self._raw(update(table).where(table.c.due_at.is_not(None)).values(due_at=1))
        self._run_tasks(self.chain, *(f"{work}:{self.chain}" for work in ("scan", "batch", "watch", "relock")))

    def close_the_day(self) -> None:
        """The tasks that follow the others: events, reconciliation, the nightly checks."""
        self._run_tasks(self.chain, f"reconcile:{self.chain}")
        self._run_tasks("tasks", "sequence", "requests", "snapshot", "audit", "tidy")

    def _let_seconds_pass(self) -> None:
        for table in self.rows_of_work:
            t = table.c
            short = t.due_at - t.updated_at <= SHORT_US
            self._raw(update(table).where(short).values(due_at=1))
            self._raw(update(table).where(~short).values(due_at=_later()))

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
        with self.database.engine.begin() as connection:
            end_leases(connection.execute)

    def let_hours_pass(self) -> None:
        """Payments that are on their way have been so for long enough to be bumped."""
        self._raw(update(payment).where(payment.c.sent_at.is_not(None)).values(sent_at=1))

    def let_a_day_pass(self) -> None:
        """Payments were made yesterday."""
        self._raw(update(payment).values(created_at=payment.c.created_at - 25 * HOUR_US))

    def use_up_addresses(self, left: int) -> None:
        """All but `left` of the watched addresses are given out."""
        mine = chain.c.name == self.chain
        watched = int(self.database.read(lambda tx: tx.value(select(chain.c.watched_count).where(mine))))
        counter = update(index_counter).where(index_counter.c.chain == self.chain)
        self._raw(counter.values(next_index=watched - left))

    def _raw(self, statement: Any) -> None:
        """A change by the test itself: no crashpoint, no unit of work."""
        with self.database.engine.begin() as connection:
            connection.execute(statement)

    # What a check looks at

    def rows(self, table: Table) -> list[Any]:
        return list(self.database.read(lambda tx: tx.all(select(table))))


def found(place: Place) -> None:
    """The shop's project, its people's keys, and the policy, in a database that has its first rows."""
    settings = settings_of(place)
    bootstrap.upgrade(settings)
    opened = bootstrap.services(settings)
    client = Client(place.path)
    ring = Keyring(bytes.fromhex(SECRET), "test")

    def unit(tx: Tx) -> dict[str, str]:
        values = {"public_id": new_id("pj"), "name": "shop", "created_at": tx.now}
        project_id = tx.insert(insert(project).values(values))
        wishes = {who: keys.Wish(name=who, holder=who, scopes=list(keys.SCOPES)) for who in PEOPLE}
        for asset, rules in kind_of(place).policy.items():
            for name, value in rules.items():
                policy.change(tx, asset, name, value, "test")
        return {who: keys.create(tx, ring, project_id, wish, "test")[1] for who, wish in wishes.items()}

    for who, token in opened.database.run(unit, "test_found").items():
        client.give_key(who, token)
    opened.database.close()


def _bury_sooner(depth: int | None) -> None:
    """Let fewer blocks be final in this process, where mining a hundred takes seconds."""
    for module in (policy, services, scan):
        if depth is not None:
            assert hasattr(module, "FINAL_DEPTH"), module
            module.FINAL_DEPTH = depth  # type: ignore[attr-defined]


def _later() -> int:
    return time.time_ns() // 1000 + HOUR_US
