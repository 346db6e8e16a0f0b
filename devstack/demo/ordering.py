"""Chapters about orders: money waits in escrow between buyer and vendor, and goes on, back, or in two parts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from devstack.demo.figures import BTC, USDT, XMR, Coin, Customer, Deviation
from devstack.demo.incoming import Coming, see
from devstack.demo.scene import Scene, units

VENDOR = "Vera"
#: Anna's order, and what she pays for it in two parts: together a little too much.
PRICE, PARTS = BTC.units("0.001"), (BTC.units("0.0006"), BTC.units("0.00045"))
#: Chloe's: she bears the house's fee, a fixed one, and gets it back with the rest.
RETURNED, FIXED_FEE = BTC.units("0.005"), BTC.units("0.0001")
#: Ben's: a third goes to the vendor, which does not divide evenly.
DISPUTED, FOR_THE_VENDOR = XMR.units("0.25"), XMR.units("0.083333333333")
#: What Anna wants for tokens, and what she pays of it.
TOKENS, TOKENS_PAID = USDT.units("80"), USDT.units("50")
#: Long enough that the part is paid in time on any machine.
PATIENCE_SECONDS = 20
#: One in a hundred, of what the vendor gets.
PERCENT = 1


def begin_a_token_order(scene: Scene) -> str:
    """Paid in part only. From here on the clock runs: until its end nothing may depend on how long anything takes."""
    scene.tell.chapter("Anna orders for tokens, and pays a part")
    until = datetime.now(UTC) + timedelta(seconds=PATIENCE_SECONDS)
    escrow = _make(scene, "Anna", USDT, TOKENS, "order-2004", {"funding_deadline": f"{until:%Y-%m-%dT%H:%M:%SZ}"})
    told = _fund(scene, escrow, "Anna", USDT, TOKENS_PAID)
    scene.checks.same("it waits for the rest", told["status"], "awaiting_funds")
    scene.checks.same("what is missing", units(told["missing"]), TOKENS - TOKENS_PAID)
    scene.tell.shop(f"awaiting_funds, missing {told['missing']['amount']}; its funding deadline is near")
    return escrow


def end_the_token_order(scene: Scene, escrow: str) -> None:
    """By the database's clock; nobody asks for it."""
    scene.tell.chapter("The token order was never paid in full: its time is over")
    scene.tell.until("the funding deadline", lambda: _status(scene, escrow) == "expired" or None)
    scene.tell.shop(f"GET /v1/escrows/{escrow} -> expired")
    scene.purse("Anna", USDT).escrowed -= TOKENS_PAID
    scene.compare("Anna", coins=[USDT])


def pay_an_order(scene: Scene) -> tuple[str, str]:
    """Two deposits to the order's own address fund it; what is too much is the buyer's. Ids of escrow and order."""
    scene.tell.chapter("Anna pays an order in bitcoin, into escrow, by two deposits to its own address")
    vendor = scene.shop.post("/v1/accounts", {"reference": VENDOR.lower(), "kind": "vendor"}, key="account-vendor")
    scene.totals.customers[VENDOR] = Customer(VENDOR, vendor["id"])
    order = scene.shop.post("/v1/accounts", {"reference": "order-2001", "kind": "order"}, key="account-order")["id"]
    wish = {
        "order": order,
        "fee_percent": str(PERCENT),
        "fee_from": "vendor",
        "on_overpaid": "return",
        "address": True,
    }
    escrow = _make(scene, "Anna", BTC, PRICE, "order-2001", wish)
    home = scene.tell.until("the order's address", lambda: _home(scene, escrow))
    anna = scene.purse("Anna", BTC)
    _deposit(scene, home, PARTS[0])
    anna.escrowed += PARTS[0]
    found = scene.shop.get(f"/v1/escrows/{escrow}")
    scene.checks.same("it waits for the rest", found["status"], "awaiting_funds")
    scene.checks.same("what is missing", units(found["missing"]), PRICE - PARTS[0])
    scene.tell.shop(f"GET /v1/escrows/{escrow} -> awaiting_funds, missing {found['missing']['amount']}")
    scene.compare("Anna", coins=())
    _deposit(scene, home, PARTS[1])
    anna.escrowed += PRICE - PARTS[0]
    found = scene.tell.until("the escrow to be funded", lambda: _reached(scene, escrow, "funded"))
    scene.tell.shop(f"GET /v1/escrows/{escrow} -> funded with {found['held']['amount']}; the rest is Anna's again")
    scene.compare("Anna", coins=[BTC])
    return escrow, order


def _deposit(scene: Scene, home: str, part: int) -> None:
    txid = scene.bitcoin.pay({home: part})
    scene.tell.chain(f"tx {txid}\nbitcoin, {BTC.show(part)} to {home}")
    scene.mine(bitcoin=1)
    coming = Coming("Anna", BTC, home, part, txid)
    see(scene, [coming], {coming: "credited"})
    scene.purse("Anna", BTC).deposited += part


def release(scene: Scene, escrow: str) -> None:
    """The vendor's at once: rows in the ledger, nothing on chain."""
    scene.tell.chapter("Vera has delivered: the escrow is released to her")
    before = scene.bitcoin.our_coins()
    told = scene.shop.post(f"/v1/escrows/{escrow}/release", {}, key="release-2001")
    fee = PRICE * PERCENT // 100
    scene.checks.same("the state", told["status"], "released")
    scene.checks.same("the house's fee", units(told["fee_taken"]), fee)
    _pass(scene, "Anna", BTC, PRICE, fee)
    scene.compare("Anna", VENDOR, coins=[BTC])
    late = scene.shop.ask(f"/v1/escrows/{escrow}/refund", {}, key="too-late")
    scene.checks.same("what is over is over", (late.status, late.body["code"]), (409, "state_conflict"))
    scene.tell.shop(f"a refund now -> {late.status} {late.body['code']}")
    scene.checks.same("what lies on chain stays as it is", scene.bitcoin.our_coins(), before)


def refund(scene: Scene) -> str:
    """Paid from a balance, fee on top; given back to the last unit."""
    scene.tell.chapter("Chloe's order cannot be delivered: her money goes back, the fee too")
    wish = {"fee_amount": BTC.show(FIXED_FEE), "fee_from": "buyer"}
    escrow = _make(scene, "Chloe", BTC, RETURNED, "order-2002", wish)
    _fund(scene, escrow, "Chloe", BTC, RETURNED + FIXED_FEE)
    scene.tell.until("the escrow to be funded", lambda: _reached(scene, escrow, "funded"))
    scene.compare("Chloe", coins=[BTC])
    told = scene.shop.post(f"/v1/escrows/{escrow}/refund", {}, key="refund-2002")
    scene.checks.same("the state", told["status"], "refunded")
    scene.purse("Chloe", BTC).escrowed -= RETURNED + FIXED_FEE
    scene.compare("Chloe", coins=[BTC])
    return escrow


def split(scene: Scene) -> str:
    """Disputed, and decided by somebody else than the shop, to the last unit."""
    scene.tell.chapter("Ben disputes an order; the arbiter splits it, to the last piconero")
    wish = {"fee_percent": str(PERCENT), "fee_from": "vendor"}
    escrow = _make(scene, "Ben", XMR, DISPUTED, "order-2003", wish)
    _fund(scene, escrow, "Ben", XMR, DISPUTED)
    scene.tell.until("the escrow to be funded", lambda: _reached(scene, escrow, "funded"))
    scene.shop.post(f"/v1/escrows/{escrow}/dispute", {"reason": "a third of it arrived"}, key="dispute-2003")
    parts = {"vendor_amount": XMR.show(FOR_THE_VENDOR)}
    refused = scene.shop.ask(f"/v1/escrows/{escrow}/resolve", parts, key="resolve-2003-shop")
    scene.checks.same("the shop is no arbiter", (refused.status, refused.body["code"]), (403, "scope_missing"))
    scene.tell.shop(f"the shop's own key may not decide: {refused.status} {refused.body['code']}")
    told = scene.arbiter.post(f"/v1/escrows/{escrow}/resolve", parts, key="resolve-2003")
    fee = DISPUTED * PERCENT // 100 * FOR_THE_VENDOR // DISPUTED
    scene.checks.same("the state", told["status"], "resolved")
    scene.checks.same("the fee of her part, rounded down", units(told["fee_taken"]), fee)
    _pass(scene, "Ben", XMR, FOR_THE_VENDOR, fee)
    scene.purse("Ben", XMR).escrowed -= DISPUTED - FOR_THE_VENDOR
    scene.compare("Ben", VENDOR, coins=[XMR])
    return escrow


def _make(scene: Scene, buyer: str, coin: Coin, price: int, reference: str, wish: dict[str, Any]) -> str:
    body = {"buyer": scene.customer(buyer).account, "vendor": scene.customer(VENDOR).account, "asset": coin.code}
    made = scene.shop.post("/v1/escrows", body | {"amount": coin.show(price), "reference": reference} | wish,
                           key=reference)  # fmt: skip
    scene.checks.same("a new escrow", made["status"], "awaiting_funds")
    return str(made["id"])


def _fund(scene: Scene, escrow: str, buyer: str, coin: Coin, amount: int) -> dict[str, Any]:
    """From the buyer's balance; the escrow afterwards."""
    told: dict[str, Any] = scene.shop.post(
        f"/v1/escrows/{escrow}/fund", {"amount": coin.show(amount)}, key=f"fund-{escrow}"
    )
    scene.checks.same("what lies in it", units(told["held"]), amount)
    scene.purse(buyer, coin).escrowed += amount
    return told


def _pass(scene: Scene, buyer: str, coin: Coin, part: int, fee: int) -> None:
    """What the buyer had in escrow is the vendor's, less the house's fee."""
    gives, gets = scene.purse(buyer, coin), scene.purse(VENDOR, coin)
    gives.escrowed -= part
    gives.sent += part
    gets.received += part
    gets.fees += fee
    scene.totals.houses[coin].fees_earned += fee


def _status(scene: Scene, escrow: str) -> str:
    return str(scene.shop.get(f"/v1/escrows/{escrow}")["status"])


def _reached(scene: Scene, escrow: str, state: str) -> dict[str, Any] | None:
    found: dict[str, Any] = scene.shop.get(f"/v1/escrows/{escrow}")
    if found["status"] not in ("awaiting_funds", state):
        raise Deviation(f"escrow {escrow} is {found['status']} ({found['status_reason']})")
    return found if found["status"] == state else None


def _home(scene: Scene, escrow: str) -> str | None:
    """The order's own address, once the node watches it."""
    found = scene.shop.get(f"/v1/escrows/{escrow}")["address"]
    return None if found is None else str(found)
