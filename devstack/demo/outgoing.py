"""Chapters about money that moves and leaves: a transfer, a refusal, three withdrawals in one payment, a fee bump."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from devstack.demo.figures import Deviation, btc
from devstack.demo.scene import Scene, units

GIFT = 10_000_000
TOO_MUCH = 500_000_000
WITHDRAWALS = {"Anna": 20_000_000, "Ben": 5_000_000, "Chloe": 1_000_000}
#: sat per 1000 vB that the operator orders; the first candidate offers 5,000, the fallback of a node without estimates.
BUMP_RATE = 10_000


@dataclass(frozen=True)
class Leaving:
    """One withdrawal under way."""

    name: str
    id: str
    address: str
    units: int
    fee_units: int


def give(scene: Scene) -> None:
    """Anna gives Ben something: two rows in the ledger, nothing on chain."""
    scene.tell.chapter("Anna gives Ben 0.1: a transfer between accounts, nothing on chain")
    anna, ben = scene.customer("Anna"), scene.customer("Ben")
    body = {"from_account": anna.account, "to_account": ben.account, "asset": "BTC", "amount": btc(GIFT)}
    before = scene.outside.our_coins()
    scene.shop.post("/v1/transfers", body | {"reference": "gift-1"}, key="gift-1")
    anna.sent += GIFT
    ben.received += GIFT
    scene.compare("Anna", "Ben")
    scene.checks.same("coins on chain stay as they are", scene.outside.our_coins(), before)


def overdraw(scene: Scene) -> None:
    """Ben asks for more than he has and gets a problem, and nothing else happens."""
    scene.tell.chapter("Ben asks for more than he has")
    body = _order(scene, "Ben", TOO_MUCH, scene.outside.new_address(), "too-much")
    answer = scene.shop.ask("/v1/withdrawals", body, key="too-much")
    scene.tell.shop(f"POST /v1/withdrawals amount={btc(TOO_MUCH)} -> {answer.status} {answer.media}")
    scene.tell.shop(f"  code={answer.body['code']}: {answer.body['detail']}")
    found = (answer.status, answer.media, answer.body["code"])
    scene.checks.same("the refusal", found, (409, "application/problem+json", "insufficient_funds"))
    scene.compare("Ben")


def withdraw(scene: Scene) -> list[Leaving]:
    """Three customers withdraw; each amount and fee is held in the request's own transaction."""
    scene.tell.chapter("Three customers withdraw")
    fee = _preview(scene, "Anna")
    leaving = [_request(scene, name, amount) for name, amount in WITHDRAWALS.items()]
    scene.checks.same("Anna is charged the fee she was shown", leaving[0].fee_units, fee)
    _repeat(scene, leaving[1])
    scene.compare()
    return leaving


def _preview(scene: Scene, name: str) -> int:
    """What the customer is shown before she agrees: the fee."""
    body = _order(scene, name, WITHDRAWALS[name], scene.outside.new_address(), "")
    del body["reference"]  # nothing is stored
    answer = scene.shop.ask("/v1/withdrawals/preview", body)
    scene.checks.same("the preview", answer.status, 200)
    scene.tell.shop(f"POST /v1/withdrawals/preview -> Anna pays {answer.body['total']['amount']}, the fee included")
    return units(answer.body["fee"])


def _order(scene: Scene, name: str, amount: int, address: str, reference: str) -> dict[str, Any]:
    body = {"account": scene.customer(name).account, "asset": "BTC", "amount": btc(amount), "address": address}
    return body | {"reference": reference}


def _request(scene: Scene, name: str, amount: int) -> Leaving:
    address, reference = scene.outside.new_address(), f"payout-{name.lower()}"
    body = _order(scene, name, amount, address, reference)
    made = scene.shop.post("/v1/withdrawals", body, key=reference)
    leaving = Leaving(name, made["id"], address, units(made["amount"]), units(made["fee"]))
    scene.checks.same(f"{name}: the amount to be paid", leaving.units, amount)
    scene.customer(name).held += units(made["total"])
    return leaving


def _repeat(scene: Scene, leaving: Leaving) -> None:
    """A shop that lost the answer asks again with the same key: the same withdrawal, not a second one."""
    body = _order(scene, leaving.name, leaving.units, leaving.address, f"payout-{leaving.name.lower()}")
    again = scene.shop.ask("/v1/withdrawals", body, key=f"payout-{leaving.name.lower()}")
    scene.tell.shop(f"{leaving.name}'s again, same Idempotency-Key -> {again.status} {again.body['id']}: the same one")
    found = (again.status, again.replayed, again.body["id"])
    scene.checks.same("a repeat gets the withdrawal that is there", found, (202, True, leaving.id))
    listed = scene.shop.get("/v1/withdrawals", account=scene.customer(leaving.name).account)["data"]
    scene.checks.same(f"{leaving.name} has one withdrawal", len(listed), 1)


def leave_together(scene: Scene, leaving: list[Leaving]) -> tuple[str, str]:
    """Wait for the payment that carries all three; its id and txid."""
    scene.tell.chapter("They leave in one payment")
    shown = scene.tell.until("the payment to be in the pool", lambda: _sent(scene, leaving))
    payments, txids = {w["payment"] for w in shown}, {w["txid"] for w in shown}
    scene.checks.same("one payment, one transaction", (len(payments), len(txids)), (1, 1))
    payment, txid = payments.pop(), txids.pop()
    scene.tell.shop(f"GET /v1/withdrawals -> all three broadcast, all in {payment}")
    _in_pool(scene, txid, "waits in the pool", leaving)
    return payment, txid


def _sent(scene: Scene, leaving: list[Leaving]) -> list[dict[str, Any]] | None:
    found = _all(scene, leaving, "broadcast")
    return found if found and all(scene.outside.waiting(one["txid"]) for one in found) else None


def _all(scene: Scene, leaving: list[Leaving], state: str) -> list[dict[str, Any]] | None:
    found = [scene.shop.get(f"/v1/withdrawals/{one.id}") for one in leaving]
    for one in found:
        if one["status"] in ("failed", "review", "rejected", "cancelled"):
            raise Deviation(f"withdrawal {one['id']} is {one['status']} ({one['status_reason']})")
    return found if all(one["status"] == state for one in found) else None


def _in_pool(scene: Scene, txid: str, remark: str, leaving: list[Leaving]) -> None:
    """Tells what the node has: size, fee, and the outputs, which must be exactly the withdrawals and one change."""
    entry = scene.outside.waiting(txid)
    if entry is None:
        raise Deviation(f"the node does not have {txid} in its pool")
    paid = scene.outside.outputs(txid)
    for one in leaving:
        scene.checks.same(f"{one.name}'s output", paid.get(one.address), one.units)
    names = {one.address: one.name for one in leaving}
    scene.checks.same("one more output: our change", len(paid), len(leaving) + 1)
    lines = [f"{btc(amount):>12}  {address}  {names.get(address, '(change)')}" for address, amount in paid.items()]
    head = f"tx {txid}\n{entry['vbytes']} vB, fee {entry['fee_units']} sat; {remark}"
    scene.tell.chain("\n".join([head, *lines]))


def bump(scene: Scene, payment: str, old: str, leaving: list[Leaving]) -> str:
    """No block comes; the operator offers the miners more. The new txid."""
    scene.tell.chapter("It is stuck: the operator raises the fee, on the same inputs")
    scene.tell.until("the payment to wait for a block", lambda: _waits(scene, payment))
    said = scene.desk.run("payments", "bump", payment, "--rate", str(BUMP_RATE))
    scene.tell.desk(f"  {said}")
    txid = scene.tell.until("the replacement", lambda: _replaced(scene, leaving, old))
    _in_pool(scene, txid, "it has replaced the first", leaving)
    scene.checks.same("the first is out of the pool", scene.outside.waiting(old), None)
    scene.compare()
    scene.tell.note("The customers pay the fee they were shown; what the network takes more is the house's.")
    return txid


def _waits(scene: Scene, payment: str) -> bool | None:
    found = scene.desk.look("payments", "list")
    return any(p["id"] == payment and p["state"] == "confirming" for p in found) or None


def _replaced(scene: Scene, leaving: list[Leaving], old: str) -> str | None:
    found = _sent(scene, leaving)
    return str(found[0]["txid"]) if found and found[0]["txid"] != old else None


def confirm(scene: Scene, old: str, new: str, leaving: list[Leaving]) -> None:
    """Two blocks: the replacement is in the first, and after the second the books are settled, once."""
    scene.tell.chapter("The replacement confirms")
    block = scene.mine()
    fee = scene.outside.in_block(new, block)
    if fee is None:
        raise Deviation(f"{new} is not in block {block}")
    scene.tell.chain(f"the replacement is in it, fee {fee} sat; the first never will be")
    scene.checks.same("the first is not in it", scene.outside.in_block(old, block), None)
    scene.tell.until("the withdrawals to be confirming", lambda: _all(scene, leaving, "confirming"))
    scene.tell.shop("GET /v1/withdrawals -> all three confirming")
    scene.mine()
    shown = scene.tell.until("the withdrawals to be completed", lambda: _all(scene, leaving, "completed"))
    scene.checks.same("all name the replacement", {w["txid"] for w in shown}, {new})
    scene.totals.house.network_fees += fee
    for one in leaving:
        _settle(scene, one)
    scene.tell.shop("GET /v1/withdrawals -> all three completed")
    scene.compare()


def _settle(scene: Scene, one: Leaving) -> None:
    who = scene.customer(one.name)
    who.held -= one.units + one.fee_units
    who.withdrawn += one.units
    who.fees += one.fee_units
    scene.totals.house.fees_earned += one.fee_units
    scene.checks.same(f"{one.name} received outside", scene.outside.received(one.address), one.units)
