"""Chapters about money that comes in: accounts, addresses, deposits on three chains, a payment request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from devstack.demo.figures import BTC, COINS, ETH, USDT, XMR, Coin, Customer, Deviation
from devstack.demo.scene import Scene, units

#: What comes in for whom.
PAID: Mapping[Coin, Mapping[str, int]] = {
    BTC: {"Anna": BTC.units("0.5"), "Ben": BTC.units("0.008"), "Chloe": BTC.units("0.015")},
    XMR: {"Anna": XMR.units("0.9"), "Ben": XMR.units("0.6"), "Chloe": XMR.units("0.75")},
    ETH: {"Anna": ETH.units("0.8")},
    USDT: {"Anna": USDT.units("250"), "Ben": USDT.units("120")},
}
#: Below the published minimum of 1,000 satoshi.
CRUMB = 900
#: What Chloe's order costs, and what is missing after her first payment.
ORDER = BTC.units("0.02")
REST = ORDER - PAID[BTC]["Chloe"]


@dataclass(frozen=True)
class Coming:
    """One payment to one of our addresses."""

    name: str
    coin: Coin
    address: str
    units: int
    txid: str


def open_accounts(scene: Scene) -> dict[tuple[str, str], dict[str, Any]]:
    """Three customers and their addresses; these by (name, asset)."""
    scene.tell.chapter("The shop opens accounts and asks for addresses")
    for name in ("Anna", "Ben", "Chloe"):
        made = scene.shop.post("/v1/accounts", {"reference": name.lower(), "kind": "user"}, key=f"account-{name}")
        scene.totals.customers[name] = Customer(name, made["id"])
    wanted = [(name, coin.code) for coin in COINS for name in PAID[coin]]
    order = {"expected_amount": BTC.show(ORDER), "label": "order 1042"}
    homes = {who: _address(scene, *who, **(order if who == ("Chloe", "BTC") else {})) for who in wanted}
    homes["Ben's other", "BTC"] = _address(scene, "Ben", "BTC", key="Ben's other")
    scene.tell.shop(f"Chloe's payment request: {homes['Chloe', 'BTC']['uri']}")
    both = [homes["Anna", asset]["address"] for asset in ("ETH", "USDT")]
    scene.checks.same("one address takes Anna's ether and tokens", both[0], both[1])
    scene.checks.same("and all others differ", len({home["address"] for home in homes.values()}), len(homes) - 1)
    scene.ours |= {name: homes[name, "USDT"]["address"] for name in PAID[USDT]}
    return homes


def _address(scene: Scene, name: str, asset: str, key: str = "", **wish: str) -> dict[str, Any]:
    path = f"/v1/accounts/{scene.customer(name).account}/addresses"
    made: dict[str, Any] = scene.shop.post(path, {"asset": asset, **wish}, key=f"address-{key or name}-{asset}")
    if made["status"] != "ready":  # none was ready ahead of use: the answer was 202
        made = scene.tell.until("the address", lambda: _ready(scene, made["id"]))
    scene.tell.shop(f"  for {name}: {made['address']}")
    return made


def _ready(scene: Scene, address_id: str) -> dict[str, Any] | None:
    found: dict[str, Any] = scene.shop.get(f"/v1/addresses/{address_id}")
    return found if found["status"] == "ready" else None


def pay_in(scene: Scene, homes: dict[tuple[str, str], dict[str, Any]]) -> None:
    """A transaction on each chain pays several customers, or one; blocks make it money."""
    scene.tell.chapter("Outsiders pay in, on three chains")
    to = {who: str(home["address"]) for who, home in homes.items()}
    coming = [*_pay_bitcoin(scene, to), *_pay_monero(scene, to), *_pay_ethereum(scene, to)]
    crumb = coming[2]
    early = [one for one in coming if one.coin in (BTC, XMR)]
    see(scene, early, dict.fromkeys(early, "detected"))
    _different_outputs(scene, early)
    scene.compare(coins=())
    scene.tell.note("Seen is not credited. How many confirmations a deposit needs depends on its coin and amount.")

    scene.mine(bitcoin=1, monero=1, ethereum=1)
    quick = {coming[1]: "credited", crumb: "ignored"}
    see(scene, coming, {one: quick.get(one, "confirming") for one in coming})
    _credit(scene, [coming[1]])
    scene.totals.houses[BTC].dust += CRUMB
    scene.compare(coins=[BTC])

    scene.mine(bitcoin=2, monero=11, ethereum=11)
    rest = [one for one in coming if one not in quick]
    see(scene, rest, dict.fromkeys(rest, "credited"))
    _credit(scene, rest)
    scene.compare()


def _pay_bitcoin(scene: Scene, to: Mapping[tuple[str, str], str]) -> list[Coming]:
    """The first two in one transaction; then one that is too small, and half an order."""
    two = {name: PAID[BTC][name] for name in ("Anna", "Ben")}
    txid = scene.bitcoin.pay({to[name, "BTC"]: amount for name, amount in two.items()})
    scene.tell.chain(f"tx {txid}\nbitcoin, two customers at once: {_amounts(BTC, two)}")
    crumb = scene.bitcoin.pay({to["Ben's other", "BTC"]: CRUMB})
    scene.tell.chain(f"tx {crumb}\nbitcoin, Ben's other address, {BTC.show(CRUMB)}: below the minimum")
    half = scene.bitcoin.pay({to["Chloe", "BTC"]: PAID[BTC]["Chloe"]})
    part = f"{BTC.show(PAID[BTC]['Chloe'])} of the {BTC.show(ORDER)} that her order costs"
    scene.tell.chain(f"tx {half}\nbitcoin, Chloe, {part}")
    return [
        *(Coming(name, BTC, to[name, "BTC"], amount, txid) for name, amount in two.items()),
        Coming("Ben's other", BTC, to["Ben's other", "BTC"], CRUMB, crumb),
        Coming("Chloe", BTC, to["Chloe", "BTC"], PAID[BTC]["Chloe"], half),
    ]


def _pay_monero(scene: Scene, to: Mapping[tuple[str, str], str]) -> list[Coming]:
    txid = scene.monero.pay({to[name, "XMR"]: amount for name, amount in PAID[XMR].items()})
    scene.tell.chain(f"tx {txid}\nmonero, three customers at once: {_amounts(XMR, PAID[XMR])}")
    return [Coming(name, XMR, to[name, "XMR"], amount, txid) for name, amount in PAID[XMR].items()]


def _pay_ethereum(scene: Scene, to: Mapping[tuple[str, str], str]) -> list[Coming]:
    made = []
    for coin, pay in ((ETH, scene.ethereum.pay), (USDT, scene.ethereum.pay_token)):
        for name, amount in PAID[coin].items():
            txid = pay(to[name, coin.code], amount)
            scene.tell.chain(f"tx {txid}\nethereum, {name}: {coin.show(amount)} {coin.code}")
            made.append(Coming(name, coin, to[name, coin.code], amount, txid))
    return made


def _amounts(coin: Coin, amounts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {coin.show(amount)}" for name, amount in amounts.items())


def _credit(scene: Scene, coming: Sequence[Coming]) -> None:
    for one in coming:
        scene.purse(one.name, one.coin).deposited += one.units


def complete_the_order(scene: Scene, homes: dict[tuple[str, str], dict[str, Any]]) -> None:
    """The request was underpaid; the rest makes it paid."""
    scene.tell.chapter("Chloe's order: too little, then the rest")
    request = homes["Chloe", "BTC"]
    _request(scene, request["id"], "underpaid", PAID[BTC]["Chloe"])
    txid = scene.bitcoin.pay({str(request["address"]): REST})
    scene.tell.chain(f"tx {txid}\nbitcoin, Chloe, the missing {BTC.show(REST)}")
    scene.mine(bitcoin=1)
    rest = Coming("Chloe", BTC, str(request["address"]), REST, txid)
    see(scene, [rest], {rest: "credited"})
    _credit(scene, [rest])
    _request(scene, request["id"], "paid", ORDER)
    scene.compare("Chloe", coins=[BTC])


def _request(scene: Scene, address_id: str, status: str, received: int) -> None:
    found = scene.shop.get(f"/v1/addresses/{address_id}")["payment_request"]
    scene.checks.same("the payment request", (found["status"], units(found["received"])), (status, received))
    scene.tell.shop(f"GET the payment request -> {status}: {BTC.show(received)} of {found['expected']['amount']}")


def see(scene: Scene, coming: Sequence[Coming], wanted: Mapping[Coming, str]) -> None:
    """Waits until each of these deposits is in the wanted state, and tells them as the API shows them."""

    def look() -> list[dict[str, Any]] | None:
        found = [_find(scene, listed, one) for listed in [_deposits(scene)] for one in coming]
        if all(d is not None and d["status"] == wanted[one] for one, d in zip(coming, found, strict=True)):
            return [d for d in found if d is not None]
        return None

    found = scene.tell.until(f"the deposits to be {'/'.join(dict.fromkeys(wanted.values()))}", look)
    for one, deposit in zip(coming, found, strict=True):
        scene.checks.same(f"{one.name}: the amount of the deposit", units(deposit["amount"]), one.units)
    pairs = list(zip(coming, found, strict=True))
    for code, group in groupby(pairs, key=lambda pair: pair[0].coin.code):
        told = [f"{one.name} {d['status']} {_depth(d)}".rstrip() for one, d in group]
        scene.tell.shop(f"GET /v1/deposits -> {code:<4} {', '.join(told)}")


def _find(scene: Scene, listed: list[dict[str, Any]], one: Coming) -> dict[str, Any] | None:
    """The deposit of a payment. Waiting cannot help one that went where it must not."""
    who = (one.txid, one.address, one.coin.code)
    found = next((d for d in listed if (d["txid"], d["address"], d["asset"]) == who), None)
    if found is not None and found["status"] in ("held", "reversed"):
        raise Deviation(f"{one.name}: the deposit is {found['status']} ({found['status_reason']})")
    return found


def _deposits(scene: Scene) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = scene.shop.get("/v1/deposits", limit=100)["data"]
    return found


def _depth(deposit: dict[str, Any]) -> str:
    needed = deposit["confirmations_needed"]
    return "" if needed is None else f"{deposit['confirmations']}/{needed}"


def _different_outputs(scene: Scene, coming: Sequence[Coming]) -> None:
    """Deposits of one transaction are told apart by what of it paid them."""
    listed = _deposits(scene)
    outputs = {(one.txid, d["output"]) for one in coming for d in [_find(scene, listed, one)] if d is not None}
    scene.checks.same("each deposit has its own output", len(outputs), len(coming))
