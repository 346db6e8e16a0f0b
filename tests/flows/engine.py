"""The whole engine in one process, on a model chain and a real database, with time that passes when a test says so."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from sqlalchemy import Row, insert, select, update

from jobs import accounts, addresses, bootstrap, withdrawal
from jobs.caller import Caller
from jobs.ownership import verify as ownership_verify
from jobs.reconcile import chain as reconcile
from jobs.row_mac import RowMac
from jobs.runtime import Runtime
from jobs.services import Services
from jobs.signer import Signer
from jobs.sweeper import Sweeper
from ledger import balances, policy
from ledger.db import Database, Tx
from ledger.ids import new_id
from ledger.money import BTC, Asset
from ledger.schema import account, alarm, deposit, event, payment, project
from ledger.schema import withdrawal as withdrawals
from wallets.fake import FakeAddressBook, FakeChain, FakeWallet
from wallets.fake.addresses import derive
from wallets.protocol import AddressBook, ChainWallet, Output

MAC = RowMac(b"m" * 32)


@dataclass
class Engine:
    """Requests as an API would make them, and a worker that runs when asked. `EthereumEngine` is one on anvil."""

    name: ClassVar[str] = "bitcoin"
    coin: ClassVar[Asset] = BTC

    folder: Path
    database: Database
    chain: FakeChain = field(default_factory=FakeChain)
    wallet: ChainWallet | None = None  #: another wallet than one on the model chain
    books: AddressBook = field(default_factory=FakeAddressBook)
    caller: Caller = field(init=False)
    services: Services = field(init=False)
    runtime: Runtime = field(init=False)

    def __post_init__(self) -> None:
        wallet = self.wallet or FakeWallet(self.chain)
        if self.wallet is None and self.chain.tip.height < 110:
            self.chain.mine(110)
        self.serve(wallet, Signer(self.folder / "signer", MAC, {"BTC": 10_000 * 10**8}, self.cold()))
        self.set_policy(payment_window_ms=0, withdrawal_fee_units=2_000)
        self.tick()

    def cold(self) -> dict[str, str]:
        """Where moves to cold go."""
        return {self.name: derive("cold")}

    def serve(self, wallet: ChainWallet, signer: Signer) -> None:
        """Be a worker of this wallet's chain."""
        self.services = Services(self.database, "test", lambda _: self.books, MAC, signer, {self.name: wallet})
        self.services.cold_addresses = self.cold()
        self.runtime = bootstrap.runtime(self.services)
        self.caller = self.database.run(_project, "test_project")
        bootstrap.adopt(self.services, wallet)

    # What a shop does

    def account(self, reference: str | None = None) -> int:
        name = reference or secrets.token_hex(8)
        return int(self.database.run(lambda tx: accounts.create(tx, self.caller, name, "user").id, "test_account"))

    def address(self, account_id: int, asset: Asset | None = None, **request: Any) -> Row[Any]:
        wish = addresses.Wish(account_id, asset or self.coin, **request)
        return self.database.run(lambda tx: addresses.issue(tx, self.caller, wish, self.services), "test_address")

    def funded(self, units: int) -> int:
        """An account with this much to spend, from a credited deposit."""
        account_id = self.account()
        self.chain.fund(self.address(account_id).address, units, blocks=6)
        self.tick()
        assert self.available(account_id) == units
        return account_id

    def withdraw(self, account_id: int, units: int | None, address: str | None = None, **more: Any) -> int:
        order = withdrawal.Order(
            account_id,
            more.pop("asset", self.coin.code),
            units,
            address or self.chain.outside_address(),
            more.pop("reference", None) or secrets.token_hex(8),
            **more,
        )
        return self.database.run(
            lambda tx: withdrawal.request(tx, self.caller, order, self.services), "test_request"
        ).id

    def person(self, holder: str) -> Caller:
        return Caller(self.caller.project_id, None, holder, holder)

    # Time and work

    def tick(self, times: int = 1) -> None:
        """Let every wait in the database be over, and do all the work that is due, until nothing moves."""
        for _ in range(times):
            self._let_time_pass()
            for _ in range(30):
                self._make_due("task")
                if not sum(Sweeper(self.runtime, queue).sweep() for queue in (self.name, "tasks")):
                    break
                if not self._moving():
                    break

    def _moving(self) -> bool:
        tables = [self.runtime.sagas[kind].table for kind in self._kinds()]
        return any(
            self.database.read(lambda tx, t=t: tx.value(select(t.c.id).where(t.c.due_at <= tx.now))) for t in tables
        )

    def _let_time_pass(self) -> None:
        for kind in self._kinds():
            self._make_due(kind)
        w = withdrawals
        self.database.run(lambda tx: tx.execute(update(w).values(not_before=0)), "test_clock")

    def _kinds(self) -> list[str]:
        return [kind for kind in self.runtime.sagas if kind != "task"]

    def _make_due(self, kind: str) -> None:
        t = self.runtime.sagas[kind].table
        self.database.run(
            lambda tx: tx.execute(update(t).where(t.c.due_at.is_not(None)).values(due_at=1)), "test_clock"
        )

    def set_policy(self, asset: str | None = None, **rules: Any) -> None:
        code = asset or self.coin.code
        for name, value in rules.items():
            self.database.run(lambda tx, n=name, v=value: policy.change(tx, code, n, v, "test"), "test_policy")

    # What a test looks at

    def available(self, account_id: int, asset: str | None = None) -> int:
        return self.balance(account_id, "available", asset)

    def balance(self, account_id: int, kind: str, asset: str | None = None) -> int:
        return self.database.read(lambda tx: balances.get(tx, (account_id, kind), asset or self.coin.code))

    def house(self, kind: str, asset: str | None = None) -> int:
        return self.database.read(lambda tx: balances.of_house(tx, asset or self.coin.code)[kind])

    def row(self, table: Any, row_id: int) -> Row[Any]:
        return self.database.read(lambda tx: tx.one(select(table).where(table.c.id == row_id)))

    def rows(self, table: Any) -> list[Row[Any]]:
        first = next(iter(table.c))
        return list(self.database.read(lambda tx: tx.all(select(table).order_by(first))))

    def deposit_of(self, account_id: int) -> Row[Any]:
        return self.database.read(lambda tx: tx.one(select(deposit).where(deposit.c.account_id == account_id)))

    def state(self, withdrawal_id: int) -> str:
        return str(self.row(withdrawals, withdrawal_id).state)

    def payment_of(self, withdrawal_id: int) -> Row[Any]:
        return self.row(payment, self.row(withdrawals, withdrawal_id).payment_id)

    def alarms(self) -> set[tuple[str, str]]:
        """(name, subject) of those that are open."""
        return {(row.name, row.subject) for row in self.rows(alarm) if row.open == 1}

    def run_task(self, work: str) -> None:
        """Run one of the chain's tasks now."""
        name, table = f"{work}:{self.name}", self.runtime.sagas["task"].table
        row_id = self.database.read(lambda tx: tx.value(select(table.c.id).where(table.c.name == name)))
        self.runtime.advance("task", row_id, woken=True)

    def event_types(self) -> list[str]:
        return [row.type for row in self.rows(event)]

    def frozen(self, account_id: int) -> str | None:
        return self.row(account, account_id).frozen_reason

    def check_invariants(self) -> None:
        """I1, I2, I6, I7: the books add up, and agree with the chain to the atom and with the ownership histories."""
        assert self.database.read(balances.faults) == []
        assert ownership_verify.verify(self.database).faults == ()
        for report in reconcile.reconcile(self.services, self.name):
            assert report.unexplained_units == 0, report


def pay(chain: FakeChain, address: str, units: int) -> str:
    """An outside payment, in the pool."""
    return chain.pay(Output(address, units))


def _project(tx: Tx) -> Caller:
    values = {"public_id": new_id("pj"), "name": f"shop-{secrets.token_hex(4)}", "created_at": tx.now}
    project_id = tx.insert(insert(project).values(values))
    return Caller(project_id, None, "shop", "shop")
