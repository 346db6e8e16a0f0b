"""A shop in the middle of its day: two people with money, and whatever a call needs to have something to act on.

Each method makes a fresh thing in the state that its name says, through the API wherever the API can.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import insert, select

from api.parts import Parts
from jobs import bootstrap
from jobs.runtime import Runtime
from jobs.swap import inventory
from ledger import accounts, history, postings
from ledger.db import Database, Tx
from ledger.ids import new_id
from ledger.postings import Leg
from ledger.schema import escrow, event, rate, task, webhook_delivery
from tests.api.shop import Shop
from tests.api.test_swaps import DECIMALS, PRICES, STOCK
from tests.clock import Clock
from wallets.fake.addresses import derive

PAYEE = derive("outside/town")
URL = "https://shop.example/hooks"
#: What the buyer begins with, satoshi; the vendor has as much.
PURSE = 10 * 10**8


@dataclass
class Town:
    """`buyer` and `vendor` are accounts of `shop`; `stranger` belongs to another holder of the same project."""

    shop: Shop
    make_shop: Callable[..., Shop]
    database: Database
    fund: Callable[..., None]
    clock: Clock

    def __post_init__(self) -> None:
        self.buyer, self.vendor = self.shop.account(), self.shop.account()
        for owner in (self.buyer, self.vendor):
            self.fund(owner, PURSE)

    @property
    def runtime(self) -> Runtime:
        parts: Parts = self.shop.app.extensions["coffer"]
        return Runtime(self.database, bootstrap.sagas(), parts.services)

    def post(self, path: str, body: Any = None, shop: Shop | None = None) -> Any:
        answer = (shop or self.shop).post(path, body)
        assert answer.status_code < 300, answer.text
        return answer.json

    # Bodies

    def transfer(self, amount: str = "0.1") -> dict[str, Any]:
        return {"from_account": self.buyer, "to_account": self.vendor, **self._money(amount)}

    def withdrawal(self, amount: str = "0.1") -> dict[str, Any]:
        return {"account": self.buyer, "address": PAYEE, **self._money(amount)}

    def order(self, **changes: Any) -> dict[str, Any]:
        return {"buyer": self.buyer, "vendor": self.vendor, **self._money("0.1")} | changes

    def _money(self, amount: str) -> dict[str, Any]:
        return {"asset": "BTC", "amount": amount, "reference": secrets.token_hex(8)}

    # Things

    def queued(self) -> str:
        return str(self.post("/v1/withdrawals", self.withdrawal())["id"])

    def awaiting_approval(self) -> str:
        """A withdrawal of another holder's key that two people must approve."""
        self.fund(self.buyer, 50 * 10**8)
        asker = self.make_shop(project_id=self.shop.project_id, holder="dora")
        made = self.post("/v1/withdrawals", self.withdrawal("20"), asker)
        assert made["status"] == "pending_approval"
        return str(made["id"])

    def escrow(self, **changes: Any) -> str:
        return str(self.post("/v1/escrows", self.order(**changes))["id"])

    def funded(self, **changes: Any) -> str:
        made = self.escrow(**changes)
        self.post(f"/v1/escrows/{made}/fund", {})
        return made

    def disputed(self) -> str:
        made = self.funded()
        self.post(f"/v1/escrows/{made}/dispute", {})
        return made

    def undecided(self) -> str:
        """An escrow that got half its price until its funding deadline, and waits for a person's word."""
        soon = datetime.fromtimestamp(self.database.now() / 1e6 + 3_600, UTC).isoformat()
        made = self.escrow(on_underpaid="hold", funding_deadline=soon)
        self.post(f"/v1/escrows/{made}/fund", {"amount": "0.05"})
        self.clock.forward(hours=2)
        row_id = self.database.read(lambda tx: tx.value(select(escrow.c.id).where(escrow.c.public_id == made)))
        self.runtime.advance("escrow", row_id)
        assert self.shop.get(f"/v1/escrows/{made}").json["status_reason"] == "underpaid"
        return made

    def market(self) -> None:
        """Rates of now, and something to give."""

        def unit(tx: Tx) -> None:
            for coin, price in PRICES.items():
                row = {"asset": coin, "currency": "USD", "price": price, "spread_ppm": 0, "sources": []}
                tx.execute(insert(rate).values(row | {"quoted_at": tx.now, "at": tx.now}))
                units = STOCK[coin] * 10 ** DECIMALS[coin]
                leg = Leg(accounts.house("treasury_hot"), accounts.house("capital"), units)
                postings.post(tx, new_id("ts"), "deposit", coin, [leg], ("test", 0))
                inventory.fund(tx, coin, units, "tests")

        self.database.run(unit, "market")

    def quote(self) -> str:
        self.market()
        return str(self.post("/v1/quotes", {"sell": "BTC", "buy": "ETH", "sell_amount": "0.1"})["id"])

    def swap(self, quote: str) -> dict[str, Any]:
        return {"quote": quote, "account": self.buyer, "reference": secrets.token_hex(8)}

    def endpoint(self) -> str:
        return str(self.post("/v1/webhook_endpoints", {"url": URL})["id"])

    def delivered(self) -> tuple[str, str]:
        """An event and its delivery, which is over: given up, as its endpoint was off for a while."""
        endpoint = self.endpoint()
        about = f"tr_{secrets.token_hex(16)}"
        told = ("transfer.completed", about, {"id": about})
        self.database.run(lambda tx: history.emit(tx, self.shop.project_id, *told), "town")
        while self.database.run(history.number_events, "sequence"):
            pass
        self.advance_task("fanout")
        (row,) = self.shop.get(f"/v1/webhook_deliveries?endpoint={endpoint}").json["data"]
        over = webhook_delivery.update().where(webhook_delivery.c.public_id == row["id"])
        self.database.run(lambda tx: tx.execute(over.values(state="failed", due_at=None)), "town")
        return row["event"], row["id"]

    def advance_task(self, name: str) -> None:
        row_id = self.database.read(lambda tx: tx.value(select(task.c.id).where(task.c.name == name)))
        self.runtime.advance("task", row_id, woken=True)

    def key(self) -> str:
        made = self.post("/v1/api_keys", {"name": "another", "scopes": ["accounts:read"]})
        return str(made["id"])

    def event(self) -> str:
        e = event.c
        newest = select(e.public_id).where(e.project_id == self.shop.project_id).order_by(e.id.desc()).limit(1)
        return str(self.database.read(lambda tx: tx.value(newest)))
