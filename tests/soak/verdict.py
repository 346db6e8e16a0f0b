"""Afterwards: what was promised, what the API says, and what the chains say, against each other."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from devstack.demo.figures import COINS
from tests.integration.storefront import Shop
from tests.soak.book import Book
from tests.soak.outside import Paid, World

_CREDITED = ("credited", "final")
_MONEY_BACK = ("failed", "cancelled", "rejected")
#: What ends something that somebody waits for, by its name.
_ENDS = frozenset({"deposit.credited", "withdrawal.completed"})


@dataclass
class Verdict:
    """Each list holds one sentence a case; all must be empty."""

    lost: list[str] = field(default_factory=list)
    sent_twice: list[str] = field(default_factory=list)
    credited_twice: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)  #: anything else that must not be

    @property
    def clean(self) -> bool:
        return not (self.lost or self.sent_twice or self.credited_twice or self.wrong)


class Api:
    """Whole lists of a shop's own resources."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop

    def all_of(self, path: str) -> list[dict[str, Any]]:
        found, cursor = [], ""
        while True:
            _, page = self._shop.get(f"{path}?limit=100{cursor}")
            found += page["data"]
            if not page["has_more"]:
                return found
            cursor = f"&cursor={page['next_cursor']}"

    def events(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while True:
            _, page = self._shop.get(f"/events?after={found[-1]['sequence'] if found else 0}&limit=100")
            found += page["data"]
            if not page["has_more"]:
                return found

    def owned(self, account: str) -> dict[str, dict[str, int]]:
        """Units by asset and balance."""
        _, found = self._shop.get(f"/accounts/{account}/balances")
        return {
            line["asset"]: {kind: int(line[kind]["units"]) for kind in line if kind != "asset"}
            for line in found["data"]
        }


def judge(api: Api, book: Book, world: World, accounts: Iterable[str]) -> Verdict:
    """All must be at rest, and nothing waits in a pool."""
    verdict = Verdict()
    deposits, withdrawals = api.all_of("/deposits"), api.all_of("/withdrawals")
    swaps = api.all_of("/swaps")
    _deposits(verdict, deposits, world)
    _promises(verdict, book, withdrawals, swaps, api)
    _payees(verdict, withdrawals, world)
    _balances(verdict, api, book, accounts, deposits, withdrawals, swaps)
    _sequence(verdict, api.events())
    verdict.wrong += book.failures
    return verdict


def _deposits(verdict: Verdict, deposits: list[dict[str, Any]], world: World) -> None:
    """What is in a chain is credited once and whole; what is in none is not."""
    rows = Counter((d["asset"], d["txid"]) for d in deposits if d["status"] in _CREDITED)
    mined = {(one.asset, one.txid): one for one in world.mined(world.paid_in())}
    shown = [Paid(d["asset"], d["txid"], d["address"], int(d["amount"]["units"]), "", False) for d in deposits]
    there = {(one.asset, one.txid) for one in world.mined(shown)} | set(mined)
    for key, one in mined.items():
        units = sum(int(d["amount"]["units"]) for d in deposits if (d["asset"], d["txid"]) == key)
        if not rows[key] or units < one.units:
            verdict.lost.append(f"{key}: {one.units} units are in a block, {units} are credited")
        if rows[key] > 1 or units > one.units:
            verdict.credited_twice.append(f"{key}: {one.units} units are in a block, {units} are credited")
    for key in rows:
        if key not in there:
            verdict.credited_twice.append(f"{key} is credited and in no block")


def _promises(
    verdict: Verdict, book: Book, withdrawals: list[dict[str, Any]], swaps: list[dict[str, Any]], api: Api
) -> None:
    """Every answer the shop got stands: what it was given exists once, and came to its end."""
    rows = {row["id"]: row for row in withdrawals}
    for promised in book.withdrawals.values():
        row = rows.get(promised.id)
        if row is None or row["status"] != "completed" or int(row["amount"]["units"]) != promised.units:
            state = "gone" if row is None else f"{row['status']} ({row['status_reason']})"
            verdict.lost.append(f"withdrawal {promised.id} of {promised.units} {promised.asset} is {state}")
    payouts = {swap["withdrawal"] for swap in swaps} | {
        (swap["deposit"] or {}).get("refund_withdrawal") for swap in swaps
    }
    for row_id in rows.keys() - book.withdrawals.keys() - payouts:
        verdict.sent_twice.append(f"withdrawal {row_id}: nobody was told of it")
    for kind, wanted in (("transfers", book.transfers), ("escrows", book.escrows), ("swaps", book.swaps)):
        found = {row["id"] for row in api.all_of(f"/{kind}")}
        verdict.lost += [f"{kind} {row_id} is gone" for row_id in wanted.keys() - found]
        verdict.wrong += [f"{kind} {row_id}: nobody was told of it" for row_id in found - wanted.keys()]


def _payees(verdict: Verdict, withdrawals: list[dict[str, Any]], world: World) -> None:
    """By the chains alone: each payee got exactly its amount."""
    for coin in COINS:
        wanted: dict[str, int] = {}
        for row in withdrawals:
            if row["asset"] == coin.code and row["status"] == "completed":
                wanted[row["address"]] = wanted.get(row["address"], 0) + int(row["amount"]["units"])
        found = world.of(coin).received(coin, list(wanted)) if wanted else {}
        for payee, units in wanted.items():
            got = found.get(payee, 0)
            if got < units:
                verdict.lost.append(f"{payee} got {got} of {units} {coin.code}")
            elif got > units:
                verdict.sent_twice.append(f"{payee} got {got} instead of {units} {coin.code}")


def _balances(
    verdict: Verdict, api: Api, book: Book, accounts: Iterable[str], deposits: list[dict[str, Any]],
    withdrawals: list[dict[str, Any]], swaps: list[dict[str, Any]],
) -> None:  # fmt: skip
    """What each customer has, less what it owes, is what came in and was passed to it, less what left."""
    expected: dict[tuple[str, str], int] = defaultdict(int, book.passed_on())
    for row in deposits:
        if row["status"] in _CREDITED:
            expected[row["account"], row["asset"]] += int(row["amount"]["units"])
    for row in withdrawals:
        if row["status"] not in _MONEY_BACK:
            expected[row["account"], row["asset"]] -= int(row["total"]["units"])
    for row in api.all_of("/escrows"):
        for account, sign in ((row["vendor"], 1), (row["buyer"], -1)):
            expected[account, row["asset"]] += sign * int(row["released"]["units"])
    for row in swaps:
        if row["executed_at"] is not None:
            expected[row["account"], row["sell"]["asset"]] -= int(row["sell"]["units"])
            bought = int(row["buy"]["units"]) + (int(row["network_fee"]["units"]) if row["payout_address"] else 0)
            expected[row["account"], row["buy"]["asset"]] += bought
    for account in accounts:
        for asset, has in api.owned(account).items():
            net = sum(has[kind] for kind in ("available", "held", "escrow", "swap")) - has["receivable"]
            _compare(verdict, f"{account} {asset}", net, expected[account, asset])


def _compare(verdict: Verdict, whose: str, found: int, expected: int) -> None:
    if found < expected:
        verdict.lost.append(f"{whose}: {found} units, {expected} by what happened")
    elif found > expected:
        verdict.credited_twice.append(f"{whose}: {found} units, {expected} by what happened")


def _sequence(verdict: Verdict, events: list[dict[str, Any]]) -> None:
    numbers = [event["sequence"] for event in events]
    if numbers != list(range(1, len(numbers) + 1)):
        verdict.wrong.append(f"the sequence of {len(numbers)} events has gaps")


def stalls(events: list[dict[str, Any]], begun: datetime, over: datetime) -> Mapping[str, float]:
    """By asset, the longest time in which nothing came to its end; seconds."""
    moments: dict[str, list[datetime]] = {coin.code: [begun] for coin in COINS}
    for event in events:
        at = datetime.fromisoformat(event["timestamp"])
        if event["type"] in _ENDS and begun <= at <= over:
            moments[event["data"]["object"]["asset"]].append(at)
    return {
        code: max((b - a).total_seconds() for a, b in zip(found, [*found[1:], over], strict=True))
        for code, found in moments.items()
    }
