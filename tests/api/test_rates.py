"""Rates as shops see them: the newest of each asset, what it was before, and who said so."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import insert

from exchanges.fixed import FixedSource
from exchanges.protocol import Desk
from jobs.rates import fetch as rates_fetch
from jobs.rates import usable as rates
from ledger.db import Database, Tx
from ledger.ids import new_id
from ledger.schema import asset
from tests import rates as rows
from tests.api.shop import Shop, code


@pytest.fixture
def coin(database: Database) -> str:
    """An asset of this test's own: rates of the others are of the whole session."""
    name = f"Z{new_id('xx')[-8:].upper()}"
    values: dict[str, Any] = {"code": name, "chain": "ethereum", "decimals": 6, "contract": name, "enabled": 1}
    database.run(lambda tx: tx.execute(insert(asset).values(values | {"created_at": tx.now})), "coin")
    yield name
    database.run(lambda tx: tx.execute(asset.update().where(asset.c.code == name).values(enabled=0)), "coin")


@pytest.fixture
def write(database: Database, coin: str) -> Callable[..., None]:
    """Store what a desk of these sources decides of the coin."""

    def write_(*prices: str, fiat: tuple[str, ...] = (), least: int = 1) -> None:
        sources = tuple(
            _named(f"x{n}", FixedSource({coin: Decimal(p), "EUR": Decimal("1.25")})) for n, p in enumerate(prices)
        )
        desk = Desk(sources, least, {}, ("USD",), fiat)

        def unit(tx: Tx) -> None:
            heard = rates_fetch.fetch(desk, [coin], lambda: tx.now)
            rates_fetch.store(tx, rates_fetch.decide(desk, [coin], heard, tx.now))

        database.run(unit, "rates")

    return write_


def _named(name: str, source: FixedSource) -> FixedSource:
    source.name = name
    return source


def one(shop: Shop, coin: str, query: str = "") -> Any:
    return next(row for row in shop.get(f"/v1/rates{query}").json["data"] if row["asset"] == coin)


def test_the_newest_rate_with_its_sources(shop: Shop, write: Callable[..., None], coin: str) -> None:
    before = one(shop, coin)
    assert (before["price"], before["usable"], before["problem"], before["at"]) == (None, False, "unavailable", None)
    write("99", "101")
    write("100", "101")
    found = one(shop, coin)
    assert (found["price"], found["usable"], found["problem"]) == ("100.5", True, None)
    assert (found["currency"], found["spread_percent"]) == ("USD", "0.9951")
    assert 0 <= found["age_seconds"] < 60
    said = [(s["source"], s["pair"], s["bid"], s["used"], s["reason"]) for s in found["sources"]]
    assert said == [("x0", f"{coin}/USD", "100", True, None), ("x1", f"{coin}/USD", "101", True, None)]


def test_what_may_not_be_used_says_why(shop: Shop, write: Callable[..., None], coin: str, database: Database) -> None:
    write("100", "200")
    found = one(shop, coin)
    assert (found["price"], found["usable"], found["problem"]) == (None, False, "divergent")
    write("100")
    rows.age(database, 61, coin)
    found = one(shop, coin)
    assert (found["price"], found["usable"], found["problem"]) == ("100", False, None)
    assert found["age_seconds"] >= 61


@pytest.mark.parametrize("at", [1_700_000_000_000_000_000, -(10**18)])
def test_a_source_whose_moment_nobody_can_write_is_shown_without_it(
    shop: Shop, write: Callable[..., None], coin: str, database: Database, at: int
) -> None:
    """As an older version stored it."""
    write("100")

    def unit(tx: Tx) -> None:
        row = rates.newest(tx, [coin])[coin]
        rows.copy(tx, row, sources=[source | {"at": at} for source in row.sources])

    database.run(unit, "older")
    found = one(shop, coin)
    assert (found["price"], [source["at"] for source in found["sources"]]) == ("100", [None])
    assert shop.get(f"/v1/rates/history?asset={coin}").status_code == 200


def test_other_currencies_are_shown_where_they_are_there(shop: Shop, write: Callable[..., None], coin: str) -> None:
    assert code(shop.get("/v1/rates?currency=XXX")) == (422, "validation_failed")
    write("100", fiat=("EUR",))
    assert (one(shop, coin)["price"], one(shop, coin, "?currency=EUR")["price"]) == ("100", "80")


def test_history_is_newest_first_and_comes_in_pages(shop: Shop, write: Callable[..., None], coin: str) -> None:
    for price in ("1", "2", "3"):
        write(price)
    first = shop.get(f"/v1/rates/history?asset={coin}&limit=2").json
    rest = shop.get(f"/v1/rates/history?asset={coin}&limit=2&cursor={first['next_cursor']}").json
    assert [row["price"] for row in first["data"] + rest["data"]] == ["3", "2", "1"]
    assert (first["has_more"], rest["has_more"]) == (True, False)
    at = first["data"][1]["at"]
    since = shop.get(f"/v1/rates/history?asset={coin}&created_from={at}").json["data"]
    until = shop.get(f"/v1/rates/history?asset={coin}&created_to={at}").json["data"]
    assert ([row["price"] for row in since], [row["price"] for row in until]) == (["3", "2"], ["1"])


@pytest.mark.parametrize(
    "query",
    ["", "?asset=NOPE", "?asset=BTC&cursor=x", "?asset=BTC&created_from=x", "?asset=BTC&limit=0", "?asset=BTC&a=1"],
)
def test_bad_questions_are_refused(shop: Shop, query: str) -> None:
    assert code(shop.get(f"/v1/rates/history{query}")) == (422, "validation_failed")


def test_a_currency_without_prices_has_an_empty_history(shop: Shop) -> None:
    assert shop.get("/v1/rates/history?asset=BTC&currency=XXX").json["data"] == []


def test_any_key_may_read_rates(make_shop: Callable[..., Shop]) -> None:
    assert make_shop(scopes=["events:read"]).get("/v1/rates").status_code == 200
