"""An exchange's side of orders: it keeps what it was sent, and shows it by the client's id."""

from __future__ import annotations

import json
from typing import Any

from tests.stranger import Stranger, kraken

KRAKEN_PLACE = "/0/private/AddOrder"
COINBASE_PLACE = "/orders"


class KrakenOrders:
    """Immediate-or-cancel orders of Kraken: `filled` is the part of each that is traded, in percent."""

    def __init__(self, stranger: Stranger, filled: int = 100) -> None:
        kraken(stranger)
        self.stranger = stranger
        self.filled = filled
        self.open = False  #: as if the matching took its time
        self.hidden = False  #: as if its lists lagged behind
        self.orders: list[dict[str, str]] = []
        stranger.answers |= {
            KRAKEN_PLACE: self._place,
            "/0/private/OpenOrders": lambda asked: self._list("open", asked, shown=self.open),
            "/0/private/ClosedOrders": lambda asked: self._list("closed", asked, shown=not self.open),
        }

    @property
    def sent(self) -> int:
        """How often an order came here, whatever became of it."""
        return self.stranger.count(KRAKEN_PLACE)

    def _place(self, asked: dict[str, str]) -> Any:
        if any(order["cl_ord_id"] == asked["cl_ord_id"] for order in self.orders):
            return {"error": ["EOrder:Duplicate cl_ord_id"]}
        self.orders.append(asked)
        return {"error": [], "result": {"descr": {"order": ""}, "txid": [f"OABC{len(self.orders)}-DEF-GHI"]}}

    def _list(self, word: str, asked: dict[str, str], *, shown: bool) -> Any:
        found = {}
        for number, order in enumerate(self.orders, 1):
            if shown and not self.hidden and order["cl_ord_id"] == asked.get("cl_ord_id"):
                found[f"OABC{number}-DEF-GHI"] = self._show(order)
        return {"error": [], "result": {word: found, "count": len(found)}}

    def _show(self, order: dict[str, str]) -> dict[str, Any]:
        volume = int(order["volume"].replace(".", "").lstrip("0") or 0) * self.filled
        places = len(order["volume"].partition(".")[2]) + 2
        done = f"{volume // 10**places}.{volume % 10**places:0{places}d}"
        status = "open" if self.open else "closed" if self.filled == 100 else "canceled"
        words = {"pair": "XBTUSD", "type": order["type"], "ordertype": "limit", "price": order["price"], "price2": "0"}
        numbers = {"vol": order["volume"], "vol_exec": done, "cost": "0", "fee": "0", "price": "60001.5"}
        return numbers | {
            "status": status,
            "cl_ord_id": order["cl_ord_id"],
            "descr": words,
            "opentm": 1.0,
            "oflags": "",
        }


class CoinbaseOrders:
    """Coinbase Exchange: an order is asked for by `client:<id>`, and a second one of the same id is refused."""

    def __init__(self, stranger: Stranger) -> None:
        self.stranger = stranger
        product = {"id": "BTC-USD", "base_currency": "BTC", "quote_currency": "USD", "status": "online"}
        sizes = {"base_increment": "0.00000001", "quote_increment": "0.01", "min_market_funds": "1"}
        stranger.answers |= {"/products": [product | sizes], "/currencies": [], COINBASE_PLACE: self._place}

    @property
    def sent(self) -> int:
        return self.stranger.count(COINBASE_PLACE)

    def _place(self, asked: dict[str, str]) -> Any:
        path = f"/orders/client:{asked['client_oid']}"
        shown = {"id": "d0c5340b-6d6c-49d9-b567-48c4bfca13d2", "filled_size": asked["size"], "status": "done"}
        shown |= {"done_reason": "filled", "executed_value": "6000.00", "fill_fees": "1.5", "settled": True}
        self.stranger.answers[path] = json.loads(json.dumps(asked)) | shown
        return asked | {"id": shown["id"], "filled_size": "0", "executed_value": "0", "status": "pending"}
