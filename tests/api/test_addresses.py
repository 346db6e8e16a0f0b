from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import select, update

from jobs import tasks, views
from ledger import pauses
from ledger.db import Database
from ledger.schema import address, chain
from tests.api.conftest import KEYS, WATCHED
from tests.api.shop import Shop, code

DAY_US = 86_400 * 1_000_000


@pytest.fixture
def unwatched(database: Database) -> Iterator[Callable[..., None]]:
    """Change what the chain's row says, until the end of the test."""

    def change(**values: Any) -> None:
        row = update(chain).where(chain.c.name == "bitcoin")
        database.run(lambda tx: tx.execute(row.values(values)), "test")

    yield change
    change(watched_count=WATCHED, account_public_key=KEYS["bitcoin"])


def test_an_address_comes_with_uri_and_picture(shop: Shop) -> None:
    owner = shop.account()
    given = shop.post(f"/v1/accounts/{owner}/addresses", {"asset": "BTC", "label": "order 7"})
    assert given.status_code == 201
    body = given.json
    assert (body["status"], body["account"], body["payment_request"]) == ("ready", owner, None)
    assert body["uri"] == f"fake:{body['address']}"
    assert body["qr_svg"].startswith("<svg")
    assert given.headers["Location"] == f"/v1/addresses/{body['id']}"
    for text in (body["id"], body["address"], body["address"].upper()):
        read = shop.get(f"/v1/addresses/{text}")
        assert (read.json, read.headers["ETag"]) == (body, given.headers["ETag"])
    listed = shop.get(f"/v1/addresses?account={owner}").json["data"]
    assert listed == [{name: value for name, value in body.items() if name != "qr_svg"}]


def test_each_call_gives_another_address(shop: Shop) -> None:
    owner = shop.account()
    given = [shop.post(f"/v1/accounts/{owner}/addresses", {"asset": "BTC"}).json for _ in range(3)]
    assert len({row["address"] for row in given}) == 3
    assert [row["index"] - given[0]["index"] for row in given] == [0, 1, 2]


def test_a_thousand_addresses_asked_for_by_32_clients_are_different(shop: Shop, database: Database) -> None:
    owner = shop.account()
    path = f"/v1/accounts/{owner}/addresses"
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda n: shop.post(path, {"asset": "BTC"}, key=f"k{n}"), range(1000)))
    assert {a.status_code for a in answers} == {201}
    assert len({a.json["address"] for a in answers}) == 1000
    assert len({a.json["index"] for a in answers}) == 1000
    stored = database.read(lambda tx: tx.all(select(address.c.address).where(address.c.project_id == shop.project_id)))
    assert {row.address for row in stored} == {a.json["address"] for a in answers}


@pytest.mark.parametrize("values", [{"watched_count": 0}, {"account_public_key": None}], ids=["not watched", "no key"])
def test_an_address_that_no_node_watches_is_not_shown(
    shop: Shop,
    unwatched: Callable[..., None],
    database: Database,
    values: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    woken: list[Any] = []
    monkeypatch.setattr(database, "on_commit", woken.extend)
    owner = shop.account()
    unwatched(**values)
    given = shop.post(f"/v1/accounts/{owner}/addresses", {"asset": "BTC", "expected_amount": "1"})
    assert given.status_code == 202
    assert (given.json["status"], given.json["address"]) == ("pending", None)
    assert (given.json["uri"], given.json["qr_svg"]) == (None, None)
    assert shop.get(f"/v1/addresses/{given.json['id']}").json == given.json
    stored = database.read(lambda tx: tx.one(select(address).where(address.c.public_id == given.json["id"])))
    if stored.address is not None:
        assert code(shop.get(f"/v1/addresses/{stored.address}")) == (404, "not_found")
    if "watched_count" in values:
        expected = database.read(lambda tx: _task_id(tx))
        assert ("task", expected) in woken


def _task_id(tx: Any) -> int:
    class Spy:
        connection, wakes = tx.connection, []

        def value(self, query: Any) -> Any:
            return tx.value(query)

        def wake(self, kind: str, row_id: int) -> None:
            self.wakes.append(row_id)

    spy = Spy()
    tasks.wake(spy, "watch:bitcoin")  # type: ignore[arg-type]
    return int(spy.wakes[0])


def test_a_payment_request_tells_how_it_stands(shop: Shop, database: Database) -> None:
    owner = shop.account()
    now = database.now()
    wish = {"asset": "BTC", "expected_amount": "0.5", "expires_at": views.when(now + DAY_US)}
    given = shop.post(f"/v1/accounts/{owner}/addresses", wish).json
    request = given["payment_request"]
    assert request["status"] == "open"
    assert request["expected"] == {"amount": "0.50000000", "asset": "BTC", "units": "50000000"}
    assert (request["received"]["units"], request["late"]) == ("0", False)
    assert request["expires_at"] == views.when(now + DAY_US)
    assert given["uri"].endswith("?amount=0.50000000")
    for received, status in ((1, "underpaid"), (50_000_000, "paid"), (50_000_001, "overpaid")):
        change = update(address).where(address.c.public_id == given["id"]).values(received_units=received)
        database.run(lambda tx, change=change: tx.execute(change), "test")
        assert shop.get(f"/v1/addresses/{given['id']}").json["payment_request"]["status"] == status


@pytest.mark.parametrize(
    ("expected", "received", "expires", "status"),
    [
        (5, 0, None, "open"),
        (5, 0, 9, "expired"),
        (5, 4, 9, "expired"),
        (5, 4, 11, "underpaid"),
        (5, 5, 9, "paid"),
        (5, 6, 9, "overpaid"),
        (None, 0, 11, "open"),
        (None, 0, 10, "expired"),
        (None, 1, 9, "paid"),
    ],
)
def test_request_states(expected: int | None, received: int, expires: int | None, status: str) -> None:
    assert views.request_state(expected, received, expires, 10) == status


def test_an_expiry_is_ahead_and_near(shop: Shop, database: Database) -> None:
    path = f"/v1/accounts/{shop.account()}/addresses"
    for text in (
        "2020-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "soon",
        "2027-01-01",
        "2027-01-01T00:00:00",
        "0001-01-01T00:00:00+14:00",
    ):
        answer = shop.post(path, {"asset": "BTC", "expires_at": text})
        assert answer.status_code == 422, text
        assert answer.json["errors"][0]["pointer"] == "/expires_at"
    assert code(shop.post(path, {"asset": "BTC", "expected_amount": "0.00000999"})) == (422, "amount_below_minimum")


def test_no_address_while_deposits_are_paused(shop: Shop, database: Database) -> None:
    path = f"/v1/accounts/{shop.account()}/addresses"
    database.run(lambda tx: pauses.stop(tx, "BTC", "deposits", "fork", "tests"), "test")
    try:
        assert code(shop.post(path, {"asset": "BTC"})) == (409, "asset_disabled")
        paused = {row["code"] for row in shop.get("/v1/assets").json["data"] if not row["flows"]["deposits"]}
        assert paused == {"BTC"}
    finally:
        database.run(lambda tx: pauses.resume(tx, "BTC", "deposits", "tests"), "test")
