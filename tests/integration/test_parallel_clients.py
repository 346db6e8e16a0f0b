"""Many clients at once through the real API, and what the chain says of it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest

from devstack.stack import Stack
from tests.integration.storefront import Shop, nobodys_address
from tests.integration.test_bad_days import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module", params=["sqlite", "mariadb"])
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("parallel"), request.param) as stack:
        stack.cli("policy", "set", "BTC", "payment_window_ms", "200")
        yield stack


@pytest.fixture(scope="module")
def shop(stack: Stack) -> Shop:
    assert stack.keys is not None
    return Shop(stack.api_url, stack.keys.all)


@pytest.fixture
def account(stack: Stack, shop: Shop) -> str:
    """A customer with 0.009 BTC, another house coin beside it."""
    _, made = shop.post("/accounts", {"reference": uuid.uuid4().hex, "kind": "user"})
    homes = [shop.post(f"/accounts/{made['id']}/addresses", {"asset": "BTC"})[1] for _ in range(2)]
    until(lambda: all(ready(shop, made["id"])), "two addresses")
    _, listed = shop.get(f"/addresses?account={made['id']}")
    assert len(listed["data"]) == len(homes)
    stack.bitcoind.pay({home["address"]: Decimal("0.0045") for home in listed["data"]})
    stack.bitcoind.mine(1)
    until(lambda: available(shop, made["id"]) == Decimal("0.009"), "the deposits")
    return str(made["id"])


def ready(shop: Shop, account: str) -> list[bool]:
    return [home["status"] == "ready" for home in shop.get(f"/addresses?account={account}")[1]["data"]]


def available(shop: Shop, account: str) -> Decimal:
    lines = shop.get(f"/accounts/{account}/balances")[1]["data"]
    return sum((Decimal(line["available"]["amount"]) for line in lines), Decimal(0))


def at_once(
    clients: int, shop: Shop, orders: list[dict[str, Any]], keys: list[str]
) -> list[tuple[int, dict[str, Any]]]:
    with ThreadPoolExecutor(clients) as pool:
        return list(
            pool.map(lambda pair: shop.post("/withdrawals", pair[0], key=pair[1]), zip(orders, keys, strict=True))
        )


def paid(stack: Stack, shop: Shop, row_id: str, payee: str) -> list[Decimal]:
    """Mine until the withdrawal is completed; the amounts of all outputs that the chain has for its payee."""

    def completed() -> bool:
        stack.bitcoind.mine(1)
        return bool(shop.get(f"/withdrawals/{row_id}")[1]["status"] == "completed")

    until(completed, f"{row_id} to be completed")
    stack.bitcoind.mine(2)  # whatever else might have been on its way is in a block too
    found = stack.bitcoind.admin("scantxoutset", "start", [f"addr({payee})"])
    return [coin["amount"] for coin in found["unspents"]]


@pytest.mark.parametrize("clients", [8, 32])
def test_one_key_asked_with_by_many_is_one_payment_on_chain(
    stack: Stack, shop: Shop, account: str, clients: int
) -> None:
    payee, reference = nobodys_address(account), uuid.uuid4().hex
    order = {"account": account, "asset": "BTC", "amount": "0.001", "address": payee, "reference": reference}
    answers = at_once(clients, shop, [order] * clients, [reference] * clients)
    accepted = {answer["id"] for status, answer in answers if status == 202}
    assert len(accepted) == 1
    assert {status for status, _ in answers} <= {202, 409}
    assert paid(stack, shop, accepted.pop(), payee) == [Decimal("0.001")]
    assert available(shop, account) == Decimal("0.009") - Decimal("0.00102")


@pytest.mark.parametrize("clients", [8, 32])
def test_one_reference_under_many_keys_is_one_payment_on_chain(
    stack: Stack, shop: Shop, account: str, clients: int
) -> None:
    payee, reference = nobodys_address(account), uuid.uuid4().hex
    order = {"account": account, "asset": "BTC", "amount": "0.001", "address": payee, "reference": reference}
    answers = at_once(clients, shop, [order] * clients, [uuid.uuid4().hex for _ in range(clients)])
    accepted = [answer["id"] for status, answer in answers if status == 202]
    refused = [answer["code"] for status, answer in answers if status != 202]
    assert len(accepted) == 1
    assert set(refused) == {"reference_exists"}
    assert paid(stack, shop, accepted[0], payee) == [Decimal("0.001")]


def test_a_hundred_withdrawals_of_a_balance_for_one_are_one_payment(stack: Stack, shop: Shop, account: str) -> None:
    payees = [nobodys_address(account) for _ in range(100)]
    order = {"account": account, "asset": "BTC", "amount": "0.008"}
    orders = [order | {"address": payee, "reference": uuid.uuid4().hex} for payee in payees]
    answers = at_once(32, shop, orders, [uuid.uuid4().hex for _ in orders])
    accepted = [answer for status, answer in answers if status == 202]
    assert len(accepted) == 1
    assert {answer["code"] for status, answer in answers if status != 202} == {"insufficient_funds"}
    assert paid(stack, shop, accepted[0]["id"], accepted[0]["address"]) == [Decimal("0.008")]
    others = [f"addr({payee})" for payee in payees if payee != accepted[0]["address"]]
    assert stack.bitcoind.admin("scantxoutset", "start", others)["unspents"] == []
    assert available(shop, account) == Decimal("0.00098")
