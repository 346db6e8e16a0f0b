"""Who repeats a reference hears that it is used, whatever else would refuse the call by now."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from ledger import pauses
from ledger.db import Database, Tx
from ledger.schema import account, asset
from tests.api.shop import Shop, code
from wallets.fake.addresses import derive

Fund = Callable[[str, int], None]


@pytest.fixture
def owner(shop: Shop, fund: Fund) -> str:
    found = shop.account()
    fund(found, 10**8)
    return found


@pytest.fixture(autouse=True)
def resumed(database: Database) -> Iterator[None]:
    """Other tests use the same database."""
    yield
    for flow in ("withdrawals", "transfers", "escrows"):
        database.run(lambda tx, f=flow: pauses.resume(tx, "BTC", f, "t"), "t")  # type: ignore[misc]
    database.run(lambda tx: _enable(tx, True), "t")


def _enable(tx: Tx, on: bool) -> Any:
    return tx.execute(update(asset).where(asset.c.code == "BTC").values(enabled=int(on)))


@pytest.mark.parametrize("since", ["frozen", "paused", "spent", "off"])
def test_a_withdrawal(shop: Shop, owner: str, database: Database, since: str) -> None:
    wish = {"account": owner, "asset": "BTC", "amount": "0.4", "address": derive("outside/1"), "reference": "w1"}
    first = shop.post("/v1/withdrawals", wish)
    assert first.status_code == 202
    _change(shop, database, owner, since, "withdrawals")
    again = shop.post("/v1/withdrawals", wish)
    assert (code(again), again.json["existing"]) == ((409, "reference_exists"), first.json["id"])
    assert code(shop.post("/v1/withdrawals", wish | {"reference": "w2"})) != (409, "reference_exists")


def test_a_withdrawal_in_a_batch(shop: Shop, owner: str, database: Database) -> None:
    wish = {"account": owner, "asset": "BTC", "amount": "0.4", "address": derive("outside/1"), "reference": "b1"}
    first = shop.post("/v1/withdrawals", wish)
    database.run(lambda tx: _enable(tx, False), "t")
    again = shop.post("/v1/withdrawals/batch", {"withdrawals": [wish]})
    assert (code(again), again.json["existing"]) == ((409, "reference_exists"), first.json["id"])


@pytest.mark.parametrize("since", ["frozen", "paused", "spent", "off"])
def test_a_transfer(shop: Shop, owner: str, database: Database, since: str) -> None:
    wish = {"from_account": owner, "to_account": shop.account(), "asset": "BTC", "amount": "0.4", "reference": "t1"}
    first = shop.post("/v1/transfers", wish)
    assert first.status_code == 201
    _change(shop, database, owner, since, "transfers")
    again = shop.post("/v1/transfers", wish)
    assert (code(again), again.json["existing"]) == ((409, "reference_exists"), first.json["id"])
    assert code(shop.post("/v1/transfers", wish | {"reference": "t2"})) != (409, "reference_exists")


def test_an_escrow_whose_deadline_is_over(shop: Shop, owner: str, database: Database) -> None:
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    wish = {"buyer": owner, "vendor": shop.account(), "asset": "BTC", "amount": "0.1", "reference": "e1"}
    first = shop.post("/v1/escrows", wish | {"funding_deadline": soon})
    assert first.status_code == 201
    over = {"funding_deadline": (datetime.now(UTC) - timedelta(hours=1)).isoformat()}
    again = shop.post("/v1/escrows", wish | over)
    assert (code(again), again.json["existing"]) == ((409, "reference_exists"), first.json["id"])
    assert shop.post("/v1/escrows", wish | over | {"reference": "e2"}).status_code == 422
    database.run(lambda tx: pauses.stop(tx, "BTC", "escrows", "t", "t"), "t")
    assert code(shop.post("/v1/escrows", wish | {"funding_deadline": soon})) == (409, "reference_exists")
    database.run(lambda tx: _enable(tx, False), "t")
    assert code(shop.post("/v1/escrows", wish | {"funding_deadline": soon})) == (409, "reference_exists")


def _change(shop: Shop, database: Database, owner: str, how: str, flow: str) -> None:
    def frozen(tx: Tx) -> Any:
        return tx.execute(update(account).where(account.c.public_id == owner).values(frozen_reason="t"))

    if how == "off":
        database.run(lambda tx: _enable(tx, False), "t")
    elif how == "spent":
        rest = {"from_account": owner, "to_account": shop.account(), "asset": "BTC", "amount": "0.5"}
        assert shop.post("/v1/transfers", rest | {"reference": "rest"}).status_code == 201
    else:
        database.run(frozen if how == "frozen" else lambda tx: pauses.stop(tx, "BTC", flow, "t", "t"), "t")
