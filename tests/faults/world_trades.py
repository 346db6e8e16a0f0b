"""Coffer with two chains in one process: its workers of every queue, run one after the other."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from flask import Flask
from sqlalchemy import Table, insert, update

import exchanges.registry
from jobs import inventory, treasury
from jobs.assets import DatabaseDirectory
from ledger.money import format_units
from ledger.schema import rate
from tests.faults.chain_trades import PRICES
from tests.faults.place import Place
from tests.faults.world import HOUR_US, World
from wallets import registry
from wallets.protocol import Output


class TradeWorld(World):
    """What trades are made of, on top of what every world has. Amounts are atomic units."""

    def __init__(self, place: Place, app: Flask | None = None) -> None:
        super().__init__(place, app)
        self.services.wallets = {
            chain: registry.wallet(chain, self.settings, DatabaseDirectory(self.database, chain))
            for chain in self.kind.chains
        }
        self.services.desk = exchanges.registry.desk(self.settings)

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

    # What a shop asks for

    def post(self, name: str, path: str, holder: str = "ann", **body: Any) -> Any:
        """A call whose `account`-like fields are names of earlier calls."""
        return self.ask(name, path, holder, **body)

    def amount(self, units: int, code: str) -> str:
        return format_units(units, self.asset(code).decimals)

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
        queue = "rates" if name == "rates" else "webhooks" if name == "fanout" else "tasks"
        self._let_seconds_pass()
        self._run_tasks(queue, name)

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
        self._run_tasks("tasks", "sequence", "requests", "quotes", "inventory", "snapshot", "audit", "heads", "tidy")

    def over(self, table: Table, name: str, *moments: str) -> None:
        """These moments of the row that a call made are over."""
        mine = table.c.public_id == self.client.id_of(name)
        self._raw(update(table).where(mine).values(dict.fromkeys(moments, 1)))
