"""Accounts, transfers, escrows, quotes, swaps and withdrawals against a model of plain numbers, step by random step, on
both databases: money is neither made nor lost, whatever is asked in whatever order."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ledger import balances
from ledger.db import Database
from tests.clock import Clock
from tests.faults import invariants_trades
from tests.flows.trade_engine import ASSETS, DEPTH, PRICES, WATCHERS, TradeEngine
from tests.flows.trade_shop import Refused, TradeShop, units_of

CODES = tuple(ASSETS)
CODE = st.sampled_from(CODES)
#: Around what accounts have, from one unit to more than there is.
SHARE = st.one_of(st.sampled_from((Fraction(1), Fraction(1, 2), Fraction(1, 3))), st.fractions(0, Fraction(3, 2)))
#: What an account begins with, and the least that a withdrawal or a swap takes.
PURSE = {"BTC": 10**7, "XMR": 5 * 10**12}
LEAST = {"BTC": 20_000, "XMR": 2 * 10**10}


@dataclass
class Deal:
    """An escrow as the model sees it, with the fee rule written a second time: cumulative, rounded down."""

    name: str
    buyer: str
    vendor: str
    code: str
    price: int
    fee: int
    by_buyer: bool
    held: int = 0
    released: int = 0
    refunded: int = 0
    taken: int = 0
    state: str = "awaiting_funds"

    @property
    def left(self) -> int:
        return self.price - self.released - self.refunded

    def due(self, released: int) -> int:
        return self.fee * released // self.price - self.taken

    @property
    def wanted(self) -> int:
        return self.price + (self.fee if self.by_buyer else 0)


class Machine(RuleBasedStateMachine):
    """`own` is what each account may spend by the model, `away` what is held for its withdrawals."""

    engine: TradeEngine
    shop: TradeShop
    bank: str
    clock: Clock

    accounts = Bundle("accounts")
    open_quotes = Bundle("open_quotes")
    escrows = Bundle("escrows")
    orders = Bundle("orders")

    def __init__(self) -> None:
        super().__init__()
        self.own: Counter[tuple[str, str]] = Counter()
        self.away: Counter[tuple[str, str]] = Counter()
        self.coming: Counter[tuple[str, str]] = Counter()
        self.deals: list[Deal] = []
        self.asked: set[str] = set()
        self.stale: set[str] = set()
        self.used: set[str] = set()

    @initialize()
    def looks_at_the_house(self) -> None:
        self.house = {code: self.engine.guarded("inventory", code) for code in CODES}

    def units(self, name: str, code: str, share: Fraction) -> int:
        return int(self.own[name, code] * share)

    # Accounts, transfers, deposits, withdrawals

    @rule(target=accounts)
    def arrives(self) -> str:
        name = self.shop.account()
        for code, units in PURSE.items():
            self.shop.transfer(self.bank, name, code, units)
            self.own[name, code] = units
        return name

    @rule(giver=accounts, taker=accounts, code=CODE, share=SHARE)
    def pays(self, giver: str, taker: str, code: str, share: Fraction) -> None:
        units = self.units(giver, code, share) or 1
        if giver == taker:
            self.refused("same_account", lambda: self.shop.transfer(giver, taker, code, units))
        elif units > self.own[giver, code]:
            self.refused("insufficient_funds", lambda: self.shop.transfer(giver, taker, code, units))
        else:
            self.shop.transfer(giver, taker, code, units)
            self.own[giver, code] -= units
            self.own[taker, code] += units

    @rule(name=accounts, code=CODE, units=st.integers(1, 100))
    def is_paid_from_outside(self, name: str, code: str, units: int) -> None:
        units *= LEAST[code]
        self.engine.pay_in(self.shop.address(name, code), units, code, blocks=0)
        self.coming[name, code] += units

    @rule(target=orders, name=accounts, code=CODE, share=SHARE)
    def withdraws(self, name: str, code: str, share: Fraction) -> tuple[str, str, str, int] | None:
        units = max(LEAST[code], self.units(name, code, share))
        payee = self.engine.outside(code)
        fee = {"BTC": 2_000, "XMR": 10**12 // 2_000}[code]
        if units + fee > self.own[name, code]:
            self.refused("insufficient_funds", lambda: self.shop.withdraw(name, code, units, payee))
            return None
        made = self.shop.withdraw(name, code, units, payee)
        assert units_of(made["fee"]) == fee
        self.own[name, code] -= units + fee
        self.away[name, code] += units + fee
        return made["id"], name, code, units + fee

    @rule(order=orders)
    def thinks_better_of_it(self, order: tuple[str, str, str, int] | None) -> None:
        if order is None or self.shop.get(f"withdrawals/{order[0]}")["status"] != "queued":
            return
        self.shop.post(f"withdrawals/{order[0]}/cancel")
        _, name, code, units = order
        self.own[name, code] += units
        self.away[name, code] -= units

    # Quotes and swaps

    @rule(target=open_quotes, sell=CODE, share=SHARE, name=accounts, payout=st.booleans(), by_buy=st.booleans())
    def asks_for_a_price(self, sell: str, share: Fraction, name: str, payout: bool, by_buy: bool) -> Any:
        buy = _other(sell)
        units = max(3 * LEAST[sell], self.units(name, sell, share))
        if by_buy:
            bought = max(3 * LEAST[buy], _worth(units, sell, buy))
            made = self.shop.quote(sell, buy, buy_units=bought, payout=payout)
            assert units_of(made["buy"]) == bought
        else:
            made = self.shop.quote(sell, buy, sell_units=units, payout=payout)
            assert units_of(made["sell"]) == units
        self.asked.add(made["id"])
        assert _given(made) <= _worth(units_of(made["sell"]), sell, buy), "the house gives more than the rate"
        return made

    @rule(quote=open_quotes, name=accounts)
    def accepts(self, quote: Any, name: str) -> None:
        sell, buy = quote["sell"]["asset"], quote["buy"]["asset"]
        sold, given = units_of(quote["sell"]), _given(quote)
        terms = {"payout_address": self.engine.outside(buy)} if quote["payout"] else {}
        codes = set()
        if quote["id"] in self.used | self.stale:
            codes.add("quote_used" if quote["id"] in self.used else "quote_expired")
        else:
            codes |= {"insufficient_funds"} if sold > self.own[name, sell] else set()
            codes |= {"inventory_short"} if given > self.house[buy] else set()
        if codes:
            self.refused(codes, lambda: self.shop.swap(quote, name, **terms))
            return
        self.shop.swap(quote, name, **terms)
        self.used.add(quote["id"])
        self.own[name, sell] -= sold
        self.house[sell] += sold
        self.house[buy] -= given
        bought = units_of(quote["buy"])
        if quote["payout"]:
            self.away[name, buy] += bought + units_of(quote["network_fee"])
        else:
            self.own[name, buy] += bought

    # Time

    @precondition(lambda self: self.coming or self.away)
    @rule()
    def blocks_come(self) -> None:
        """What was paid in is credited, what was to leave has left."""
        self.engine.tick()
        for code, chain in self.engine.chains.items():
            chain.mine(DEPTH[code])
        self.engine.tick()
        self.own.update(self.coming)
        self.coming.clear()
        self.away.clear()

    @rule()
    def a_minute_passes(self) -> None:
        """No quote lives for longer."""
        self.clock.forward(seconds=61)
        self.engine.set_rates(**PRICES)
        self.stale |= self.asked

    # What always holds

    @invariant()
    def every_balance_is_the_models(self) -> None:
        for (name, code), units in self.own.items():
            assert self.shop.balance(name, code) == units, (name, code)
        for (name, code), units in self.away.items():
            assert self.shop.balance(name, code, "held") == units, (name, code)

    @invariant()
    def the_house_has_what_was_sold_to_it(self) -> None:
        for code, units in getattr(self, "house", {}).items():
            assert self.engine.guarded("inventory", code) == units

    @invariant()
    def rows_and_books_agree(self) -> None:
        assert invariants_trades.standing(self.engine.database) == []

    def teardown(self) -> None:
        assert self.engine.database.read(balances.faults) == []
        self.engine.check_invariants()

    def refused(self, codes: str | set[str], call: Any) -> None:
        with pytest.raises(Refused) as refusal:
            call()
        assert refusal.value.code in ({codes} if isinstance(codes, str) else codes)


def _other(code: str) -> str:
    return next(each for each in CODES if each != code)


def _worth(units: int, code: str, other: str) -> int:
    """So many units of one asset in units of the other, at the written rates, rounded down."""
    coins = Fraction(units, 10 ** ASSETS[code].decimals) * Fraction(PRICES[code]) / Fraction(PRICES[other])
    return int(coins * 10 ** ASSETS[other].decimals)


def _given(quote: Any) -> int:
    """All that leaves the house's inventory."""
    return sum(units_of(quote[part]) for part in ("buy", "service_fee", "network_fee", "rounding"))


def _bound(database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch) -> type[Machine]:
    engine = TradeEngine(folder, database)
    engine.resting |= WATCHERS
    shop = TradeShop(engine)
    engine.set_policy("XMR", deposit_tiers=[[10**38, 6]], withdrawal_approval_above_units=10**18)
    bank = shop.funded(BTC=20 * 10**8, XMR=20_000 * 10**12)
    return type("BoundMachine", (Machine,), {"engine": engine, "shop": shop, "bank": bank, "clock": Clock(monkeypatch)})


def test_random_trades_match_the_model(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same lives each time: what they find is a change of ours. `-m long` lives others each time."""
    limits = settings(
        max_examples=8,
        stateful_step_count=25,
        deadline=None,
        derandomize=True,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(_bound(database, tmp_path, monkeypatch), settings=limits)


@pytest.mark.long
def test_many_random_trades_match_the_model(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = settings(
        max_examples=100,
        stateful_step_count=50,
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(_bound(database, tmp_path, monkeypatch), settings=limits)
