"""The last chapters: the events from the first to the last, the books against the chains, and the tables."""

from __future__ import annotations

from collections import Counter
from typing import Any

from devstack.demo.figures import BTC, COINS, ETH, USDT, XMR, Coin
from devstack.demo.scene import Scene
from devstack.demo.setting import where

#: How each withdrawal must have gone, as its events tell it.
_WITHDRAWAL_STEPS = ["queued", "signed", "broadcast", "confirming", "completed"]
_PAGE = 25


def read_events(scene: Scene, withdrawals: list[str]) -> list[dict[str, Any]]:
    """Everything that happened, by one sequence without a gap."""
    scene.tell.chapter("The shop reads what happened, from the first event to the last")
    events: list[dict[str, Any]] = []
    scene.tell.until("the last event", lambda: _read_on(scene, events, len(withdrawals)))
    numbers = [event["sequence"] for event in events]
    scene.checks.same("the sequence has no gap", numbers, list(range(1, len(numbers) + 1)))
    scene.tell.shop(f"GET /v1/events?after=0 -> {len(events)} events, numbered 1 to {numbers[-1]} without a gap")
    counted = [f"{count} {name}" for name, count in sorted(Counter(event["type"] for event in events).items())]
    for start in range(0, len(counted), 4):
        scene.tell.shop("  " + ", ".join(counted[start : start + 4]))
    for withdrawal in withdrawals:
        told = [e["type"].partition(".")[2] for e in events if e["data"]["object"]["id"] == withdrawal]
        scene.checks.same(f"events of {withdrawal}", told, _WITHDRAWAL_STEPS)
    return events


def _read_on(scene: Scene, events: list[dict[str, Any]], payouts: int) -> bool | None:
    """Reads what is new, as a shop does that keeps the last number; True once all payouts are told to be over."""
    more = True
    while more:
        page = scene.shop.get("/v1/events", after=events[-1]["sequence"] if events else 0, limit=_PAGE)
        events += page["data"]
        more = page["has_more"]
    return sum(event["type"] == "withdrawal.completed" for event in events) >= payouts or None


def reconcile(scene: Scene) -> None:
    """The books against each chain, by Coffer's own report and by the demo's own count."""
    scene.tell.chapter("The operator compares the books with the chains, coin by coin")
    gas, sent = scene.ethereum.fees_of(scene.ours.values())
    scene.totals.houses[ETH].network_fees = gas
    scene.tell.chain(f"gas of all {sent} transactions of our ethereum addresses: {ETH.show(gas)} ETH")
    reports = {report["asset"]: report for report in scene.desk.read("reconcile")}
    for coin in COINS:
        _reconcile(scene, coin, reports[coin.code])
    _where_ether_lies(scene)
    scene.checks.same("alarms", scene.desk.read("alarms"), [])
    scene.tell.desk("  none")


def _reconcile(scene: Scene, coin: Coin, found: dict[str, Any]) -> None:
    report = {name: int(value) for name, value in found.items() if name.endswith("_units")}
    house, on_chain = scene.totals.houses[coin], scene.totals.on_chain(coin)
    cold = _cold(scene, coin)
    expected = {
        "chain_total_units": on_chain - cold,
        "treasury_units": on_chain - cold,
        "owed_to_customers_units": scene.totals.owed(coin),
        "service_fees_units": house.fees_earned,
        "network_fees_units": house.network_fees,
        "dust_units": house.dust,
        **dict.fromkeys((f"{name}_units" for name in _NOTHING), 0),
    }
    for name, value in expected.items():
        scene.checks.same(f"reconcile {coin.code}: {name}", report[name], value)
    scene.checks.same(f"{coin.code}: the chain's own sum", coin.show(_lies(scene, coin)), coin.show(on_chain))
    scene.tell.ledger(f"{coin.code:<4} treasury by the books {coin.show(report['treasury_units'])}")
    scene.tell.chain(f"{coin.code:<4} on chain              {coin.show(report['chain_total_units'])}")
    scene.tell.ledger(f"{coin.code:<4} difference            {coin.show(report['unexplained_units'])}")


def _where_ether_lies(scene: Scene) -> None:
    """Ether lies in three kinds of places; the books know which."""
    scene.tell.desk("$ coffer treasury status")
    lies = {name: scene.ethereum.balance(address) for name, address in scene.ours.items()}
    places = {"hot": lies.pop("the hot wallet"), "cold": lies.pop("the cold address"), "on_indices": sum(lies.values())}
    scene.checks.same("where the books say that ether lies", where(scene, ETH), {**places, "in_flight": 0})
    shown = ", ".join(f"{name.replace('_', ' ')} {ETH.show(units)}" for name, units in places.items())
    scene.tell.ledger(f"ETH  {shown}")


#: What must be nothing once all has come to rest.
_NOTHING = ("uncredited", "in_flight", "doubtful", "surplus", "suspense", "unexplained")


def _cold(scene: Scene, coin: Coin) -> int:
    return scene.ethereum.balance(scene.ours["the cold address"]) if coin == ETH else 0


def _lies(scene: Scene, coin: Coin) -> int:
    """What the nodes themselves count on all our addresses."""
    if coin == BTC:
        return scene.bitcoin.our_coins()
    if coin == XMR:
        return scene.monero.our_coins()
    count = scene.ethereum.tokens if coin == USDT else scene.ethereum.balance
    return sum(count(address) for address in scene.ours.values())


def show_tables(scene: Scene) -> None:
    """Who has what, to the last unit."""
    scene.tell.chapter("Who has what")
    for coin in COINS:
        _show_table(scene, coin)


def _show_table(scene: Scene, coin: Coin) -> None:
    rows = [[coin.code, "deposited", "transferred", "swapped", "withdrawn", "fees", "available"]]
    sums = [0] * 6
    for who in scene.totals.customers.values():
        purse = who.purses[coin]
        if not purse.moved:
            continue
        moved = purse.received - purse.sent
        left = scene.balances(who)[coin.code]["available"]
        figures = (purse.deposited, moved, purse.swapped, -purse.withdrawn, -purse.fees, left)
        scene.checks.same(f"{who.name}: the row adds up", sum(figures[:5]), figures[5])
        sums = [a + b for a, b in zip(sums, figures, strict=True)]
        rows.append([who.name, *(coin.show(figure) for figure in figures)])
    scene.checks.same("transfers cancel out", sums[1], 0)
    rows.append(["all customers", *(coin.show(figure) for figure in sums)])
    scene.tell.table(rows, total=True)
    house = scene.totals.houses[coin]
    of_the_house = {
        "put in by the house": house.capital,
        "inventory, by swaps": house.traded,
        "rounding": house.rounding,
        "fees earned": house.fees_earned,
        "network fees paid": -house.network_fees,
        "deposits below the minimum": house.dust,
    }
    lies = _lies(scene, coin)
    lines = [[f"the house's {coin.code}", ""], ["owed to customers", coin.show(sums[5])]]
    lines += [[name, coin.show(figure)] for name, figure in of_the_house.items() if figure]
    scene.tell.table([*lines, ["held on chain", coin.show(lies)]], total=True)
    left = lies - sums[5] - sum(of_the_house.values())
    scene.checks.same(f"{coin.code}: what the table leaves unexplained", left, 0)
