"""Coffer with two chains in one process: its workers of every queue, run one after the other."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from flask import Flask
from sqlalchemy import Table, insert, update

import exchanges.registry
from exchanges.protocol import Hedging
from jobs import treasury
from jobs.assets import DatabaseDirectory
from jobs.hedge import resolve
from jobs.swap import inventory
from ledger.money import format_units
from ledger.schema import address, hedge, rate
from tests.faults import moments
from tests.faults.chain_trades import ORDERS, PRICES
from tests.faults.place import Place
from tests.faults.venue import FileVenue
from tests.faults.world import HOUR_US, World
from wallets import registry
from wallets.protocol import Output


class TradeWorld(World):
    """What trades are made of, on top of what every world has. Amounts are atomic units."""

    def __init__(self, place: Place, app: Flask | None = None) -> None:
        super().__init__(place, app)
        self._hook = place.urls["hook"]
        self.services.wallets = {
            chain: registry.wallet(chain, self.settings, DatabaseDirectory(self.database, chain))
            for chain in self.kind.chains
        }
        self.services.desk = exchanges.registry.desk(self.settings)
        self._venue = FileVenue(place.path / ORDERS)
        self.services.hedging = Hedging(self._venue, "USD", {"BTC": Decimal(10)})
        moments.go_ahead(int(self.client.notes.get(_AHEAD, 0)))

    # Before a flow begins

    def stock(self, code: str, units: int) -> None:
        """Somebody pays the house, and an operator sets it aside for swaps."""
        row = self.database.run(lambda tx: treasury.address_for(tx, self.services, code, "test"), "test_stock")
        self.client.note(f"stock-{code}", row.address)
        self.outside.pay([Output(row.address, units)])

    def to_inventory(self, code: str, units: int) -> None:
        self.database.run(lambda tx: inventory.fund(tx, code, units, "test"), "test_stock")

    def write_rates(self, **prices: str) -> None:
        """The newest word on each asset, usable for as long as a case can take."""
        at = self.database.now() + 24 * 30 * HOUR_US
        for code, price in (PRICES | prices).items():
            source = {"source": "test", "price": price, "used": True}
            values = {"asset": code, "currency": "USD", "price": str(Decimal(price)), "spread_ppm": 0, "at": at}
            self._raw(insert(rate).values(values | {"sources": [source], "quoted_at": at}))

    def plan(self) -> None:
        """Remember a moment that is in the future whenever it is asked for."""
        far = datetime.fromtimestamp(self.database.now() / 1e6, UTC) + timedelta(days=300)
        self.client.note("later", far.isoformat(timespec="seconds"))

    # What a shop asks for

    def escrow(self, name: str, buyer: str, vendor: str, units: int, **terms: Any) -> None:
        """In BTC. A moment named `later` is far ahead, and the same at each repeat."""
        terms = {key: self.client.noted(value) if value == "later" else value for key, value in terms.items()}
        ends = {"buyer": self.client.id_of(buyer), "vendor": self.client.id_of(vendor)}
        amount = self.amount(units, "BTC")
        self.ask(name, "escrows", **ends, asset="BTC", amount=amount, reference=name, **terms)

    def quote(self, name: str, sell: str, buy: str, units: int, **more: Any) -> None:
        self.ask(name, "quotes", sell=sell, buy=buy, sell_amount=self.amount(units, sell), **more)

    def swap(self, name: str, quote: str, account: str, **terms: Any) -> None:
        """Payees are named as those of withdrawals."""
        for field in {"payout_address", "refund_address"} & terms.keys():
            terms[field] = self.outside.payee(terms[field])
        ids = {"quote": self.client.id_of(quote), "account": self.client.id_of(account)}
        self.ask(name, "swaps", **ids, reference=name, **terms)

    def endpoint(self, name: str) -> None:
        """Where the shop wants to hear of escrows."""
        self.ask(name, "webhook_endpoints", url=self._hook, events=["escrow.*"])

    def amount(self, units: int, code: str) -> str:
        return format_units(units, self.asset(code).decimals)

    def _address(self, name: str) -> str:
        """Also the one that an escrow or a swap waits at."""
        answer = self.client.answer_of(name)
        return str((answer.get("deposit") or answer)["address"])

    # Time and work

    def read(self, *chains: str) -> None:
        """These chains' workers read them, and send what is due; then the flows that belong to no chain go on."""
        self._let_seconds_pass()
        for chain in chains:
            self._run_tasks(chain, f"scan:{chain}", f"batch:{chain}")
        self._run_tasks("tasks")

    def work(self) -> None:
        """Seconds later: all of that on both chains, until payments that the flows asked for have left."""
        self.read(*self.kind.chains)
        for chain in self.kind.chains:
            self._run_tasks(chain, f"batch:{chain}")
        self._run_tasks("tasks")

    def turn(self) -> None:
        """Only the flows that belong to no chain."""
        self._let_seconds_pass()
        self._run_tasks("tasks")

    def run_task(self, name: str) -> None:
        """One of the tasks that belong to no chain, and what it makes due."""
        queue = "rates" if name in ("rates", "hedge") else "webhooks" if name == "fanout" else "tasks"
        self._let_seconds_pass()
        self._run_tasks(queue, name)

    def trade(self) -> None:
        """The rates worker goes on with orders."""
        self._let_seconds_pass()
        self._run_tasks("rates")

    def close_hedges(self) -> None:
        """An operator reads the exchange's own pages and says what became of orders that nobody else can tell."""
        for row in self.rows(hedge):
            if row.state == "review":
                found = self._venue.find(row.symbol, row.client_order_id)
                filled = Decimal(0) if found is None else found.filled
                self.database.run(lambda tx, r=row, f=filled: resolve.close(tx, r.public_id, f, "test"), "test_close")  # type: ignore[misc]

    def work_for_hours(self) -> None:
        for _ in range(2):
            for table in self.rows_of_work:
                self._raw(update(table).where(table.c.due_at.is_not(None)).values(due_at=1))
            for chain in self.kind.chains:
                self._run_tasks(chain, *(f"{work}:{chain}" for work in ("scan", "batch", "watch", "relock")))
            self._run_tasks("tasks")

    def close_the_day(self) -> None:
        for chain in self.kind.chains:
            self._run_tasks(chain, f"reconcile:{chain}")
        self._run_tasks("tasks", "requests", "quotes", "inventory", "sequence", "snapshot", "audit", "heads", "tidy")

    def over(self, table: Table, name: str, *moments: str) -> None:
        """These moments of the row that a call made are over, as those of its address."""
        mine = table.c.public_id == self.client.id_of(name)
        self._raw(update(table).where(mine).values(dict.fromkeys(moments, 1)))
        if self.client.answer_of(name).get("address") is not None:
            self._raw(update(address).where(address.c.address == self._address(name)).values(expires_at=1))

    def forward(self, minutes: int) -> None:
        """The database's clock goes on by so much, for this life and all after it."""
        self.client.note(_AHEAD, str(minutes * 60_000_000))
        moments.go_ahead(minutes * 60_000_000)


_AHEAD = "clock ahead"
