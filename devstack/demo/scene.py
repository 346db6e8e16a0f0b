"""Who is on stage, and what all chapters need: the customers' books compared, and a block waited for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from devstack.demo.desk import Desk
from devstack.demo.figures import Checks, Customer, Totals, btc
from devstack.demo.outside import Outside
from devstack.demo.shop import Shop
from devstack.demo.teller import Teller


@dataclass
class Scene:
    tell: Teller
    desk: Desk
    outside: Outside
    shop: Shop
    checks: Checks = field(default_factory=Checks)
    totals: Totals = field(default_factory=Totals)

    def customer(self, name: str) -> Customer:
        return self.totals.customers[name]

    def balance(self, who: Customer) -> dict[str, int]:
        """What the API says the customer has, in satoshi; zeros before anything came in."""
        found = self.shop.get(f"/v1/accounts/{who.account}/balances")["data"]
        mine: dict[str, Any] = next((b for b in found if b["asset"] == "BTC"), {})
        return {kind: units(mine[kind]) if mine else 0 for kind in ("available", "held", "pending", "receivable")}

    def compare(self, *names: str) -> None:
        """That the books have exactly what the demo counted for these customers, and tells it."""
        shown = []
        for who in [self.customer(name) for name in names or self.totals.customers]:
            found = self.balance(who)
            self.checks.same(f"{who.name}: available", btc(found["available"]), btc(who.available))
            self.checks.same(f"{who.name}: held", btc(found["held"]), btc(who.held))
            shown.append(f"{who.name} {btc(found['available'])}" + (f" + {btc(who.held)} held" if who.held else ""))
        self.tell.ledger(", ".join(shown))

    def mine(self) -> str:
        """One more block; its hash."""
        block = self.outside.mine()
        self.tell.chain(f"block {self.outside.height}  {block}")
        return block


def units(money: Mapping[str, str]) -> int:
    """Satoshi of an amount as the API shows it."""
    return int(money["units"])
