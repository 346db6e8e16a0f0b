"""Escrows and swaps of the shop: what it asks for, by chance, and what people outside pay for them."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert

from jobs.caller import Caller
from jobs.escrow import ending as escrow_ending
from jobs.escrow import funding as escrow_funding
from jobs.escrow import make as escrow_make
from jobs.saga import SECOND
from jobs.swap import balance as swap_balance
from jobs.swap import open as swap_open
from jobs.swap import quotes
from jobs.swap.books import Wish
from ledger.db import Tx
from ledger.schema import rate
from tests.simulation.ground import ASSETS, UNIT
from tests.simulation.shop import Asked, Unit
from wallets.protocol import Output

if TYPE_CHECKING:
    from tests.simulation.world import World

PRICES = {"BTC": "60000", "XMR": "150"}
MINUTE = 60 * SECOND


class Trades:
    """Amounts are atomic units. Calls that move parts of an escrow are not repeated when their answer is lost: what
    makes those safe to repeat is the API's idempotency key, which is tested elsewhere."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.shop = world.shop

    def act(self) -> None:
        rng = self.world.rng
        escrows = self.world.rows("SELECT id, state, address_id, asset, wanted_units FROM escrow")
        if escrows and rng.random() < 0.65:
            self._go_on(*rng.choice(escrows))
        elif len(self.world.used) > 1 and rng.random() < 0.6:
            self._swap()
        else:
            self._make()

    # Escrows

    def _make(self) -> None:
        world, rng = self.world, self.world.rng
        chain = rng.choice(world.used)
        buyer, vendor = (world.ground.accounts[name] for name in rng.sample(list(world.ground.accounts), 2))
        now = world.now_us
        terms: dict[str, Any] = {"fee_ppm": rng.choice((0, 25_000)), "fee_from": rng.choice(("buyer", "vendor"))}
        terms["on_overpaid"] = rng.choice(("return", "keep", "hold"))
        terms["on_underpaid"] = rng.choice(("wait", "accept", "hold"))
        terms["on_late"] = rng.choice(("return", "accept", "hold"))
        if rng.random() < 0.6:
            terms |= {"address": True, "funding_deadline": now + rng.choice((1, 20)) * MINUTE}
        if rng.random() < 0.4:
            terms |= {"deadline": now + 30 * MINUTE, "at_deadline": rng.choice(("release", "refund"))}
        units = self.shop.coins(ASSETS[chain].code, 60)

        def unit(reference: str) -> Unit:
            wish = escrow_make.Terms(buyer, vendor, ASSETS[chain], units, reference, **terms)
            return lambda tx: escrow_make.create(tx, world.ground.caller, wish, self.shop.services)

        self.shop.new("e", unit, asset=ASSETS[chain].code, units=units)

    def _go_on(self, row_id: int, state: str, address_id: int | None, code: str, wanted: str) -> None:
        world, rng = self.world, self.world.rng
        who = world.ground.caller
        if state == "awaiting_funds" and address_id is not None and rng.random() < 0.7:
            self._pay(address_id, code, int(wanted) - 10**39)
            return
        part = rng.choice((None, None, UNIT[code] // 2))
        units: dict[str, Unit] = {
            "fund": lambda tx: escrow_funding.fund(tx, who, row_id, part),
            "cancel": lambda tx: escrow_ending.cancel(tx, who, row_id),
            "release": lambda tx: escrow_ending.release(tx, who, row_id, part),
            "refund": lambda tx: escrow_ending.refund(tx, who, row_id, part),
            "dispute": lambda tx: escrow_ending.dispute(tx, who, row_id, "why"),
            "resolve": lambda tx: _resolve(tx, who, row_id, rng.random()),
            "accept": lambda tx: escrow_funding.decide(tx, who, row_id, "accept"),
            "return": lambda tx: escrow_funding.decide(tx, who, row_id, "return"),
        }
        likely = {
            "awaiting_funds": ("fund", "fund", "fund", "cancel", "accept", "return"),
            "funded": ("release", "release", "refund", "dispute", "accept"),
            "disputed": ("resolve", "accept"),
        }
        act = rng.choice(likely.get(state, ("release", "refund")))
        self.shop.attempt(f"{act} escrow {row_id}", units[act])

    def _pay(self, address_id: int, code: str, wanted: int) -> None:
        ((text,),) = self.world.rows(f"SELECT address FROM address WHERE id = {address_id}")
        rng = self.world.rng
        units = rng.choice((wanted, wanted, wanted // 2, wanted + 5 * UNIT[code], 2 * wanted))
        chain = self.world.chains["bitcoin" if code == "BTC" else "monero"]
        txid = chain.pay(Output(text, max(1, units)))
        self.world.tell(f"{code}: {units} are paid to address {address_id} in {txid[:8]}")

    # Swaps

    def _swap(self) -> None:
        """A quote, accepted at once or later or never; or somebody pays for one that waits."""
        world, rng = self.world, self.world.rng
        waiting = world.rows("SELECT address_id, sell_asset, sell_units FROM swap WHERE address_id IS NOT NULL")
        if waiting and rng.random() < 0.5:
            address_id, code, units = rng.choice(waiting)
            self._pay(address_id, code, int(units) - 10**39)
            return
        self._rates()
        sell, buy = rng.sample(list(ASSETS.values()), 2)
        payout = rng.random() < 0.5
        ask = quotes.Ask(sell, buy, "sell", self.shop.coins(sell.code, 20), payout)
        told: list[Any] = []
        asked = Asked("quote", lambda tx: told.append(quotes.ask(tx, world.ground.caller, ask, self.shop.services)), {})
        if self.shop.call(asked).made is not True:
            return
        account = world.ground.accounts[rng.choice(list(world.ground.accounts))]
        payee = world.outside(buy.code) if payout else None
        by_deposit = rng.random() < 0.5
        back = world.outside(sell.code) if by_deposit and rng.random() < 0.7 else None
        quote_id, make = told[-1]["id"], swap_open.make if by_deposit else swap_balance.make

        def unit(reference: str) -> Unit:
            wish = Wish(account, reference, payee, back, rng.choice((0, 20_000)))
            return lambda tx: make(tx, world.ground.caller, quote_id, wish, self.shop.services)

        self.shop.new(
            "s", unit, sell=sell.code, buy=buy.code, units=ask.units, by="deposit" if by_deposit else "balance"
        )

    def close(self) -> None:
        """People come to an end with each other; rates are there for swaps that wait for them."""
        if self.world.rows("SELECT 1 FROM swap LIMIT 1"):
            self._rates()
        who = self.world.ground.caller
        ends: dict[str, list[Unit]] = {}
        for row_id, state in self.world.rows("SELECT id, state FROM escrow"):
            ends = {
                "awaiting_funds": [
                    lambda tx, i=row_id: escrow_ending.cancel(tx, who, i),  # type: ignore[misc]
                    lambda tx, i=row_id: escrow_funding.decide(tx, who, i, "return"),  # type: ignore[misc]
                    lambda tx, i=row_id: escrow_funding.decide(tx, who, i, "accept"),  # type: ignore[misc]
                ],
                "funded": [
                    lambda tx, i=row_id: escrow_funding.decide(tx, who, i, "return"),  # type: ignore[misc]
                    lambda tx, i=row_id: escrow_ending.refund(tx, who, i),  # type: ignore[misc]
                ],
                "disputed": [
                    lambda tx, i=row_id: escrow_funding.decide(tx, who, i, "return"),  # type: ignore[misc]
                    lambda tx, i=row_id: escrow_funding.decide(tx, who, i, "accept"),  # type: ignore[misc]
                    lambda tx, i=row_id: escrow_ending.resolve(tx, who, i, 0),  # type: ignore[misc]
                ],
            }
            for unit in ends.get(state, ()):
                self.shop.attempt(f"end escrow {row_id}", unit)

    def _rates(self) -> None:
        """The rates worker has asked the exchanges; the market moves."""
        self.world.database.run(self._write_rates, "rates")

    def _write_rates(self, tx: Tx) -> None:
        for code, price in PRICES.items():
            moved = str(Decimal(price) * self.world.rng.choice((99, 100, 100, 101)) / 100)
            source = {"source": "test", "price": moved, "used": True}
            values = {"asset": code, "currency": "USD", "price": moved, "spread_ppm": 0, "sources": [source]}
            tx.execute(insert(rate).values(values | {"problem": None, "quoted_at": tx.now, "at": tx.now}))


def _resolve(tx: Tx, who: Caller, row_id: int, share: float) -> Any:
    from jobs.escrow.terms import parts_of

    left = parts_of(escrow_funding.locked(tx, who, row_id)).left
    return escrow_ending.resolve(tx, who, row_id, int(left * share))
