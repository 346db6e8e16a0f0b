"""The chapter about who owned what: histories that nobody can change afterwards, and their copies in Redis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from devstack.demo.figures import BTC, USDT, XMR, Coin
from devstack.demo.ordering import (
    DISPUTED,
    FIXED_FEE,
    FOR_THE_VENDOR,
    PARTS,
    PERCENT,
    PRICE,
    RETURNED,
    TOKENS_PAID,
    VENDOR,
)
from devstack.demo.scene import Scene, units

#: (event, who, place, units): after this row, so much is theirs.
Step = tuple[str, str, str, int]


@dataclass(frozen=True)
class Orders:
    """Ids of the escrows, by what became of them."""

    paid: str
    returned: str
    disputed: str
    unpaid: str
    account: str  #: the account of the order that was paid


def show(scene: Scene, orders: Orders) -> None:
    """Each escrow's chain as the API shows it, against the demo's own; then all chains, link by link."""
    scene.tell.chapter("Who owned what, when and why")
    expected = _paid()
    _compare(scene, f"/v1/escrows/{orders.paid}/ownership", BTC, expected)
    scene.checks.same("the order tells the same", _steps(scene, f"/v1/accounts/{orders.account}/ownership"), expected)
    _compare(scene, f"/v1/escrows/{orders.returned}/ownership", BTC, _returned())
    _compare(scene, f"/v1/escrows/{orders.disputed}/ownership", XMR, _split())
    _compare(scene, f"/v1/escrows/{orders.unpaid}/ownership", USDT, _expired())
    for line in scene.desk.show("verify-history").splitlines():
        scene.tell.desk(f"  {line}")
    scene.tell.note("Each row carries the hash of the row before: one that was changed would break every later one.")
    for command in ("rebuild", "check"):
        for line in scene.desk.show("mirror", command).splitlines():
            scene.tell.desk(f"  {line}")


def _paid() -> list[Step]:
    fee, all_of_it = PRICE * PERCENT // 100, sum(PARTS)
    return [
        ("paid_in", "Anna", "escrow", PARTS[0]),
        ("paid_in", "Anna", "escrow", all_of_it),
        ("returned", "Anna", "available", all_of_it - PRICE),
        ("returned", "Anna", "escrow", PRICE),
        ("released", VENDOR, "available", PRICE - fee),
        ("released", "the house", "service_fees", fee),
        ("released", "Anna", "escrow", 0),
    ]


def _returned() -> list[Step]:
    return [
        ("funded", "Chloe", "escrow", RETURNED + FIXED_FEE),
        ("refunded", "Chloe", "available", RETURNED + FIXED_FEE),
        ("refunded", "Chloe", "escrow", 0),
    ]


def _split() -> list[Step]:
    fee = DISPUTED * PERCENT // 100 * FOR_THE_VENDOR // DISPUTED
    rest = DISPUTED - FOR_THE_VENDOR
    return [
        ("funded", "Ben", "escrow", DISPUTED),
        ("released", VENDOR, "available", FOR_THE_VENDOR - fee),
        ("released", "the house", "service_fees", fee),
        ("released", "Ben", "escrow", rest),
        ("refunded", "Ben", "available", rest),
        ("refunded", "Ben", "escrow", 0),
    ]


def _expired() -> list[Step]:
    return [
        ("funded", "Anna", "escrow", TOKENS_PAID),
        ("returned", "Anna", "available", TOKENS_PAID),
        ("returned", "Anna", "escrow", 0),
    ]


def _compare(scene: Scene, path: str, coin: Coin, expected: list[Step]) -> None:
    scene.tell.shop(f"GET {path}")
    found = _steps(scene, path)
    scene.checks.same(path, found, expected)
    for event, who, place, amount in found:
        scene.tell.ledger(f"{event:<9} {who:<9} {place:<12} {coin.show(amount)} {coin.code}")


def _steps(scene: Scene, path: str) -> list[Step]:
    """A chain, oldest first; each row must stand on the one before."""
    answer = scene.shop.get(path)
    scene.checks.same(f"{path}: the chain holds", answer["verified"], True)
    names = {who.account: who.name for who in scene.totals.customers.values()}
    return [_step(row, names) for row in sorted(answer["data"], key=lambda row: int(row["number"]))]


def _step(row: dict[str, Any], names: dict[str, str]) -> Step:
    return str(row["event"]), names.get(row["owner"] or "", "the house"), str(row["place"]), units(row["amount"])
