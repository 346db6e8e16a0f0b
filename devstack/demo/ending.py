"""The last chapters: the events from the first to the last, the books against the chain, and the table."""

from __future__ import annotations

from collections import Counter
from typing import Any

from devstack.demo.figures import btc
from devstack.demo.scene import Scene

#: How each withdrawal must have gone, as its events tell it.
_WITHDRAWAL_STEPS = ["queued", "signed", "broadcast", "confirming", "completed"]
_PAGE = 25


def read_events(scene: Scene, withdrawals: list[str]) -> None:
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


def _read_on(scene: Scene, events: list[dict[str, Any]], payouts: int) -> bool | None:
    """Reads what is new, as a shop does that keeps the last number; True once all payouts are told to be over."""
    more = True
    while more:
        page = scene.shop.get("/v1/events", after=events[-1]["sequence"] if events else 0, limit=_PAGE)
        events += page["data"]
        more = page["has_more"]
    return sum(event["type"] == "withdrawal.completed" for event in events) >= payouts or None


def reconcile(scene: Scene) -> dict[str, int]:
    """The books against the chain, by Coffer's own report and by the demo's own count."""
    scene.tell.chapter("The operator compares the books with the chain")
    report = _report(scene.desk.read("reconcile"))
    house, totals = scene.totals.house, scene.totals
    expected = {
        "chain_total_units": totals.on_chain,
        "treasury_units": totals.on_chain,
        "owed_to_customers_units": totals.owed,
        "service_fees_units": house.fees_earned,
        "network_fees_units": house.network_fees,
        "dust_units": house.dust,
        "uncredited_units": 0,
        "in_flight_units": 0,
        "suspense_units": 0,
        "unexplained_units": 0,
    }
    for name, value in expected.items():
        scene.checks.same(f"reconcile: {name}", report[name], value)
    scene.checks.same("the node's own sum", btc(scene.outside.our_coins()), btc(totals.on_chain))
    scene.tell.ledger(f"treasury by the books {btc(report['treasury_units']):>12}")
    scene.tell.chain(f"coins in the wallet   {btc(report['chain_total_units']):>12}")
    scene.tell.ledger(f"difference            {btc(report['unexplained_units']):>12}")
    scene.checks.same("alarms", scene.desk.read("alarms"), [])
    scene.tell.desk("  none")
    return report


def _report(found: Any) -> dict[str, int]:
    """The report of the one asset there is."""
    one = found[0] if isinstance(found, list) else found
    return {name: int(value) for name, value in one.items() if name.endswith("_units")}


def show_table(scene: Scene, report: dict[str, int]) -> None:
    """Who has what, to the satoshi."""
    scene.tell.chapter("Who has what (BTC)")
    rows = [["", "deposited", "transferred", "withdrawn", "fees", "available"]]
    people = list(scene.totals.customers.values())
    for who in people:
        moved = who.received - who.sent
        figures = (who.deposited, moved, -who.withdrawn, -who.fees, scene.balance(who)["available"])
        scene.checks.same(f"{who.name}: the row adds up", sum(figures[:4]), figures[4])
        rows.append([who.name, *(btc(figure) for figure in figures)])
    sums = [sum(column) for column in zip(*([_units(cell) for cell in row[1:]] for row in rows[1:]), strict=True)]
    scene.checks.same("transfers cancel out", sums[1], 0)
    rows.append(["all customers", *(btc(figure) for figure in sums)])
    scene.tell.table(rows, total=True)
    house = scene.totals.house
    lines = [
        ["the house", ""],
        ["owed to customers", btc(report["owed_to_customers_units"])],
        ["fees earned", btc(house.fees_earned)],
        ["network fees paid", btc(-house.network_fees)],
        ["deposits below the minimum", btc(house.dust)],
        ["held on chain", btc(report["chain_total_units"])],
    ]
    scene.tell.table(lines, total=True)
    left = report["chain_total_units"] - sums[4] - house.fees_earned + house.network_fees - house.dust
    scene.checks.same("what the table leaves unexplained", left, 0)


def _units(text: str) -> int:
    return int(text.replace(".", ""))
