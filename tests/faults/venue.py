"""An exchange for hedges that outlives every death: each order that reaches it is one line of a file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from exchanges.protocol import FoundOrder, Order
from ledger.crashpoint import crashpoint


@dataclass(frozen=True)
class FileVenue:
    """It fills whatever it is sent, at the limit, and refuses nothing: not even what it was sent before."""

    path: Path
    name: str = "file"

    def place(self, order: Order) -> str:
        crashpoint("hedge.place.before")
        line = {"client": order.client_order_id, "amount": str(order.amount), "limit": str(order.limit)}
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        crashpoint("hedge.place.after")
        return f"venue-{order.client_order_id}"

    def find(self, pair: str, client_order_id: str) -> FoundOrder | None:
        for order in self.orders():
            if order["client"] == client_order_id:
                amount, limit = Decimal(order["amount"]), Decimal(order["limit"])
                return FoundOrder(f"venue-{client_order_id}", True, amount, limit, amount * limit)
        return None

    def orders(self) -> list[dict[str, str]]:
        """All that it was ever sent, in order."""
        return [json.loads(line) for line in self.path.read_text().splitlines()] if self.path.exists() else []
