"""Chapters about one coin for another: the inventory, a swap of a balance, and a swap that starts with a deposit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from devstack.demo.figures import BTC, COINS, ETH, XMR, Coin, Deviation
from devstack.demo.incoming import Coming, see
from devstack.demo.outgoing import waits
from devstack.demo.scene import Scene, units
from devstack.demo.setting import treasury
from devstack.demo.shop import Answer
from devstack.environment import RATES

#: What the operator pays in, and how much of it swaps may take.
CAPITAL: Mapping[Coin, int] = {BTC: BTC.units("0.009"), XMR: XMR.units("0.9")}
INVENTORY: Mapping[Coin, int] = {BTC: BTC.units("0.006"), XMR: XMR.units("0.8")}
#: As the policies are without a change: parts per million, and the fee of a withdrawal.
SPREAD_PPM, FEE_PPM, MILLION = 5_000, 2_500, 1_000_000
PAYOUT_FEES: Mapping[Coin, int] = {BTC: 2_000, XMR: XMR.units("0.0005")}
#: What Chloe wants to have at her address, for ether.
WANTED = BTC.units("0.002")
PRICES = {code: Fraction(price) for code, price in (line.split("=") for line in RATES.split(","))}


def lay_in(scene: Scene) -> None:
    """The operator pays into the treasury, and gives a part of it to the swaps."""
    scene.tell.chapter("The house lays in an inventory, to swap from")
    homes = {coin: scene.desk.run("treasury", "address", coin.code) for coin in CAPITAL}
    for coin, home in homes.items():
        txid = _pay(scene, coin, home, CAPITAL[coin])
        scene.tell.chain(f"tx {txid}\n{coin.chain}, the operator pays in {coin.show(CAPITAL[coin])} {coin.code}")
    scene.mine(bitcoin=1, monero=12)
    scene.tell.until("the capital to be booked", lambda: _booked(scene))
    for coin, amount in CAPITAL.items():
        scene.totals.houses[coin].capital += amount
    for coin, amount in INVENTORY.items():
        scene.tell.desk(f"  {scene.desk.run('inventory', 'fund', coin.code, coin.show(amount))}")
    scene.checks.same("free inventory", {coin: free(scene)[coin] for coin in INVENTORY}, dict(INVENTORY))


def _pay(scene: Scene, coin: Coin, address: str, amount: int) -> str:
    if coin == ETH:
        return scene.ethereum.pay(address, amount)
    return (scene.bitcoin if coin == BTC else scene.monero).pay({address: amount})


def _booked(scene: Scene) -> bool | None:
    """Whether the treasury has what was paid in, beside all that it had."""
    found = treasury(scene)
    return all(found[coin] == scene.totals.on_chain(coin) + amount for coin, amount in CAPITAL.items()) or None


def free(scene: Scene) -> dict[Coin, int]:
    """Inventory that no swap has reserved; units."""
    found = {line["asset"]: line["free"] for line in scene.desk.look("inventory", "show")}
    return {coin: coin.units(found[coin.code]) for coin in COINS}


@dataclass(frozen=True)
class Price:
    """What a swap must give at the fixed rates, by the demo's own arithmetic; units of what is bought."""

    buy: int  #: what reaches the payee
    service: int
    rounding: int = 0

    def out(self, bought: Coin) -> int:
        """All that leaves the inventory."""
        return self.buy + self.service + PAYOUT_FEES[bought] + self.rounding


def priced(sold: Coin, bought: Coin, sell: int) -> Price:
    gross = Fraction(sell, 10**sold.decimals) * PRICES[sold.code] / PRICES[bought.code] * 10**bought.decimals
    after_spread = int(gross * (MILLION - SPREAD_PPM) / MILLION)
    service = -(-after_spread * FEE_PPM // MILLION)
    return Price(after_spread - service - PAYOUT_FEES[bought], service)


def priced_to_get(sold: Coin, bought: Coin, sell: int, wanted: int) -> Price:
    """As `priced`, of a quote by the amount that is bought: exactly that, for the least that brings it."""
    most = priced(sold, bought, sell)
    if not priced(sold, bought, sell - 1).buy < wanted <= most.buy:
        raise Deviation(f"{sold.show(sell)} {sold.code} is not the least that brings {bought.show(wanted)}")
    return Price(wanted, most.service, most.buy - wanted)


@dataclass(frozen=True)
class Swap:
    """One swap whose money leaves as soon as it is exchanged."""

    name: str
    sold: Coin
    bought: Coin
    id: str
    payee: str
    sell: int
    price: Price


def swap_of_a_balance(scene: Scene, name: str, sold: Coin, bought: Coin) -> Swap:
    """All that somebody has of a coin, for another that is paid out: quote, exchange and withdrawal."""
    scene.tell.chapter("Vera got bitcoin and wants monero: a swap of her balance, paid out at once")
    sell = scene.purse(name, sold).available
    quote = _quote(scene, sold, bought, {"sell_amount": sold.show(sell)})
    price = priced(sold, bought, sell)
    _compare(scene, quote, sold, bought, sell, price)
    payee = scene.world(bought.chain).new_address()
    order = {"quote": quote["id"], "account": scene.customer(name).account, "form": "balance"}
    order |= {"reference": f"{name.lower()}-swap", "payout_address": payee}
    made = scene.shop.post("/v1/swaps", order, key="swap-of-a-balance")
    again = scene.shop.ask("/v1/swaps", order | {"reference": "again"}, key="again")
    scene.checks.same("a quote serves one swap", (again.status, again.body["code"]), (409, "quote_used"))
    scene.tell.shop(f"the same quote once more -> {again.status} {again.body['code']}")
    done = Swap(name, sold, bought, made["id"], payee, sell, price)
    _exchanged(scene, done)
    scene.compare(name, coins=[sold, bought])
    return done


def swap_by_deposit(scene: Scene, name: str, sold: Coin, bought: Coin) -> Swap:
    """Send X here, receive Y there: what comes to the swap's own address is exchanged when it is credited."""
    scene.tell.chapter("Chloe sends ether and receives bitcoin: a swap by deposit")
    quote = _quote(scene, sold, bought, {"buy_amount": bought.show(WANTED)})
    sell = units(quote["sell"])
    price = priced_to_get(sold, bought, sell, WANTED)
    _compare(scene, quote, sold, bought, sell, price)
    payee, way_back = (scene.world(coin.chain).new_address() for coin in (bought, sold))
    order = {"quote": quote["id"], "account": scene.customer(name).account, "form": "deposit"}
    order |= {"reference": f"{name.lower()}-swap", "payout_address": payee, "refund_address": way_back}
    made = scene.shop.post("/v1/swaps", order, key="swap-by-deposit")
    left = INVENTORY[bought] + scene.totals.houses[bought].traded - price.out(bought)
    scene.checks.same("what it will give is set aside", free(scene)[bought], left)
    done = Swap(name, sold, bought, made["id"], payee, sell, price)
    home = scene.tell.until("the address", lambda: _home(scene, done))
    scene.ours[f"{name}'s swap"] = home
    coming = Coming(name, sold, home, sell, _pay(scene, sold, home, sell))
    scene.tell.chain(f"tx {coming.txid}\n{sold.chain}, {name}: {sold.show(sell)} {sold.code} to {home}")
    scene.mine(ethereum=12)
    see(scene, [coming], {coming: "credited"})
    scene.purse(name, sold).deposited += sell
    scene.tell.until("the exchange", lambda: _in_state(scene, [done], "paying_out"))
    scene.tell.shop(f"GET /v1/swaps/{done.id} -> paying_out")
    _exchanged(scene, done)
    scene.compare(name, coins=[sold, bought])
    return done


def pay_out(scene: Scene, swaps: list[Swap]) -> list[str]:
    """What was bought leaves as any withdrawal does; the ids of the withdrawals."""
    scene.tell.chapter("What they bought leaves, as any withdrawal does")
    shown = scene.tell.until("the payouts to be sent", lambda: _sent(scene, swaps))
    for one, payout in zip(swaps, shown, strict=True):
        amount = f"{one.bought.show(one.price.buy)} {one.bought.code}"
        scene.tell.chain(f"tx {payout['txid']}\n{one.bought.chain}, to {one.name}'s own wallet: {amount}")
    scene.mine(bitcoin=1, monero=1)
    for one, payout in zip(swaps, shown, strict=True):
        scene.totals.houses[one.bought].network_fees += _network_fee(scene, one.bought, payout["txid"])
    scene.tell.until("the payouts to be confirming", lambda: _payouts(scene, swaps, "confirming"))
    scene.mine(bitcoin=1, monero=9)
    scene.tell.until("the swaps to be completed", lambda: _in_state(scene, swaps, "completed"))
    scene.tell.shop(f"GET /v1/swaps -> all {len(swaps)} completed")
    for one in swaps:
        _left(scene, one)
    _report(scene, swaps)
    scene.compare(*(one.name for one in swaps), coins=[one.bought for one in swaps])
    return [str(payout["id"]) for payout in shown]


def _report(scene: Scene, swaps: Sequence[Swap]) -> None:
    """What the house has gained, and where it stands now."""
    found = scene.desk.read("inventory", "report")
    scene.checks.same("swaps in the report", found["swaps"], len(swaps))
    position = {coin: INVENTORY.get(coin, 0) + scene.totals.houses[coin].traded for coin in COINS}
    said = {line["asset"]: line for line in found["assets"]}
    scene.checks.same("the position", {coin: coin.units(said[coin.code]["position"]) for coin in COINS}, position)
    for one in swaps:
        fees = one.bought.units(said[one.bought.code]["service_fees"])
        scene.checks.same(f"{one.bought.code}: service fees", fees, one.price.service)
    shown = ", ".join(f"{coin.show(amount)} {coin.code}" for coin, amount in position.items() if amount)
    scene.tell.ledger(f"inventory now: {shown}")
    scene.tell.ledger(f"volume {found['volume']} {found['currency']}, profit {found['profit']} {found['currency']}")


def _quote(scene: Scene, sold: Coin, bought: Coin, amount: Mapping[str, str]) -> dict[str, Any]:
    """Rates that are too old are fetched when somebody asks for a price; until then the answer is 503."""
    body = {"sell": sold.code, "buy": bought.code, **amount, "payout": True}
    key = f"quote-{sold.code}-{bought.code}"
    answer = scene.shop.ask("/v1/quotes", body, key=key)
    if answer.status == 503:
        scene.checks.same("why there is no price yet", answer.body["code"], "rate_stale")
        scene.tell.shop(f"POST /v1/quotes -> 503 {answer.body['code']}: new rates are fetched")
        answer = scene.tell.until("fresh rates", lambda: _answered(scene.shop.ask("/v1/quotes", body, key=key)))
    if answer.status != 201:
        raise Deviation(f"POST /v1/quotes was refused: {answer.status} {answer.body}")
    quote: dict[str, Any] = answer.body
    asked = " ".join(f"{name}={value}" for name, value in body.items() if name != "payout")
    scene.tell.shop(f"POST /v1/quotes {asked} -> 201 {quote['id']}")
    gives, gets = (f"{quote[side]['amount']} {quote[side]['asset']}" for side in ("sell", "buy"))
    fees = f"{quote['service_fee']['amount']} for the house, {quote['network_fee']['amount']} for the payout"
    scene.tell.shop(f"  {gives} for {gets} at {quote['rate']}, less {fees}")
    return quote


def _answered(answer: Answer) -> Answer | None:
    return None if answer.status == 503 else answer


def _compare(scene: Scene, quote: Mapping[str, Any], sold: Coin, bought: Coin, sell: int, price: Price) -> None:
    """That the quote says what the demo calculates."""
    said = {name: units(quote[name]) for name in ("sell", "buy", "service_fee", "network_fee", "rounding")}
    expected = {"sell": sell, "buy": price.buy, "service_fee": price.service}
    expected |= {"network_fee": PAYOUT_FEES[bought], "rounding": price.rounding}
    scene.checks.same(f"the quote of {sold.code} for {bought.code}", said, expected)


def _home(scene: Scene, swap: Swap) -> str | None:
    """Where the deposit is awaited, once the node watches it."""
    found = scene.shop.get(f"/v1/swaps/{swap.id}")["deposit"]["address"]
    return None if found is None else str(found)


def _in_state(scene: Scene, swaps: Sequence[Swap], state: str) -> list[dict[str, Any]] | None:
    found = [scene.shop.get(f"/v1/swaps/{one.id}") for one in swaps]
    for one in found:
        if one["status"] in ("failed", "refunding", "refunded", "expired"):
            raise Deviation(f"swap {one['id']} is {one['status']} ({one['status_reason']})")
    return found if all(one["status"] == state for one in found) else None


def _exchanged(scene: Scene, swap: Swap) -> None:
    """Both legs, as the demo counts them: what is paid out is held with its fee until the chain has it."""
    gives, gets = scene.purse(swap.name, swap.sold), scene.purse(swap.name, swap.bought)
    gives.swapped -= swap.sell
    gets.swapped += swap.price.buy + PAYOUT_FEES[swap.bought]
    gets.held += swap.price.buy + PAYOUT_FEES[swap.bought]
    scene.totals.houses[swap.sold].traded += swap.sell
    scene.totals.houses[swap.bought].traded -= swap.price.out(swap.bought)
    scene.totals.houses[swap.bought].fees_earned += swap.price.service
    scene.totals.houses[swap.bought].rounding += swap.price.rounding


def _left(scene: Scene, swap: Swap) -> None:
    """The payout is over: the payee has it, and the customer has paid the fee that was in the quote."""
    gets, fee = scene.purse(swap.name, swap.bought), PAYOUT_FEES[swap.bought]
    gets.held -= swap.price.buy + fee
    gets.withdrawn += swap.price.buy
    gets.fees += fee
    scene.totals.houses[swap.bought].fees_earned += fee
    world = scene.bitcoin if swap.bought == BTC else scene.monero
    scene.checks.same(f"{swap.name} received outside", world.received(swap.payee), swap.price.buy)


def _payouts(scene: Scene, swaps: Sequence[Swap], state: str) -> list[dict[str, Any]] | None:
    """The withdrawals of the swaps, once all are in a state."""
    found = [scene.shop.get(f"/v1/swaps/{one.id}")["withdrawal"] for one in swaps]
    payouts = [scene.shop.get(f"/v1/withdrawals/{each}") for each in found if each is not None]
    there = len(payouts) == len(swaps) and all(each["status"] == state for each in payouts)
    return payouts if there else None


def _sent(scene: Scene, swaps: Sequence[Swap]) -> list[dict[str, Any]] | None:
    """As `_payouts`, once their nodes have them in their pools."""
    payouts = _payouts(scene, swaps, "broadcast")
    if payouts is None:
        return None
    there = [waits(scene, each["txid"], one.bought) for one, each in zip(swaps, payouts, strict=True)]
    return payouts if all(there) else None


def _network_fee(scene: Scene, coin: Coin, txid: str) -> int:
    """What the chain took for a transaction of its newest block."""
    if coin == BTC:
        fee = scene.bitcoin.in_last_block(txid)
    else:
        told = scene.monero.transaction(txid)
        fee = None if told is None or told["height"] is None else int(told["fee_units"])
    if fee is None:
        raise Deviation(f"{txid} is not in the block")
    return fee
