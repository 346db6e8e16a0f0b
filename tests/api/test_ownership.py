"""`GET …/ownership`: who owned what, when and why, and whether that is what was written."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from ledger import ownership
from ledger.db import Database, Tx
from ledger.ids import new_id
from ledger.schema import account, deposit, escrow, ownership_head
from tests.api.shop import Shop, code


@pytest.fixture
def scene(shop: Shop, database: Database) -> Scene:
    return Scene(shop, database)


class Scene:
    """An order, a deposit to it, and an escrow for it, with the histories that the engine would write."""

    def __init__(self, shop: Shop, database: Database) -> None:
        self.shop, self.database = shop, database
        given = shop.post("/v1/accounts", {"reference": secrets.token_hex(6), "kind": "order"})
        self.order, self.vendor = str(given.json["id"]), shop.account()
        self.order_id, self.vendor_id = self.row_id(account, self.order), self.row_id(account, self.vendor)
        self.deposit_id, self.deposit = self.made("dp", self._deposit)
        self.escrow_id, self.escrow = self.made("es", self._escrow)
        paid, available = ("deposit", self.deposit_id), (self.order_id, "available")
        self.record(paid, "held", (1, "suspense"), 700, paid, "unknown_address")
        self.record(paid, "resolved", available, 700, paid, "by_operator")
        self.record(("order", self.order_id), "deposited", available, 700, paid)
        self.record(("escrow", self.escrow_id), "funded", (self.order_id, "escrow"), 500, ("escrow", self.escrow_id))
        self.record(("order", self.order_id), "funded", (self.order_id, "escrow"), 500, ("escrow", self.escrow_id))
        for units in (100, 200):
            owner = (self.vendor_id, "available")
            self.record(("escrow", self.escrow_id), "released", owner, units, ("escrow", self.escrow_id))

    def row_id(self, table: Any, public_id: str) -> int:
        query = select(table.c.id).where(table.c.public_id == public_id)
        return int(self.database.read(lambda tx: tx.value(query)))

    def record(self, subject: Any, event: str, owner: Any, units: int, cause: Any, reason: str | None = None) -> None:
        self.database.run(
            lambda tx: ownership.record(tx, subject, event, owner, "BTC", units, cause, reason), "ownership"
        )

    def made(self, prefix: str, make: Callable[[Tx, str], int]) -> tuple[int, str]:
        public_id = new_id(prefix)
        return self.database.run(lambda tx: make(tx, public_id), "made"), public_id

    def _deposit(self, tx: Tx, public_id: str) -> int:
        txid = secrets.token_hex(32)
        values = {"public_id": public_id, "chain": "bitcoin", "asset": "BTC", "output_key": f"{txid}:0", "txid": txid}
        values |= {"address": "x", "account_id": self.order_id, "project_id": self.shop.project_id, "units": 700}
        values |= {"seen": "confirmed", "state": "held", "created_at": tx.now, "updated_at": tx.now}
        return tx.insert(insert(deposit).values(values))

    def _escrow(self, tx: Tx, public_id: str) -> int:
        values = {"public_id": public_id, "project_id": self.shop.project_id, "queue": "tasks", "asset": "BTC"}
        values |= {"buyer_id": self.order_id, "vendor_id": self.vendor_id, "units": 500, "fee_units": 0}
        values |= {"fee_from": "buyer", "wanted_units": 500, "reference": secrets.token_hex(6), "actor": "t"}
        values |= {"on_underpaid": "wait", "on_overpaid": "keep", "on_late": "hold", "arbiter": "key"}
        values |= {"state": "funded", "created_at": tx.now, "updated_at": tx.now}
        return tx.insert(insert(escrow).values(values))

    def get(self, path: str) -> Any:
        answer = self.shop.get(f"/v1/{path}")
        assert answer.status_code == 200, answer.text
        return answer.json


def steps(answer: Any) -> list[tuple[int, str, str | None, str, str, str | None]]:
    return [
        (r["number"], r["event"], r["owner"], r["place"], r["amount"]["units"], r["reason"]) for r in answer["data"]
    ]


def test_a_deposits_history_names_owners_and_reasons_and_hides_the_house(scene: Scene) -> None:
    found = scene.get(f"deposits/{scene.deposit}/ownership")
    assert steps(found) == [
        (2, "resolved", scene.order, "available", "700", "by_operator"),
        (1, "held", None, "suspense", "700", "unknown_address"),
    ]
    second, first = found["data"]
    assert (first["subject"], first["kind"], first["cause"]) == (scene.deposit, "deposit", scene.deposit)
    assert first["amount"] == {"amount": "0.00000700", "asset": "BTC", "units": "700"}
    assert (first["previous_hash"], second["previous_hash"]) == ("0" * 64, first["hash"])
    assert (found["verified"], found["has_more"], found["next_cursor"]) == (True, False, None)


def test_an_orders_history_goes_on_into_its_escrow(scene: Scene) -> None:
    found = scene.get(f"accounts/{scene.order}/ownership")
    assert [(row["event"], row["cause"]) for row in found["data"]] == [
        ("funded", scene.escrow),
        ("deposited", scene.deposit),
    ]
    assert {row["subject"] for row in found["data"]} == {scene.order}
    assert found["verified"]


def test_an_escrows_history_comes_in_pages_each_verified(scene: Scene) -> None:
    first = scene.get(f"escrows/{scene.escrow}/ownership?limit=2")
    assert ([row[0] for row in steps(first)], first["verified"], first["has_more"]) == ([3, 2], True, True)
    second = scene.get(f"escrows/{scene.escrow}/ownership?limit=2&cursor={first['next_cursor']}")
    assert ([row[0] for row in steps(second)], second["verified"], second["has_more"]) == ([1], True, False)
    other = scene.shop.get(f"/v1/deposits/{scene.deposit}/ownership?cursor={first['next_cursor']}")
    assert code(other) == (422, "validation_failed")
    assert scene.shop.get(f"/v1/escrows/{scene.escrow}/ownership?limit=0").status_code == 422


def test_another_account_sees_what_it_came_to_own(scene: Scene) -> None:
    found = scene.get(f"accounts/{scene.vendor}/ownership?limit=1")
    assert [(row["kind"], row["subject"], row["amount"]["units"]) for row in found["data"]] == [
        ("escrow", scene.escrow, "200")
    ]
    rest = scene.get(f"accounts/{scene.vendor}/ownership?limit=1&cursor={found['next_cursor']}")
    assert ([row["amount"]["units"] for row in rest["data"]], rest["has_more"]) == (["100"], False)
    empty = scene.get(f"accounts/{scene.shop.account()}/ownership")
    assert (empty["data"], empty["verified"]) == ([], True)


def test_a_history_that_was_cut_off_is_not_verified(scene: Scene, database: Database) -> None:
    h = ownership_head.c
    head = (h.subject_kind == "escrow") & (h.subject_id == scene.escrow_id)
    longer = update(ownership_head).where(head).values(number=4, hash="1" * 64)
    database.run(lambda tx: tx.execute(longer), "t")
    assert scene.get(f"escrows/{scene.escrow}/ownership")["verified"] is False
    assert scene.get(f"deposits/{scene.deposit}/ownership")["verified"] is True


def test_a_row_that_was_not_written_by_the_engine_is_not_verified(scene: Scene, database: Database) -> None:
    """A database lets nobody change one; somebody may still add one."""

    def add(tx: Tx) -> None:
        o = ownership.ownership
        last = ownership.of(tx, ("escrow", scene.escrow_id))[-1]
        row = {name: value for name, value in last._mapping.items() if name != "id"}
        tx.execute(insert(o).values(row | {"number": 4, "previous_hash": last.hash, "units": 10**9}))
        head = (ownership_head.c.subject_kind == "escrow") & (ownership_head.c.subject_id == scene.escrow_id)
        tx.execute(update(ownership_head).where(head).values(number=4, hash=row["hash"]))

    database.run(add, "t")
    assert scene.get(f"escrows/{scene.escrow}/ownership")["verified"] is False
    assert scene.get(f"accounts/{scene.vendor}/ownership")["verified"] is False


def test_other_projects_and_keys_without_the_scope_see_nothing(scene: Scene, make_shop: Callable[..., Shop]) -> None:
    other = make_shop()
    few = make_shop(scene.shop.project_id, scopes=["accounts:read"])
    paths = (f"accounts/{scene.order}", f"deposits/{scene.deposit}", f"escrows/{scene.escrow}")
    for path in paths:
        assert code(other.get(f"/v1/{path}/ownership")) == (404, "not_found")
        assert code(few.get(f"/v1/{path}/ownership")) == (403, "scope_missing")
