"""Requests alone: the house and its customers have money by the books, no chain is behind it and no block comes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from jobs import accounts, bootstrap
from jobs.ownership import verify as ownership_verify
from jobs.services import Services
from jobs.swap import inventory
from jobs.sweeper import Sweeper
from ledger import balances, postings
from ledger.accounts import Owner, house
from ledger.db import Tx
from ledger.postings import Leg
from tests.flows.engine import MAC, _project
from tests.flows.trade_engine import PRICES, TradeEngine
from wallets.fake import FakeAddressBook
from wallets.fake.addresses import MONERO_PREFIX


@dataclass
class BooksEngine(TradeEngine):
    """A `TradeEngine` at a tenth of the cost. Withdrawals can be asked for, and stay queued."""

    queues: tuple[str, ...] = ("tasks",)

    def __post_init__(self) -> None:
        self.chains = {"BTC": self.chain, "XMR": self.monero}
        books = {"bitcoin": FakeAddressBook(), "monero": FakeAddressBook(MONERO_PREFIX, 12)}
        self.services = Services(self.database, "test", books.__getitem__, MAC)
        self.runtime = bootstrap.runtime(self.services)
        self.caller = self.database.run(_project, "test_project")
        for code, units in self.stock_units.items():
            self.give(house("capital"), code, units)
            self.database.run(lambda tx, c=code, n=units: inventory.fund(tx, c, n, "test"), "test_stock")
        self.set_policy("BTC", withdrawal_fee_units=2_000)
        self.set_rates(**PRICES)

    def give(self, owner: Owner, code: str, units: int) -> None:
        """Money from outside, as a deposit books it."""

        def unit(tx: Tx) -> None:
            leg = Leg(house("treasury_hot"), owner, units)
            postings.post(tx, f"test:{owner}:{code}:{tx.now}", "deposit", code, [leg], ("test", 0))

        self.database.run(unit, "test_give")

    def account_of(self, kind: str, name: str) -> int:
        return int(self.database.run(lambda tx: accounts.create(tx, self.caller, name, kind).id, "test_account"))

    def funded_in(self, **units: int) -> int:
        account_id = self.account()
        for code, amount in units.items():
            self.give((account_id, "available"), code, amount)
        return account_id

    def run_due(self, names: Collection[str]) -> None:
        """Have these tasks run once."""
        self._set_due(names, 1)
        Sweeper(self.runtime, "tasks").sweep()

    def check_invariants(self) -> None:
        """I1 and I2; there is no chain to agree with."""
        assert self.database.read(balances.faults) == []
        assert ownership_verify.verify(self.database).faults == ()
