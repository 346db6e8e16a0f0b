"""A project, its accounts and their money, for tests of the ledger that need no chain."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from sqlalchemy import insert, select

from jobs import accounts as account_jobs
from jobs import withdrawal
from jobs.caller import Caller
from jobs.row_mac import RowMac
from jobs.services import Services
from ledger import accounts, balances, policy, postings
from ledger.db import Database, Tx
from ledger.ids import new_id
from ledger.postings import Leg
from ledger.schema import hold, hold_end, project
from wallets.fake import FakeAddressBook
from wallets.fake.addresses import derive

MAC = RowMac(b"m" * 32)
TREASURY = accounts.house("treasury_hot")


@dataclass
class Books:
    """Works on a database that other tests may share: it looks at its own accounts only, except in `check`."""

    database: Database
    caller: Caller = field(init=False)
    services: Services = field(init=False)

    def __post_init__(self) -> None:
        book = FakeAddressBook()
        self.services = Services(self.database, "test", lambda _: book, MAC)
        self.caller = self.database.run(_project, "test_project")

    def account(self, units: int = 0) -> int:
        """A customer's account, with this much to spend."""
        row = self.database.run(lambda tx: account_jobs.create(tx, self.caller, unique(), "user"), "test_account")
        if units:
            self.fund(row.id, units)
        return int(row.id)

    def fund(self, account_id: int, units: int) -> None:
        self.post(unique(), [Leg(TREASURY, (account_id, "available"), units)])

    def post(self, key: str, legs: list[Leg], asset: str = "BTC") -> int | None:
        return self.database.run(lambda tx: postings.post(tx, key, "test", asset, legs, ("test", 1)), "test_post")

    def move(self, giver: int, taker: int, units: int, key: str | None = None) -> int | None:
        return self.post(key or unique(), [Leg((giver, "available"), (taker, "available"), units)])

    def units(self, account_id: int, kind: str = "available") -> int:
        return self.database.read(lambda tx: balances.get(tx, (account_id, kind), "BTC"))

    def order(self, account_id: int, units: int, **more: object) -> withdrawal.Order:
        wish: dict[str, object] = {"address": derive(f"outside/{unique()}"), "reference": unique()} | more
        return withdrawal.Order(account_id, "BTC", units, **wish)  # type: ignore[arg-type]

    def withdraw(self, order: withdrawal.Order) -> int:
        return self.database.run(
            lambda tx: withdrawal.request(tx, self.caller, order, self.services), "test_request"
        ).id

    def set_policy(self, **rules: object) -> None:
        for name, value in rules.items():
            self.database.run(lambda tx, n=name, v=value: policy.change(tx, "BTC", n, v, "test"), "test_policy")

    def check(self) -> None:
        """I1, I2 and I6 over the whole database."""
        assert self.database.read(balances.faults) == []
        assert self.database.read(_held_without_hold) == {}


def unique() -> str:
    return secrets.token_hex(10)


def _held_without_hold(tx: Tx) -> dict[int, tuple[int, int]]:
    """account -> (held balance, sum of its open holds) wherever the two differ."""
    open_holds: dict[int, int] = {}
    query = select(hold.c.account_id, hold.c.units).outerjoin(hold_end, hold_end.c.hold_id == hold.c.id)
    for row in tx.all(query.where(hold_end.c.hold_id.is_(None), hold.c.asset == "BTC")):
        open_holds[row.account_id] = open_holds.get(row.account_id, 0) + row.units
    ids = {row.account_id for row in tx.all(select(hold.c.account_id).distinct())}
    found = {i: (balances.get(tx, (i, "held"), "BTC"), open_holds.get(i, 0)) for i in ids}
    return {i: pair for i, pair in found.items() if pair[0] != pair[1]}


def _project(tx: Tx) -> Caller:
    values = {"public_id": new_id("pj"), "name": f"shop-{unique()}", "created_at": tx.now}
    return Caller(tx.insert(insert(project).values(values)), None, "shop", "shop")
