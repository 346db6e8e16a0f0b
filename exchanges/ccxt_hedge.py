"""Orders on an exchange through ccxt. Imported by the rates worker only, and only where hedging is switched on.

Only exchanges whose client order id ccxt really passes on and can look up are here: of others (Coinbase's retail API is
one) it makes up an id of its own, and a reply that is lost would be a second order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

import ccxt

from exchanges.ccxt_source import open_exchange
from exchanges.protocol import FoundOrder, Order, OrderRefused, OutcomeUnknown, VenueUnavailable
from ledger.crashpoint import crashpoint

#: How an order is found by its client id: in the lists of open and of closed ones, or directly.
_LISTED, _DIRECT = "listed", "direct"
VENUES = {"kraken": _LISTED, "coinbaseexchange": _DIRECT}

#: Answers to the very call that mean that there is no order. A duplicate id is none of them: there is one.
_CERTAIN = (
    ccxt.InsufficientFunds,
    ccxt.InvalidOrder,
    ccxt.AuthenticationError,
    ccxt.ArgumentsRequired,
    ccxt.BadSymbol,
    ccxt.NotSupported,
    ccxt.MarketClosed,
    ccxt.RestrictedLocation,
)


class CcxtVenue:
    """A `HedgeVenue`. `secrets` are ccxt's names of the key's parts."""

    def __init__(self, name: str, secrets: Mapping[str, str], base_url: str | None = None) -> None:
        if name not in VENUES:
            raise LookupError(f"{name} is none of {', '.join(VENUES)}")
        self.name = name
        # As text: of an order in Decimal mode ccxt loses the average price, and makes up a cost from the limit.
        self._exchange = open_exchange(name, base_url=base_url, number=str, enableLastJsonResponse=True, **secrets)

    def place(self, order: Order) -> str:
        """As the protocol says. The call is made once: ccxt repeats nothing by itself, and neither do we."""
        amount, limit = self._steps(order)
        rest = {"clientOrderId": order.client_order_id, "timeInForce": "IOC"}
        try:
            crashpoint("hedge.place.before")
            placed = self._exchange.create_order(order.pair, "limit", order.side, amount, limit, rest)
            crashpoint("hedge.place.after")
        except ccxt.DuplicateOrderId as error:
            raise OutcomeUnknown(type(error).__name__) from None
        except _CERTAIN as error:
            raise OrderRefused(_told(error)) from None
        except Exception as error:  # noqa: BLE001  # whatever else came back, the order may stand
            raise OutcomeUnknown(type(error).__name__) from None
        venue_order_id = placed.get("id")
        if not isinstance(venue_order_id, str) or not venue_order_id:
            raise OutcomeUnknown("an answer without an id")
        return venue_order_id

    def find(self, pair: str, client_order_id: str) -> FoundOrder | None:
        try:
            mine = [each for each in self._shown(pair, client_order_id) if each.get("clientOrderId") == client_order_id]
        except ccxt.OrderNotFound:
            return None
        except Exception as error:  # noqa: BLE001  # a question that changes nothing is simply asked again
            raise VenueUnavailable(f"{self.name}: {_told(error)}") from None
        if len(mine) > 1:
            raise VenueUnavailable(f"{self.name} shows {len(mine)} orders of one client id")
        return self._found(mine[0]) if mine else None

    def _steps(self, order: Order) -> tuple[Decimal, Decimal]:
        """Amount and limit as the venue takes them. Nothing is sent yet, so every trouble here is a certain no."""
        try:
            self._exchange.load_markets()
            market = self._exchange.market(order.pair)
            amount = Decimal(self._exchange.amount_to_precision(order.pair, format(order.amount, "f")))
            limit = Decimal(self._exchange.price_to_precision(order.pair, format(order.limit, "f")))
            least, cost = (_number(market["limits"][name]["min"]) for name in ("amount", "cost"))
        except Exception as error:  # noqa: BLE001  # no order was sent
            raise OrderRefused(_told(error)) from None
        if amount <= 0 or (least is not None and amount < least) or (cost is not None and amount * limit < cost):
            raise OrderRefused(f"{amount} {order.pair} is less than {self.name} trades")
        return amount, limit

    def _shown(self, pair: str, client_order_id: str) -> Iterable[Mapping[str, Any]]:
        wanted = {"clientOrderId": client_order_id}
        if VENUES[self.name] == _DIRECT:
            return self._read([self._exchange.fetch_order(None, pair, wanted)])
        there = self._read(self._exchange.fetch_open_orders(pair, params=wanted))
        return [*there, *self._read(self._exchange.fetch_closed_orders(pair, params=wanted))]

    def _read(self, found: list[Any]) -> list[Any]:
        """What ccxt made of the last answer. It takes a page that is no JSON for an empty list."""
        if not isinstance(self._exchange.last_json_response, dict):
            raise ccxt.BadResponse("no JSON")
        return found

    def _found(self, shown: Mapping[str, Any]) -> FoundOrder:
        filled, status = _number(shown.get("filled")), shown.get("status")
        known = status in ("open", "closed", "canceled", "expired", "rejected")
        if not known or filled is None or filled < 0:
            raise VenueUnavailable(f"{self.name} shows an order that cannot be read")
        average, cost = _number(shown.get("average")), _number(shown.get("cost"))
        return FoundOrder(str(shown["id"]), status != "open", filled, average, cost)


def _number(text: Any) -> Decimal | None:
    """None for what is no number."""
    try:
        found = Decimal(text) if isinstance(text, str) else None
    except InvalidOperation:
        return None
    return found if found is not None and found.is_finite() else None


def _told(error: Exception) -> str:
    """Its kind, and of ccxt's own errors the beginning of what it says (the venue's answer, never our key)."""
    return f"{type(error).__name__}: {error}"[:200] if isinstance(error, ccxt.BaseError) else type(error).__name__
