"""Chapters about money that comes in: accounts, addresses, deposits, a payment request."""

from __future__ import annotations

from typing import Any

from devstack.demo.figures import Customer, Deviation, btc
from devstack.demo.scene import Scene, units

ANNA, BEN, CHLOE = 50_000_000, 800_000, 1_500_000
#: Below the published minimum of 1,000 satoshi.
CRUMB = 900
#: What Chloe's order costs, and what is missing after her first payment.
ORDER = 2_000_000
REST = ORDER - CHLOE


def open_accounts(scene: Scene) -> dict[str, dict[str, Any]]:
    """Three customers, an address each, and one more for Ben; the addresses by whom they are for."""
    scene.tell.chapter("The shop opens accounts and asks for addresses")
    for name in ("Anna", "Ben", "Chloe"):
        made = scene.shop.post("/v1/accounts", {"reference": name.lower(), "kind": "user"}, key=f"account-{name}")
        scene.totals.customers[name] = Customer(name, made["id"])
    addresses = {name: _address(scene, name, name) for name in ("Anna", "Ben")}
    addresses["Ben's other"] = _address(scene, "Ben", "Ben's other")
    addresses["Chloe"] = _address(scene, "Chloe", "Chloe", expected_amount=btc(ORDER), label="order 1042")
    scene.tell.shop(f"Chloe's payment request: {addresses['Chloe']['uri']}")
    scene.checks.same("four addresses, all different", len({a["address"] for a in addresses.values()}), 4)
    return addresses


def _address(scene: Scene, name: str, key: str, **wish: str) -> dict[str, Any]:
    path = f"/v1/accounts/{scene.customer(name).account}/addresses"
    made: dict[str, Any] = scene.shop.post(path, {"asset": "BTC", **wish}, key=f"address-{key}")
    if made["status"] != "ready":  # none was ready ahead of use: the answer was 202
        made = scene.tell.until("the address", lambda: _ready(scene, made["id"]))
    scene.tell.shop(f"  for {name}: {made['address']}, index {made['index']}")
    return made


def _ready(scene: Scene, address_id: str) -> dict[str, Any] | None:
    found: dict[str, Any] = scene.shop.get(f"/v1/addresses/{address_id}")
    return found if found["status"] == "ready" else None


def pay_in(scene: Scene, addresses: dict[str, dict[str, Any]]) -> None:
    """One transaction pays two customers; a crumb and half an order come beside it; three blocks make it money."""
    scene.tell.chapter("Outsiders pay in")
    to = {name: str(found["address"]) for name, found in addresses.items()}
    txid = scene.outside.pay({to["Anna"]: ANNA, to["Ben"]: BEN})
    scene.tell.chain(f"tx {txid}\none transaction, two customers: Anna {btc(ANNA)}, Ben {btc(BEN)}")
    crumb = scene.outside.pay({to["Ben's other"]: CRUMB})
    scene.tell.chain(f"tx {crumb}\nBen's other address, {btc(CRUMB)}: below the minimum")
    first = scene.outside.pay({to["Chloe"]: CHLOE})
    scene.tell.chain(f"tx {first}\nChloe, {btc(CHLOE)} of the {btc(ORDER)} that her order costs")
    _see(scene, {"Anna": "detected", "Ben": "detected", "Ben's other": "detected", "Chloe": "detected"}, to)
    _same_transaction(scene, txid, to)
    scene.compare()
    scene.tell.note("Seen is not credited. How many confirmations a deposit needs depends on its amount.")

    scene.mine()
    _see(scene, {"Anna": "confirming", "Ben": "credited", "Ben's other": "ignored", "Chloe": "confirming"}, to)
    scene.customer("Ben").deposited += BEN
    scene.totals.house.dust += CRUMB
    scene.compare()
    scene.mine()
    _see(scene, {"Anna": "confirming", "Chloe": "confirming"}, to, confirmations=2)
    scene.mine()
    _see(scene, {"Anna": "credited", "Chloe": "credited"}, to)
    scene.customer("Anna").deposited += ANNA
    scene.customer("Chloe").deposited += CHLOE
    scene.compare()


def complete_the_order(scene: Scene, addresses: dict[str, dict[str, Any]]) -> None:
    """The request was underpaid; the rest makes it paid."""
    scene.tell.chapter("Chloe's order: too little, then the rest")
    request = addresses["Chloe"]
    _request(scene, request["id"], "underpaid", CHLOE)
    txid = scene.outside.pay({str(request["address"]): REST})
    scene.tell.chain(f"tx {txid}\nChloe, the missing {btc(REST)}")
    scene.mine()
    scene.tell.until("the rest to be credited", lambda: _credited(scene, txid))
    scene.customer("Chloe").deposited += REST
    _request(scene, request["id"], "paid", ORDER)
    scene.compare("Chloe")


def _request(scene: Scene, address_id: str, status: str, received: int) -> None:
    found = scene.shop.get(f"/v1/addresses/{address_id}")["payment_request"]
    scene.checks.same("the payment request", (found["status"], units(found["received"])), (status, received))
    scene.tell.shop(f"GET the payment request -> {status}: {btc(received)} of {found['expected']['amount']}")


def _credited(scene: Scene, txid: str) -> bool | None:
    return any(d["txid"] == txid and d["status"] == "credited" for d in _deposits(scene)) or None


def _deposits(scene: Scene) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = scene.shop.get("/v1/deposits", limit=100)["data"]
    return found


def _see(scene: Scene, wanted: dict[str, str], to: dict[str, str], confirmations: int | None = None) -> None:
    """Waits until these deposits are in these states (and as deep), and tells them as the API shows them."""

    def look() -> list[dict[str, Any]] | None:
        by_address = {d["address"]: d for d in _deposits(scene)}
        found = [by_address.get(to[name]) for name in wanted]
        _no_detour(wanted, found)
        if all(d is not None and _as_wanted(d, s) for d, s in zip(found, wanted.values(), strict=True)):
            return [d for d in found if d is not None]
        return None

    def _as_wanted(deposit: dict[str, Any], state: str) -> bool:
        return deposit["status"] == state and confirmations in (None, deposit["confirmations"])

    found = scene.tell.until("the deposits to be " + "/".join(dict.fromkeys(wanted.values())), look)
    shown = [f"{name} {d['status']} {_depth(d)}".rstrip() for name, d in zip(wanted, found, strict=True)]
    scene.tell.shop("GET /v1/deposits -> " + ", ".join(shown))
    scene.checks.made += len(found)


def _depth(deposit: dict[str, Any]) -> str:
    needed = deposit["confirmations_needed"]
    return "" if needed is None else f"{deposit['confirmations']}/{needed}"


def _no_detour(wanted: dict[str, str], found: list[dict[str, Any] | None]) -> None:
    """Waiting cannot help a deposit that went where it must not."""
    for name, deposit in zip(wanted, found, strict=True):
        if deposit is not None and deposit["status"] in ("held", "reversed"):
            raise Deviation(f"{name}: the deposit is {deposit['status']} ({deposit['status_reason']})")


def _same_transaction(scene: Scene, txid: str, to: dict[str, str]) -> None:
    by_address = {d["address"]: d for d in _deposits(scene)}
    pair = [by_address[to["Anna"]], by_address[to["Ben"]]]
    scene.checks.same("both deposits name the one transaction", [d["txid"] for d in pair], [txid, txid])
    scene.checks.same("and different outputs of it", len({d["vout"] for d in pair}), 2)
    scene.checks.same("Anna's amount, Ben's amount", [units(d["amount"]) for d in pair], [ANNA, BEN])
