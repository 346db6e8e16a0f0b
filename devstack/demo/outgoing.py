"""Chapters about money that moves and leaves: transfers, a refusal, withdrawals on three chains, two fee bumps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from devstack.demo.figures import BTC, ETH, USDT, XMR, Coin, Deviation
from devstack.demo.scene import Scene, units

GIFTS: Mapping[Coin, int] = {BTC: BTC.units("0.1"), USDT: USDT.units("40")}
TOO_MUCH = BTC.units("5")
WITHDRAWN: Mapping[Coin, Mapping[str, int]] = {
    BTC: {"Anna": BTC.units("0.2"), "Ben": BTC.units("0.05"), "Chloe": BTC.units("0.01")},
    XMR: {"Anna": XMR.units("0.4"), "Ben": XMR.units("0.2"), "Chloe": XMR.units("0.1")},
    ETH: {"Anna": ETH.units("0.3")},
    USDT: {"Ben": USDT.units("60")},
}
#: sat per 1000 vB that the operator orders; the first candidate offers 5,000, the fallback of a node without estimates.
BUMP_RATE = 10_000


@dataclass(frozen=True)
class Leaving:
    """One withdrawal under way."""

    name: str
    coin: Coin
    id: str
    address: str
    units: int
    fee_units: int


def give(scene: Scene) -> None:
    """Anna gives Ben something: rows in the ledger, nothing on chain."""
    scene.tell.chapter("Anna gives Ben coins and tokens: transfers between accounts, nothing on chain")
    anna, ben = scene.customer("Anna"), scene.customer("Ben")
    before = scene.bitcoin.our_coins(), scene.ethereum.tokens(scene.ours["Anna"])
    for coin, amount in GIFTS.items():
        body = {
            "from_account": anna.account,
            "to_account": ben.account,
            "asset": coin.code,
            "amount": coin.show(amount),
        }
        gift = f"gift-{coin.code}"
        scene.shop.post("/v1/transfers", body | {"reference": gift}, key=gift)
        anna.purses[coin].sent += amount
        ben.purses[coin].received += amount
    scene.compare("Anna", "Ben", coins=GIFTS.keys())
    after = scene.bitcoin.our_coins(), scene.ethereum.tokens(scene.ours["Anna"])
    scene.checks.same("what lies on chain stays as it is", after, before)


def overdraw(scene: Scene) -> None:
    """Ben asks for more than he has and gets a problem, and nothing else happens."""
    scene.tell.chapter("Ben asks for more than he has")
    body = _order(scene, "Ben", BTC, TOO_MUCH, scene.bitcoin.new_address(), "too-much")
    answer = scene.shop.ask("/v1/withdrawals", body, key="too-much")
    scene.tell.shop(f"POST /v1/withdrawals asset=BTC amount={BTC.show(TOO_MUCH)} -> {answer.status} {answer.media}")
    scene.tell.shop(f"  code={answer.body['code']}: {answer.body['detail']}")
    found = (answer.status, answer.media, answer.body["code"])
    scene.checks.same("the refusal", found, (409, "application/problem+json", "insufficient_funds"))
    scene.compare("Ben", coins=())


def withdraw(scene: Scene) -> list[Leaving]:
    """Withdrawals on three chains; each amount and fee is held in the request's own transaction."""
    scene.tell.chapter("Customers withdraw, on three chains")
    fee = _preview(scene, "Anna", BTC)
    leaving = [_request(scene, name, coin, n) for coin, whom in WITHDRAWN.items() for name, n in whom.items()]
    scene.checks.same("Anna is charged the fee she was shown", leaving[0].fee_units, fee)
    _repeat(scene, leaving[1])
    scene.compare()
    return leaving


def _preview(scene: Scene, name: str, coin: Coin) -> int:
    """What the customer is shown before she agrees: the fee."""
    body = _order(scene, name, coin, WITHDRAWN[coin][name], _payee(scene, coin), "")
    del body["reference"]  # nothing is stored
    answer = scene.shop.ask("/v1/withdrawals/preview", body)
    scene.checks.same("the preview", answer.status, 200)
    total = f"{answer.body['total']['amount']} {coin.code}"
    scene.tell.shop(f"POST /v1/withdrawals/preview -> {name} pays {total}, the fee included")
    return units(answer.body["fee"])


def _payee(scene: Scene, coin: Coin) -> str:
    return scene.world(coin.chain).new_address()


def _order(scene: Scene, name: str, coin: Coin, amount: int, address: str, reference: str) -> dict[str, Any]:
    body = {"account": scene.customer(name).account, "asset": coin.code, "amount": coin.show(amount)}
    return body | {"address": address, "reference": reference}


def _request(scene: Scene, name: str, coin: Coin, amount: int) -> Leaving:
    address, reference = _payee(scene, coin), _reference(name, coin)
    made = scene.shop.post("/v1/withdrawals", _order(scene, name, coin, amount, address, reference), key=reference)
    leaving = Leaving(name, coin, made["id"], address, units(made["amount"]), units(made["fee"]))
    scene.checks.same(f"{name}: the amount to be paid", leaving.units, amount)
    scene.purse(name, coin).held += units(made["total"])
    return leaving


def _reference(name: str, coin: Coin) -> str:
    return f"{name}-{coin.code}".lower()


def _repeat(scene: Scene, one: Leaving) -> None:
    """A shop that lost the answer asks again with the same key: the same withdrawal, not a second one."""
    reference = _reference(one.name, one.coin)
    again = scene.shop.ask(
        "/v1/withdrawals", _order(scene, one.name, one.coin, one.units, one.address, reference), key=reference
    )
    scene.tell.shop(f"{one.name}'s again, same Idempotency-Key -> {again.status} {again.body['id']}: the same one")
    found = (again.status, again.replayed, again.body["id"])
    scene.checks.same("a repeat gets the withdrawal that is there", found, (202, True, one.id))
    listed = scene.shop.get("/v1/withdrawals", account=scene.customer(one.name).account, asset=one.coin.code)["data"]
    scene.checks.same(f"{one.name} has one withdrawal of it", len(listed), 1)


@dataclass(frozen=True)
class Sent:
    """A payment that is on its way."""

    id: str
    txid: str


def leave(scene: Scene, leaving: Sequence[Leaving]) -> dict[Coin, Sent]:
    """Wait for the payments that carry them; one for each coin."""
    scene.tell.chapter("They leave: three in one bitcoin transaction, three in one monero transaction")
    shown = scene.tell.until("the payments to be sent", lambda: _sent(scene, leaving))
    sent: dict[Coin, Sent] = {}
    for coin in WITHDRAWN:
        mine = {(w["payment"], w["txid"]) for one, w in zip(leaving, shown, strict=True) if one.coin == coin}
        scene.checks.same(f"{coin.code}: one payment, one transaction", len(mine), 1)
        sent[coin] = Sent(*mine.pop())
    scene.tell.shop(f"GET /v1/withdrawals -> all {len(leaving)} broadcast, in {len(sent)} payments")
    _bitcoin_in_pool(scene, sent[BTC].txid, "waits in the pool", leaving)
    _monero_in_pool(scene, sent[XMR].txid, leaving)
    for coin in (ETH, USDT):
        _ethereum_in_pool(scene, sent[coin].txid, coin)
    return sent


def _sent(scene: Scene, leaving: Sequence[Leaving]) -> list[dict[str, Any]] | None:
    found = in_state(scene, leaving, "broadcast")
    return (
        found
        if found and all(waits(scene, w["txid"], one.coin) for one, w in zip(leaving, found, strict=True))
        else None
    )


def waits(scene: Scene, txid: str, coin: Coin) -> bool:
    """Whether the node of its chain has it in its pool."""
    if coin == XMR:
        told = scene.monero.transaction(txid)
        return told is not None and told["height"] is None
    world = scene.bitcoin if coin == BTC else scene.ethereum
    return world.waiting(txid) is not None


def in_state(scene: Scene, leaving: Sequence[Leaving], *states: str) -> list[dict[str, Any]] | None:
    found = [scene.shop.get(f"/v1/withdrawals/{one.id}") for one in leaving]
    for one in found:
        if one["status"] in ("failed", "review", "rejected", "cancelled"):
            raise Deviation(f"withdrawal {one['id']} is {one['status']} ({one['status_reason']})")
    return found if all(one["status"] in states for one in found) else None


def _bitcoin_in_pool(scene: Scene, txid: str, remark: str, leaving: Sequence[Leaving]) -> None:
    """Tells what the node has: size, fee, and the outputs, which must be exactly the withdrawals and one change."""
    entry = scene.bitcoin.waiting(txid)
    if entry is None:
        raise Deviation(f"the node does not have {txid} in its pool")
    paid, mine = scene.bitcoin.outputs(txid), [one for one in leaving if one.coin == BTC]
    for one in mine:
        scene.checks.same(f"{one.name}'s output", paid.get(one.address), one.units)
    names = {one.address: one.name for one in mine}
    scene.checks.same("one more output: our change", len(paid), len(mine) + 1)
    lines = [f"{BTC.show(amount):>12}  {address}  {names.get(address, '(change)')}" for address, amount in paid.items()]
    head = f"tx {txid}\nbitcoin, {entry['vbytes']} vB, fee {entry['fee_units']} sat; {remark}"
    scene.tell.chain("\n".join([head, *lines]))


def _monero_in_pool(scene: Scene, txid: str, leaving: Sequence[Leaving]) -> None:
    """Of a monero transaction all that anybody can see is its fee, and how many outputs it has."""
    told = scene.monero.transaction(txid)
    if told is None:
        raise Deviation(f"the node does not have {txid}")
    payees = sum(one.coin == XMR for one in leaving)
    scene.checks.same("an output for each payee, and our change", told["outputs"], payees + 1)
    scene.tell.chain(
        f"tx {txid}\nmonero, {told['outputs']} outputs, fee {XMR.show(told['fee_units'])} XMR; waits in the pool"
    )


def _ethereum_in_pool(scene: Scene, txid: str, coin: Coin, remark: str = "waits in the pool") -> int:
    """Tells of it; the most it offers for a unit of gas, in wei."""
    told = scene.ethereum.waiting(txid)
    if told is None:
        raise Deviation(f"the node does not have {txid} in its pool")
    offered = int(told["maxFeePerGas"], 16)
    what = f"{coin.code}, nonce {int(told['nonce'], 16)}, at most {offered} wei for a unit of gas"
    scene.tell.chain(f"tx {txid}\nethereum, {what}; {remark}")
    return offered


def bump(scene: Scene, sent: dict[Coin, Sent], leaving: Sequence[Leaving]) -> dict[Coin, Sent]:
    """No block comes; the operator offers the miners more. What is on its way afterwards."""
    scene.tell.chapter("Two are stuck: the operator raises their fees, on the same inputs and on the same nonce")
    orders = {BTC: ["--rate", str(BUMP_RATE)], ETH: []}
    for coin, rate in orders.items():
        scene.tell.until("the payment to wait for a block", lambda c=coin: _waits(scene, sent[c].id))  # type: ignore[misc]
        scene.tell.desk(f"  {scene.desk.run('payments', 'bump', sent[coin].id, *rate)}")
    before = scene.ethereum.waiting(sent[ETH].txid)
    after = dict(sent)
    for coin in orders:
        mine = [one for one in leaving if one.coin == coin]
        txid = scene.tell.until("the replacement", lambda c=coin, m=mine: _replaced(scene, m, sent[c].txid))  # type: ignore[misc]
        after[coin] = Sent(sent[coin].id, txid)
        scene.checks.same("the first is out of the pool", waits(scene, sent[coin].txid, coin), False)
    _bitcoin_in_pool(scene, after[BTC].txid, "it has replaced the first", leaving)
    _ethereum_in_pool(scene, after[ETH].txid, ETH, "it has replaced the first")
    if before is not None:
        nonce = (scene.ethereum.waiting(after[ETH].txid) or {}).get("nonce")
        scene.checks.same("the same nonce", nonce, before["nonce"])
    scene.compare(coins=())
    scene.tell.note("The customers pay the fee they were shown; what the network takes more is the house's.")
    return after


def _waits(scene: Scene, payment: str) -> bool | None:
    found = scene.desk.look("payments", "list")
    return any(p["id"] == payment and p["state"] == "confirming" for p in found) or None


def _replaced(scene: Scene, leaving: Sequence[Leaving], old: str) -> str | None:
    found = _sent(scene, leaving)
    return str(found[0]["txid"]) if found and found[0]["txid"] != old else None


def confirm(scene: Scene, first: dict[Coin, Sent], last: dict[Coin, Sent], leaving: Sequence[Leaving]) -> None:
    """Blocks on three chains: each is in one of them, and once it is deep enough the books are settled, once."""
    scene.tell.chapter("The withdrawals confirm")
    scene.mine(bitcoin=1, monero=1, ethereum=1)
    fees = _fees(scene, last)
    scene.checks.same(
        "the first bitcoin transaction never will be in a block", waits(scene, first[BTC].txid, BTC), False
    )
    scene.checks.same("nor the first ethereum one", scene.ethereum.in_block(first[ETH].txid), None)
    for coin, fee in fees.items():
        scene.tell.chain(f"{coin.code:<4} in a block, fee {(ETH if coin == USDT else coin).show(fee)}")
    shown = scene.tell.until("the withdrawals to be confirming", lambda: in_state(scene, leaving, "confirming"))
    scene.tell.shop(f"GET /v1/withdrawals -> all {len(shown)} confirming")
    scene.mine(bitcoin=1, monero=9, ethereum=11)
    shown = scene.tell.until("the withdrawals to be completed", lambda: in_state(scene, leaving, "completed"))
    for one, told in zip(leaving, shown, strict=True):
        scene.checks.same(f"{one.name}: the transaction that paid", told["txid"], last[one.coin].txid)
        _settle(scene, one)
    for coin in (BTC, XMR):  # gas is counted over all transactions together
        scene.totals.houses[coin].network_fees += fees[coin]
    scene.tell.shop(f"GET /v1/withdrawals -> all {len(shown)} completed")
    scene.compare()


def _fees(scene: Scene, sent: Mapping[Coin, Sent]) -> dict[Coin, int]:
    """What the chain took for each, in the coin that its network is paid in."""
    bitcoin = scene.bitcoin.in_last_block(sent[BTC].txid)
    monero = scene.monero.transaction(sent[XMR].txid)
    ether, tokens = (scene.ethereum.in_block(sent[coin].txid) for coin in (ETH, USDT))
    if bitcoin is None or monero is None or monero["height"] is None or ether is None or tokens is None:
        raise Deviation("a payment is not in the block")
    for receipt in (ether, tokens):
        scene.checks.same("it was carried out", receipt["status"], "0x1")
    return {BTC: bitcoin, XMR: monero["fee_units"], ETH: ether["fee_units"], USDT: tokens["fee_units"]}


def _settle(scene: Scene, one: Leaving) -> None:
    purse = scene.purse(one.name, one.coin)
    purse.held -= one.units + one.fee_units
    purse.withdrawn += one.units
    purse.fees += one.fee_units
    scene.totals.houses[one.coin].fees_earned += one.fee_units
    received = {
        BTC: scene.bitcoin.received,
        XMR: scene.monero.received,
        ETH: scene.ethereum.balance,
        USDT: scene.ethereum.tokens,
    }
    scene.checks.same(f"{one.name} received outside", received[one.coin](one.address), one.units)
