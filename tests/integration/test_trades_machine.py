"""Accounts, transfers, escrows, quotes, swaps and withdrawals against a model of plain numbers, step by random step, on
both databases: money is neither made nor lost, whatever is asked in whatever order."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from functools import partial
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
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ledger import balances
from ledger.db import Database
from tests.clock import Clock
from tests.faults import invariants_trades
from tests.flows.trade_engine import DEPTH, PRICES, WATCHERS, TradeEngine
from tests.flows.trade_shop import Refused, TradeShop, text, units_of
from tests.integration.trades_again import Again
from tests.integration.trades_model import CODES, Deal, given, other, worth

CODE = st.sampled_from(CODES)
#: Around what accounts have, from one unit to more than there is.
SHARE = st.one_of(st.sampled_from((Fraction(1), Fraction(1, 2), Fraction(1, 3))), st.fractions(0, Fraction(3, 2)))
#: What is asked of escrows, the more often the more states wait for it.
VERBS = (*("fund", "release") * 2, "refund", "dispute", "resolve", "resolve", "cancel")
#: What happens to an escrow as soon as it is made: mostly it is funded whole, and something more.
STEPS = st.lists(st.tuples(st.sampled_from(VERBS), SHARE), max_size=2).map(lambda more: [("fund", Fraction(1)), *more])
#: What becomes of a quote as soon as it is made.
ACCEPTED = st.sampled_from(("later", "balance", "balance", "paid", "unpaid"))
#: In whole percents of the price.
FEE = st.sampled_from((0, 1, 3, 7, 50, 100))
#: What an account begins with, and the least that a withdrawal or a swap takes.
PURSE = {"BTC": 10**7, "XMR": 5 * 10**12}
LEAST = {"BTC": 20_000, "XMR": 2 * 10**10}


class Machine(Again, RuleBasedStateMachine):
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
        self.paid: list[tuple[str, Any]] = []
        self.unpaid: list[tuple[str, Any]] = []
        self.deals: list[Deal] = []
        self.asked: set[str] = set()
        self.stale: set[str] = set()
        self.used: set[str] = set()

    @initialize(target=accounts)
    def begins(self) -> Any:
        """Three accounts, so that every rule has somebody to act."""
        self.house = {code: self.engine.guarded("inventory", code) for code in CODES}
        return multiple(*(self.opens() for _ in range(3)))

    def opens(self) -> str:
        name = self.shop.account()
        for code, units in PURSE.items():
            self.shop.transfer(self.bank, name, code, units)
            self.own[name, code] = units
        return name

    def units(self, name: str, code: str, share: Fraction) -> int:
        return int(self.own[name, code] * share)

    # Accounts, transfers, deposits, withdrawals

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

    @rule(
        target=open_quotes,
        sell=CODE,
        share=SHARE,
        name=accounts,
        payout=st.booleans(),
        by_buy=st.booleans(),
        then=ACCEPTED,
    )
    def asks_for_a_price(self, sell: str, share: Fraction, name: str, payout: bool, by_buy: bool, then: str) -> Any:
        buy = other(sell)
        units = max(3 * LEAST[sell], self.units(name, sell, share))
        if by_buy:
            bought = max(3 * LEAST[buy], worth(units, sell, buy))
            made = self.shop.quote(sell, buy, buy_units=bought, payout=payout)
            assert units_of(made["buy"]) == bought
        else:
            made = self.shop.quote(sell, buy, sell_units=units, payout=payout)
            assert units_of(made["sell"]) == units
        self.asked.add(made["id"])
        assert given(made) <= worth(units_of(made["sell"]), sell, buy), "the house gives more than the rate"
        if then == "balance":
            self.accepts(made, name)
        elif then != "later":
            self.accepts_and_pays_from_outside(made, name, then == "paid")
        return made

    @rule(quote=open_quotes, name=accounts)
    def accepts(self, quote: Any, name: str) -> None:
        sell, buy = quote["sell"]["asset"], quote["buy"]["asset"]
        sold, out = units_of(quote["sell"]), given(quote)
        terms = {"payout_address": self.engine.outside(buy)} if quote["payout"] else {}
        codes = set()
        if quote["id"] in self.used | self.stale:
            codes.add("quote_used" if quote["id"] in self.used else "quote_expired")
        else:
            codes |= {"insufficient_funds"} if sold > self.own[name, sell] else set()
            codes |= {"inventory_short"} if out > self.house[buy] else set()
        if codes:
            self.refused(codes, lambda: self.shop.swap(quote, name, **terms))
            return
        self.shop.swap(quote, name, **terms)
        self.used.add(quote["id"])
        self.own[name, sell] -= sold
        self.house[sell] += sold
        self.house[buy] -= out
        self.buys(name, quote)

    @rule(quote=open_quotes, name=accounts, pays=st.booleans())
    def accepts_and_pays_from_outside(self, quote: Any, name: str, pays: bool) -> None:
        buy = quote["buy"]["asset"]
        if quote["id"] in self.used | self.stale or given(quote) > self.house[buy]:
            return
        terms = {"payout_address": self.engine.outside(buy)} if quote["payout"] else {}
        made = self.shop.swap(quote, name, form="deposit", **terms)
        self.used.add(quote["id"])
        self.house[buy] -= given(quote)
        if pays:
            sold = quote["sell"]
            self.engine.pay_in(made["deposit"]["address"], units_of(sold), sold["asset"], blocks=0)
            self.engine.tick()  # it is seen in time
        (self.paid if pays else self.unpaid).append((name, quote))

    # Escrows

    @rule(
        target=escrows,
        buyer=accounts,
        vendor=accounts,
        code=CODE,
        share=SHARE,
        fee=FEE,
        by_buyer=st.booleans(),
        steps=STEPS,
    )
    def agrees_on_an_escrow(
        self,
        buyer: str,
        vendor: str,
        code: str,
        share: Fraction,
        fee: int,
        by_buyer: bool,
        steps: list[tuple[str, Fraction]],
    ) -> Deal | None:
        price = self.units(buyer, code, share) or 1
        terms = {"fee_percent": str(fee), "fee_from": "buyer" if by_buyer else "vendor"}
        whole = -(-price * fee // 100)
        wrong = {"same_account"} if buyer == vendor else set()
        wrong |= {"amount_invalid"} if whole >= price and not by_buyer else set()
        if wrong:
            self.refused(wrong, lambda: self.shop.escrow(buyer, vendor, code, price, **terms))
            return None
        made = self.shop.escrow(buyer, vendor, code, price, **terms)
        deal = Deal(made["id"], buyer, vendor, code, price, whole, by_buyer)
        assert (units_of(made["fee"]), units_of(made["wanted"])) == (deal.fee, deal.wanted)
        self.deals.append(deal)
        for verb, part in steps:
            getattr(self, verb)(deal, part)
        return deal

    @rule(deal=escrows, verb=st.sampled_from(VERBS), share=SHARE)
    def asks_of_an_escrow(self, deal: Deal | None, verb: str, share: Fraction) -> None:
        if deal is not None:
            getattr(self, verb)(deal, share)

    def fund(self, deal: Deal, share: Fraction) -> None:
        missing = deal.wanted - deal.held
        units = int(missing * share) or 1
        wrong = {"amount_invalid"} if units > missing else set()
        wrong |= {"insufficient_funds"} if units > self.own[deal.buyer, deal.code] else set()
        if self.done(deal, "fund", "awaiting_funds", wrong, amount=units):
            self.own[deal.buyer, deal.code] -= units
            deal.held += units
            deal.state = "funded" if deal.held == deal.wanted else deal.state

    def release(self, deal: Deal, share: Fraction) -> None:
        units = int(deal.left * share) or 1
        wrong = {"amount_invalid"} if units > deal.left else set()
        if self.done(deal, "release", "funded", wrong, amount=units):
            self.own[deal.vendor, deal.code] += deal.gives(units)
            deal.ends()

    def refund(self, deal: Deal, share: Fraction) -> None:
        units = int(deal.left * share) or 1
        wrong = {"amount_invalid"} if units > deal.left else set()
        if self.done(deal, "refund", "funded", wrong, amount=units):
            self.own[deal.buyer, deal.code] += deal.returns(units)
            deal.ends()

    def dispute(self, deal: Deal, share: Fraction) -> None:
        if self.done(deal, "dispute", "funded", set()):
            deal.state = "disputed"

    def resolve(self, deal: Deal, share: Fraction) -> None:
        """The vendor's part to the unit; the buyer has the rest."""
        units = int(deal.left * min(share, Fraction(1)))
        if self.done(deal, "resolve", "disputed", set(), vendor_amount=units):
            self.own[deal.vendor, deal.code] += deal.gives(units)
            self.own[deal.buyer, deal.code] += deal.returns(deal.left)
            deal.ends()

    def cancel(self, deal: Deal, share: Fraction) -> None:
        if self.done(deal, "cancel", "awaiting_funds", set()):
            self.own[deal.buyer, deal.code] += deal.held
            deal.held, deal.state = 0, "cancelled"

    def done(self, deal: Deal, verb: str, state: str, wrong: set[str], **units: int) -> bool:
        """Ask it; whether it was done, as it must be in this state with nothing wrong."""
        amounts = {name: text(value, deal.code) for name, value in units.items()}
        call = partial(self.shop.post, f"escrows/{deal.name}/{verb}", **amounts)
        if deal.state != state or wrong:
            self.refused(wrong if deal.state == state else "state_conflict", call)
            return False
        call()
        return True

    # Time

    @precondition(lambda self: self.coming or self.away or self.paid)
    @rule()
    def blocks_come(self) -> None:
        """What was paid in is credited, what was to leave has left."""
        self.engine.tick()
        self.buries()

    @rule(depth=st.integers(1, 7))
    def blocks_are_undone(self, depth: int) -> None:
        """What they held comes back in others: in the end nothing is different."""
        while self.paid or self.away:
            self.blocks_come()
        self.engine.chain.reorg(depth)
        self.engine.tick()
        self.buries()

    def buries(self) -> None:
        for code, chain in self.engine.chains.items():
            chain.mine(DEPTH[code])
        self.engine.tick()
        self.own.update(self.coming)
        self.coming.clear()
        self.away.clear()
        for name, quote in self.paid:
            self.house[quote["sell"]["asset"]] += units_of(quote["sell"])
            self.buys(name, quote)
        self.paid.clear()

    def buys(self, name: str, quote: Any) -> None:
        buy, units = quote["buy"]["asset"], units_of(quote["buy"])
        if quote["payout"]:
            self.away[name, buy] += units + units_of(quote["network_fee"])
        else:
            self.own[name, buy] += units

    @precondition(lambda self: self.unpaid)
    @rule()
    def half_an_hour_passes(self) -> None:
        """What nobody has paid for is free again."""
        self.clock.forward(minutes=30)
        self.engine.set_rates(**PRICES)
        self.stale |= self.asked
        self.engine.tick()
        for _, quote in self.unpaid:
            self.house[quote["buy"]["asset"]] += given(quote)
        self.unpaid.clear()

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
    def every_escrow_is_the_models(self) -> None:
        for deal in self.deals:
            there = self.shop.get(f"escrows/{deal.name}")
            assert (there["status"], units_of(there["held"])) == (deal.state, deal.held), deal
            assert units_of(there["fee_taken"]) == deal.taken, deal

    @invariant()
    def rows_and_books_agree(self) -> None:
        assert invariants_trades.standing(self.engine.database) == []

    def teardown(self) -> None:
        """All comes to its end, and the chains have what the books say."""
        if self.unpaid:
            self.half_an_hour_passes()
        while self.paid or self.away or self.coming:
            self.blocks_come()
        if self.own:
            self.every_balance_is_the_models()
        assert self.engine.database.read(balances.faults) == []
        self.engine.check_invariants()

    def refused(self, codes: str | set[str], call: Any) -> None:
        with pytest.raises(Refused) as refusal:
            call()
        assert refusal.value.code in ({codes} if isinstance(codes, str) else codes)


def _bound(database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch) -> type[Machine]:
    engine = TradeEngine(folder, database)
    engine.resting |= WATCHERS
    shop = TradeShop(engine)
    engine.set_policy("XMR", deposit_tiers=[[10**38, 6]], withdrawal_approval_above_units=10**18)
    for code in CODES:
        engine.set_policy(code, swap_open_max=1_000)
    bank = shop.funded(BTC=20 * 10**8, XMR=20_000 * 10**12)
    return type("BoundMachine", (Machine,), {"engine": engine, "shop": shop, "bank": bank, "clock": Clock(monkeypatch)})


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_random_trades_match_the_model(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same lives each time: what they find is a change of ours. `-m long` lives others each time."""
    limits = settings(
        max_examples=6,
        stateful_step_count=50,
        deadline=None,
        derandomize=True,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(_bound(database, tmp_path, monkeypatch), settings=limits)


@pytest.mark.long
@pytest.mark.timeout(3600)
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
