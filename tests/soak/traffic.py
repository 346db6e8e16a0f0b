"""A storefront at work: customers whose money comes and goes on three chains, by every way that the API has."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

from devstack.demo.figures import BTC, COINS, ETH, USDT, XMR, Coin
from tests.integration.storefront import Shop
from tests.soak.book import Book, Order, Transfer, Withdrawal
from tests.soak.outside import World

#: Of one operation, more or less.
AMOUNTS: Mapping[Coin, int] = {
    BTC: BTC.units("0.0001"), XMR: XMR.units("0.02"), ETH: ETH.units("0.002"), USDT: USDT.units("3"),
}  # fmt: skip
#: What is sold in one swap: some ten dollars.
SALES: Mapping[Coin, int] = {
    BTC: BTC.units("0.0002"), XMR: XMR.units("0.08"), ETH: ETH.units("0.006"), USDT: USDT.units("12"),
}  # fmt: skip
#: Which coin an operation is about: on Ethereum each payment is a transaction of its own, and costs a worker as much as
#: a hundred together do on Bitcoin.
SHARES: Mapping[Coin, int] = {BTC: 4, XMR: 4, ETH: 2, USDT: 1}
PAIRS = ((BTC, XMR), (XMR, BTC), (ETH, BTC), (USDT, XMR), (BTC, XMR), (XMR, BTC))
#: Operation -> how often, in parts.
MIX: Mapping[str, int] = {
    "withdrawal": 40, "transfer": 25, "escrow": 15, "escrow by deposit": 6, "swap": 8, "swap by deposit": 4, "tend": 12,
}  # fmt: skip
#: What a shop may hear when things are as they should be: somebody has too little, or owes, or was too slow.
EXPECTED = frozenset(
    """insufficient_funds account_frozen inventory_short quote_expired limit_exceeded state_conflict
    asset_disabled""".split()
)
#: A payer in this many takes the payment back when there is a reorganisation.
_FICKLE = 4
_HOME_SECONDS = 60


class Unexpected(Exception):
    """An answer that no shop should get."""


class Traffic:
    """`clients` of the shop, and a payer, until `stop`."""

    def __init__(
        self, shop: Shop, world: World, book: Book, accounts: Sequence[str], homes: Mapping[tuple[str, Coin], str],
        *, seed: int, clients: int = 6, pause_seconds: float = 3.0,
    ) -> None:  # fmt: skip
        self._shop, self._world, self._book = shop, world, book
        self._accounts, self._homes = accounts, homes
        self._pause_seconds = pause_seconds
        self._stop = threading.Event()
        works: list[Callable[[Random], None]] = [*[self._client] * clients, self._payer]
        self._threads = [
            threading.Thread(target=self._keep, args=(work, Random(f"{seed} client {number}")), daemon=True)
            for number, work in enumerate(works)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self, seconds: float) -> None:
        self._stop.set()
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.1, deadline - time.monotonic()))
            if thread.is_alive():
                self._book.fail(f"{thread.name} has had no answer for {seconds:.0f} s")

    def _keep(self, work: Callable[[Random], None], random: Random) -> None:
        while not self._stop.wait(random.uniform(0.5, 1.5) * self._pause_seconds):
            try:
                work(random)
            except Exception as error:  # noqa: BLE001  # told at the end, and the soak fails
                self._book.fail(f"{type(error).__name__}: {error}"[:600])

    def _client(self, random: Random) -> None:
        kind = random.choices(list(MIX), list(MIX.values()))[0]
        steps: Mapping[str, Callable[[Random], bool]] = {
            "withdrawal": self._withdraw, "transfer": self._transfer, "escrow": self._escrow,
            "escrow by deposit": self._order, "swap": self._swap, "swap by deposit": self._swap_by_deposit,
            "tend": self._tend,
        }  # fmt: skip
        if steps[kind](random):
            self._book.note(kind)

    def _payer(self, random: Random) -> None:
        coin, account = _coin_for(random), random.choice(self._accounts)
        units = _about(3 * AMOUNTS[coin] if coin != USDT else 4 * AMOUNTS[coin], random)
        fickle = random.randrange(_FICKLE) == 0
        if self._world.pay(coin, self._homes[account, coin], units, account, fickle=fickle):
            self._book.note("payment from outside")

    def ask(self, kind: str, path: str, body: Mapping[str, Any], reference: str = "") -> dict[str, Any] | None:
        """The resource; None where it was refused for a reason that a shop must live with."""
        status, answer = self._shop.post(path, dict(body), reference or uuid.uuid4().hex)
        if status in (200, 201, 202):
            return answer
        code = str(answer.get("code"))
        self._book.refuse(kind, code)
        if code not in EXPECTED:
            raise Unexpected(f"{kind}: POST {path} {body} -> {status} {answer}")
        return None

    # --- what customers do ---------------------------------------------------------------------------------------

    def _withdraw(self, random: Random) -> bool:
        coin, account, reference = _coin_for(random), random.choice(self._accounts), uuid.uuid4().hex
        units, payee = _about(AMOUNTS[coin], random), self._world.of(coin).payee(coin)
        body = {"account": account, "asset": coin.code, "amount": coin.show(units), "address": payee}
        made = self.ask("withdrawal", "/withdrawals", body | {"reference": reference}, reference)
        if made is not None:
            self._book.withdrawals[made["id"]] = Withdrawal(made["id"], account, coin.code, units, payee)
        return made is not None

    def _transfer(self, random: Random) -> bool:
        coin, (giver, taker), reference = _coin_for(random), random.sample(self._accounts, 2), uuid.uuid4().hex
        units = _about(AMOUNTS[coin], random)
        body = {"from_account": giver, "to_account": taker, "asset": coin.code, "amount": coin.show(units)}
        made = self.ask("transfer", "/transfers", body | {"reference": reference}, reference)
        if made is not None:
            self._book.transfers[made["id"]] = Transfer(giver, taker, coin.code, units)
        return made is not None

    def _new_escrow(self, random: Random, coin: Coin, **wish: object) -> Order | None:
        (buyer, vendor), reference = random.sample(self._accounts, 2), uuid.uuid4().hex
        units = _about(AMOUNTS[coin], random)
        body = {"buyer": buyer, "vendor": vendor, "asset": coin.code, "amount": coin.show(units)}
        made = self.ask("escrow", "/escrows", body | {"reference": reference} | wish, reference)
        if made is None:
            return None
        ending = random.choice(("release", "release", "refund", "resolve"))
        order = self._book.escrows[made["id"]] = Order(made["id"], buyer, coin.code, units, vendor, None, ending)
        return order

    def _escrow(self, random: Random) -> bool:
        """Paid from a balance and ended, within a moment."""
        order = self._new_escrow(random, _coin_for(random))
        if order is None:
            return False
        if self.ask("fund", f"/escrows/{order.id}/fund", {}) is None:
            self.ask("cancel", f"/escrows/{order.id}/cancel", {})
            return False
        self.end(order)
        return True

    def end(self, order: Order) -> None:
        """A funded escrow goes the way it was meant to go."""
        path = f"/escrows/{order.id}"
        if order.ending == "resolve":
            if self.ask("dispute", f"{path}/dispute", {"reason": "soak"}) is not None:
                self.resolve(order)
        else:
            self.ask(order.ending, f"{path}/{order.ending}", {})

    def resolve(self, order: Order) -> None:
        amount = _coin(order.asset).show(order.units // 3)
        self.ask("resolve", f"/escrows/{order.id}/resolve", {"vendor_amount": amount})

    def _order(self, random: Random) -> bool:
        """An escrow with an address of its own, which a payer pays to; `tend` ends it later."""
        coin = _coin_for(random)
        order = self._new_escrow(random, coin, address=True)
        if order is None:
            return False
        order.home = self._home(f"/escrows/{order.id}", lambda shown: shown["address"])
        return order.home is not None and self.pay(order)

    def _swap(self, random: Random) -> bool:
        sold, bought = random.choice(PAIRS)
        payout = random.random() < 0.5
        quote, account, reference = self._quote(sold, bought, random, payout), random.choice(self._accounts), _new()
        if quote is None:
            return False
        body = {"quote": quote["id"], "account": account, "form": "balance", "reference": reference}
        if payout:
            body["payout_address"] = self._world.of(bought).payee(bought)
        made = self.ask("swap", "/swaps", body, reference)
        if made is not None:
            self._book.swaps[made["id"]] = Order(made["id"], account, sold.code, int(made["sell"]["units"]))
        return made is not None

    def _swap_by_deposit(self, random: Random) -> bool:
        sold, bought = random.choice(PAIRS)
        quote, account, reference = self._quote(sold, bought, random, True), random.choice(self._accounts), _new()
        if quote is None:
            return False
        body = {"quote": quote["id"], "account": account, "form": "deposit", "reference": reference}
        body |= {"payout_address": self._world.of(bought).payee(bought)}
        body |= {"refund_address": self._world.of(sold).payee(sold)}
        made = self.ask("swap", "/swaps", body, reference)
        if made is None:
            return False
        order = Order(made["id"], account, sold.code, int(made["sell"]["units"]))
        self._book.swaps[made["id"]] = order
        order.home = self._home(f"/swaps/{order.id}", lambda shown: shown["deposit"]["address"])
        return order.home is not None and self.pay(order)

    def _quote(self, sold: Coin, bought: Coin, random: Random, payout: bool) -> dict[str, Any] | None:
        units = _about(SALES[sold], random)
        body = {"sell": sold.code, "buy": bought.code, "sell_amount": sold.show(units), "payout": payout}
        return self.ask("quote", "/quotes", body)

    def _home(self, path: str, look: Callable[[dict[str, Any]], str | None]) -> str | None:
        """The address of an order, once the node watches it; None if that takes too long: `tend` asks again."""
        deadline = time.monotonic() + _HOME_SECONDS
        while time.monotonic() < deadline and not self._stop.is_set():
            if (found := look(self._shop.get(path)[1])) is not None:
                return found
            time.sleep(0.5)
        return None

    def pay(self, order: Order) -> bool:
        assert order.home is not None
        made = self._world.pay(_coin(order.asset), order.home, order.units, order.account)
        if made is not None:
            self._book.note("payment from outside")
        return made is not None

    def _tend(self, random: Random) -> bool:
        """Looks at some order that waits for a deposit, and ends it when it was paid."""
        waiting = [order for order in list(self._book.escrows.values()) if order.home is not None]
        if not waiting:
            return False
        order = random.choice(waiting)
        funded = bool(self._shop.get(f"/escrows/{order.id}")[1]["status"] == "funded")
        if funded:
            self.end(order)
        return funded


def _new() -> str:
    return uuid.uuid4().hex


def _coin_for(random: Random) -> Coin:
    return random.choices(list(SHARES), list(SHARES.values()))[0]


def _about(units: int, random: Random) -> int:
    return units + random.randrange(units // 2)


def _coin(code: str) -> Coin:
    return next(coin for coin in COINS if coin.code == code)
