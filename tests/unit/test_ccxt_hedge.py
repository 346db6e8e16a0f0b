"""Orders through ccxt on servers that answer as exchanges do: what is certain, what is not, and never twice."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from exchanges import ccxt_source
from exchanges.ccxt_hedge import CcxtVenue
from exchanges.protocol import Order, OrderRefused, OutcomeUnknown, VenueUnavailable
from tests.stranger import CUT, GARBAGE, HANG, Stranger, strangers
from tests.stranger_orders import COINBASE_PLACE, KRAKEN_PLACE, CoinbaseOrders, KrakenOrders

CLIENT_ID = "0f8fad5b-d9cb-469f-a165-70867728950e"
SECRETS = {"apiKey": "key", "secret": base64.b64encode(b"s" * 32).decode(), "password": "pass"}
ORDER = Order(CLIENT_ID, "BTC/USD", "buy", Decimal("0.123456789"), Decimal("60600.126"))


@pytest.fixture
def server() -> Iterator[Stranger]:
    with strangers(lambda stranger: None) as [stranger]:
        yield stranger


@pytest.fixture
def orders(server: Stranger) -> KrakenOrders:
    return KrakenOrders(server)


def venue(stranger: Stranger, name: str = "kraken") -> CcxtVenue:
    return CcxtVenue(name, SECRETS, stranger.url)


def test_an_order_is_a_limit_at_once_in_the_venues_steps(server: Stranger, orders: KrakenOrders) -> None:
    assert venue(server).place(ORDER) == "OABC1-DEF-GHI"
    (sent,) = orders.orders
    assert (sent["cl_ord_id"], sent["pair"], sent["type"]) == (CLIENT_ID, "XXBTZUSD", "buy")
    assert (sent["ordertype"], sent["timeinforce"]) == ("limit", "IOC")
    assert (sent["volume"], sent["price"]) == ("0.12345678", "60600.13")


@pytest.mark.parametrize(("filled", "expected"), [(100, "0.12345678"), (25, "0.030864195"), (0, "0")])
def test_it_is_found_by_its_client_id_with_what_was_filled(
    server: Stranger, orders: KrakenOrders, filled: int, expected: str
) -> None:
    orders.filled = filled
    asked = venue(server)
    asked.place(ORDER)
    found = asked.find("BTC/USD", CLIENT_ID)
    assert found is not None
    assert (found.done, found.filled, found.venue_order_id) == (True, Decimal(expected), "OABC1-DEF-GHI")
    assert found.average_price == Decimal("60001.5")
    assert found.cost == Decimal(expected) * Decimal("60001.5")


def test_an_open_one_is_not_done(server: Stranger, orders: KrakenOrders) -> None:
    orders.open = True
    asked = venue(server)
    asked.place(ORDER)
    found = asked.find("BTC/USD", CLIENT_ID)
    assert found is not None
    assert not found.done


def test_one_that_is_not_shown_is_none(server: Stranger, orders: KrakenOrders) -> None:
    assert venue(server).find("BTC/USD", CLIENT_ID) is None


def test_an_order_of_another_client_id_is_not_ours(server: Stranger, orders: KrakenOrders) -> None:
    asked = venue(server)
    asked.place(ORDER)
    closed = server.answers["/0/private/ClosedOrders"]
    server.answers["/0/private/ClosedOrders"] = lambda _: closed({"cl_ord_id": CLIENT_ID})  # a filter that is ignored
    assert asked.find("BTC/USD", "another") is None


@pytest.mark.parametrize("trouble", [CUT, HANG, 500, 502, 503, 429, GARBAGE, (CUT,), (HANG,), (500,), (GARBAGE,)])
def test_whatever_is_not_an_answer_leaves_it_unknown_and_is_not_repeated(
    server: Stranger, orders: KrakenOrders, trouble: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ccxt_source, "TIMEOUT_MS", 2_000)
    asked = venue(server)
    server.troubles[KRAKEN_PLACE] = [trouble]
    with pytest.raises(OutcomeUnknown):
        asked.place(ORDER)
    assert orders.sent == 1


@pytest.mark.parametrize(
    "answer",
    [
        {"error": ["EService:Unavailable"]},
        {"error": ["EGeneral:Internal error"]},
        {"error": ["EAPI:Rate limit exceeded"]},
        {"error": ["ESomething:Never seen before"]},
        {"error": [], "result": {"txid": []}},
        {"error": [], "result": {}},
        {},
    ],
)
def test_an_answer_that_does_not_say_no_leaves_it_unknown(
    server: Stranger, orders: KrakenOrders, answer: dict[str, Any]
) -> None:
    server.answers[KRAKEN_PLACE] = answer
    with pytest.raises(OutcomeUnknown):
        venue(server).place(ORDER)


def test_a_duplicate_id_is_no_refusal(server: Stranger, orders: KrakenOrders) -> None:
    asked = venue(server)
    asked.place(ORDER)
    with pytest.raises(OutcomeUnknown):
        asked.place(ORDER)


@pytest.mark.parametrize("error", ["EOrder:Insufficient funds", "EAPI:Invalid key", "EOrder:Order minimum not met"])
def test_a_clear_no_is_a_refusal(server: Stranger, orders: KrakenOrders, error: str) -> None:
    server.answers[KRAKEN_PLACE] = {"error": [error]}
    with pytest.raises(OrderRefused) as refused:
        venue(server).place(ORDER)
    assert SECRETS["secret"] not in str(refused.value)


@pytest.mark.parametrize(
    "order",
    [
        Order(CLIENT_ID, "BTC/USD", "buy", Decimal("0.000000001"), Decimal(60_000)),
        Order(CLIENT_ID, "BTC/USD", "buy", Decimal("0.00009"), Decimal(60_000)),
        Order(CLIENT_ID, "DOGE/USD", "buy", Decimal(1), Decimal(1)),
    ],
)
def test_what_the_venue_would_not_trade_is_not_sent(server: Stranger, orders: KrakenOrders, order: Order) -> None:
    with pytest.raises(OrderRefused):
        venue(server).place(order)
    assert orders.sent == 0


def test_a_venue_that_fails_before_anything_was_sent_refuses(server: Stranger, orders: KrakenOrders) -> None:
    server.troubles["/0/public/AssetPairs"] = [CUT]
    with pytest.raises(OrderRefused):
        venue(server).place(ORDER)
    assert orders.sent == 0


@pytest.mark.parametrize("trouble", [CUT, 500, GARBAGE])
def test_a_question_without_an_answer_is_asked_again_later(
    server: Stranger, orders: KrakenOrders, trouble: Any
) -> None:
    server.troubles["/0/private/ClosedOrders"] = [trouble]
    with pytest.raises(VenueUnavailable):
        venue(server).find("BTC/USD", CLIENT_ID)


def test_an_order_that_cannot_be_read_is_no_order_without_fills(server: Stranger, orders: KrakenOrders) -> None:
    asked = venue(server)
    asked.place(ORDER)
    show = orders._show
    orders._show = lambda order: show(order) | {"vol_exec": "much"}  # type: ignore[method-assign]
    with pytest.raises(VenueUnavailable):
        asked.find("BTC/USD", CLIENT_ID)


class TestCoinbase:
    def test_an_order_goes_out_under_our_id_and_is_found_by_it(self, server: Stranger) -> None:
        orders, asked = CoinbaseOrders(server), venue(server, "coinbaseexchange")
        server.troubles[COINBASE_PLACE] = [(CUT,)]
        with pytest.raises(OutcomeUnknown):
            asked.place(ORDER)
        found = asked.find("BTC/USD", CLIENT_ID)
        assert found is not None
        assert (found.done, found.filled, found.cost) == (True, Decimal("0.12345678"), Decimal("6000.00"))
        assert orders.sent == 1

    def test_one_that_is_not_there_is_none(self, server: Stranger) -> None:
        CoinbaseOrders(server)
        server.answers[f"/orders/client:{CLIENT_ID}"] = {"message": "NotFound"}
        server.troubles[f"/orders/client:{CLIENT_ID}"] = [(404,)]
        assert venue(server, "coinbaseexchange").find("BTC/USD", CLIENT_ID) is None


def test_an_exchange_whose_client_ids_ccxt_makes_up_is_no_venue() -> None:
    with pytest.raises(LookupError, match="kraken, coinbaseexchange"):
        CcxtVenue("coinbase", SECRETS)
