"""Two model chains behind one engine, for what passes from one asset to another: BTC on one, XMR on the other.

Rates are rows that a test writes; no exchange is asked. The house has inventory of both from the start, paid in from
outside, so that books and chains agree from the first moment.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from sqlalchemy import Table, insert, update

from jobs import bootstrap, treasury
from jobs.ownership import verify as ownership_verify
from jobs.reconcile import chain as reconcile
from jobs.services import Services
from jobs.signer import Signer
from jobs.swap import inventory
from jobs.sweeper import Sweeper
from ledger import balances
from ledger.accounts import house
from ledger.db import Tx
from ledger.money import BTC, XMR, Asset
from ledger.schema import rate, task
from tests import rates
from tests.flows.engine import MAC, Engine, _project
from wallets.fake import FakeAddressBook, FakeChain, FakeWallet
from wallets.fake.addresses import MONERO_PREFIX, derive

ASSETS: Mapping[str, Asset] = {"BTC": BTC, "XMR": XMR}
PRICES = {"BTC": "60000", "XMR": "150"}
#: What the house can give at the start: 5 BTC and 2000 XMR, worth the same.
INVENTORY = {"BTC": 5 * 10**8, "XMR": 2_000 * 10**12}
#: Blocks after which every deposit of a test is credited.
DEPTH = {"BTC": 6, "XMR": 30}
#: Tasks that others wait for.
MOVERS = ("scan:bitcoin", "scan:monero", "batch:bitcoin", "batch:monero", "sequence", "fanout")
#: Tasks that look after what has happened; with these at rest a tick takes a third of the time.
WATCHERS = {
    *(f"{work}:{chain}" for work in ("relock", "reconcile", "sync", "sweep", "hot") for chain in ("bitcoin", "monero")),
    *("snapshot", "audit", "heads", "mirror", "inventory", "hedge", "tidy"),
}
#: Written rates count as quoted this far ahead, so that no test depends on how long it takes.
AHEAD_US = 3_600 * 1_000_000


@dataclass
class TradeEngine(Engine):
    """`chain` is Bitcoin's model chain, `monero` the other. Withdrawals and deposits have the policies as installed but
    for the waits of payments."""

    monero: FakeChain = field(default_factory=lambda: FakeChain(prefix=MONERO_PREFIX))
    queues: tuple[str, ...] = ("bitcoin", "monero", "tasks", "rates", "webhooks")
    resting: set[str] = field(default_factory=lambda: {"rates"})  #: tasks that a tick leaves alone
    stock_units: Mapping[str, int] = field(default_factory=lambda: INVENTORY)

    def __post_init__(self) -> None:
        self.chains = {"BTC": self.chain, "XMR": self.monero}
        wallets = {"bitcoin": FakeWallet(self.chain), "monero": FakeWallet(self.monero, "coffer-xmr", "monero")}
        books = {"bitcoin": FakeAddressBook(), "monero": FakeAddressBook(MONERO_PREFIX, 12)}
        for chain in self.chains.values():
            if chain.tip.height < 110:
                chain.mine(110)
        signer = Signer(self.folder / "signer", MAC, {"BTC": 10_000 * 10**8, "XMR": 10**6 * 10**12}, self.cold())
        self.services = Services(self.database, "test", books.__getitem__, MAC, signer, wallets)
        self.services.cold_addresses = self.cold()
        self.runtime = bootstrap.runtime(self.services)
        self.caller = self.database.run(_project, "test_project")
        for wallet in wallets.values():
            bootstrap.adopt(self.services, wallet)
        for code in ASSETS:
            self.set_policy(code, payment_window_ms=0)
        self.set_policy("BTC", withdrawal_fee_units=2_000)
        self.tick()
        self.stock(self.stock_units)
        self.set_rates(**PRICES)

    def cold(self) -> dict[str, str]:
        return {"bitcoin": derive("cold"), "monero": derive("cold", MONERO_PREFIX)}

    # The house

    def stock(self, units: Mapping[str, int]) -> None:
        """An operator pays capital in from outside and sets it aside for swaps."""
        for code, amount in units.items():
            row = self.database.run(lambda tx, c=code: treasury.address_for(tx, self.services, c, "test"), "test_stock")
            self.chains[code].fund(row.address, amount, blocks=DEPTH[code])
        self.tick()
        for code, amount in units.items():
            self.database.run(lambda tx, c=code, n=amount: inventory.fund(tx, c, n, "test"), "test_stock")
            assert self.guarded("inventory", code) >= amount

    def guarded(self, kind: str, asset: str) -> int:
        """Of the house's `inventory` or `reserved`."""
        return self.database.read(lambda tx: balances.get(tx, house(kind), asset))

    def set_rates(self, *, age_seconds: int = 0, problem: str | None = None, **prices: str) -> None:
        """These prices in US dollars are the newest word on their assets: usable ones, unless they are said to be older
        than a minute or to have a `problem`."""
        self.database.run(lambda tx: _write_rates(tx, prices, age_seconds, problem), "test_rates")

    def no_rates(self) -> None:
        """Nobody has told a rate for a long time."""
        rates.age(self.database, 10**6)

    # Time and work

    def tick(self, times: int = 1) -> None:
        """As every engine's; tasks that look after others run once each time, and those in `resting` never."""
        for _ in range(times):
            self._let_time_pass()
            self._make_due("task")
            for _ in range(30):
                self._rest()
                if not sum(Sweeper(self.runtime, queue).sweep() for queue in self.queues):
                    break
                if not self._moving():
                    break
                self._wake(MOVERS)

    def _rest(self) -> None:
        self._set_due(sorted(self.resting), self.database.now() + AHEAD_US)

    def _wake(self, names: Collection[str]) -> None:
        self._set_due(names, 1)

    def _set_due(self, names: Collection[str], moment: int) -> None:
        statement = update(task).where(task.c.name.in_(names)).values(due_at=moment)
        self.database.run(lambda tx: tx.execute(statement), "test_clock")

    def let_pass(self, table: Table, row_id: int, *moments: str) -> None:
        """These moments of a row, such as `funding_deadline`, are over; its step runs at the next tick."""
        values = dict.fromkeys(moments, 1)
        self.database.run(lambda tx: tx.execute(update(table).where(table.c.id == row_id).values(values)), "test_clock")

    # What a shop does, and people outside

    def funded_in(self, **units: int) -> int:
        """An account with these amounts to spend, from credited deposits: `funded_in(BTC=10**8, XMR=10**12)`."""
        account_id = self.account()
        for code, amount in units.items():
            self.pay_in(self.address(account_id, ASSETS[code]).address, amount, code)
        self.tick()
        for code, amount in units.items():
            assert self.available(account_id, code) == amount
        return account_id

    def pay_in(self, address: str, units: int, asset: str, blocks: int | None = None) -> str:
        """Somebody outside pays, and so many blocks follow: enough for a credit, unless said otherwise. Its txid."""
        return self.chains[asset].fund(address, units, blocks=DEPTH[asset] if blocks is None else blocks)

    def outside(self, asset: str) -> str:
        """A fresh address on the asset's chain that no wallet here owns."""
        return self.chains[asset].outside_address()

    def settle(self, blocks: int = 12) -> None:
        """Payments under way leave, and are buried."""
        self.tick()
        for chain in self.chains.values():
            chain.mine(blocks)
        self.tick(2)

    # What a test looks at

    def received(self, address: str, asset: str) -> int:
        """Units that the chain pays to an address, whoever owns it."""
        return self.chains[asset].received(address)

    def check_invariants(self) -> None:
        assert self.database.read(balances.faults) == []
        assert ownership_verify.verify(self.database).faults == ()
        for name in ("bitcoin", "monero"):
            for report in reconcile.reconcile(self.services, name):
                assert report.unexplained_units == 0, report


def _write_rates(tx: Tx, prices: Mapping[str, str], age_seconds: int, problem: str | None) -> None:
    at = tx.now + AHEAD_US if not age_seconds else tx.now - age_seconds * 1_000_000
    for code, price in prices.items():
        source = {"source": "test", "price": price, "used": problem is None}
        values = {
            "asset": code,
            "currency": "USD",
            "problem": problem,
            "spread_ppm": 0,
            "sources": [source],
            "at": tx.now,
        }
        decided = {"price": None if problem else str(Decimal(price)), "quoted_at": None if problem else at}
        tx.execute(insert(rate).values(values | decided))
