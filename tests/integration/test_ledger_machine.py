"""The ledger against a model of plain dicts, step by random step, on both databases."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from ledger import accounts, holds, postings
from ledger.db import Database, Tx
from ledger.errors import InsufficientFunds, LedgerBroken
from ledger.postings import Leg
from tests.ledger_books import Books, unique

UNITS = st.one_of(st.integers(1, 50), st.sampled_from([10**8, 2**63 - 1, 2**63, 10**19, 10**30]))


class Machine(RuleBasedStateMachine):
    """Rules are what flows do; after each of them I1, I2 and I6 hold and every balance is the model's."""

    database: Database
    customers = Bundle("customers")
    open_holds = Bundle("open_holds")

    def __init__(self) -> None:
        super().__init__()
        self.books = Books(self.database)
        self.available: dict[int, int] = {}
        self.holds: dict[str, tuple[int, int]] = {}
        self.ended: dict[str, str] = {}
        self.moves: dict[str, tuple[int, int, int]] = {}

    def held(self, account: int) -> int:
        live = (pair for key, pair in self.holds.items() if key not in self.ended)
        return sum(units for owner, units in live if owner == account)

    def tried(self, unit: Any, allowed: bool, refusal: type[Exception] | tuple[type[Exception], ...]) -> None:
        if allowed:
            self.database.run(unit, "test_rule")
            return
        with pytest.raises(refusal):
            self.database.run(unit, "test_rule")

    @rule(target=customers, units=st.integers(0, 100))
    def arrives(self, units: int) -> int:
        account = self.books.account(units)
        self.available[account] = units
        return account

    @rule(account=customers, units=UNITS)
    def deposits(self, account: int, units: int) -> None:
        self.books.fund(account, units)
        self.available[account] += units

    @rule(giver=customers, taker=customers, units=UNITS)
    def pays(self, giver: int, taker: int, units: int) -> None:
        if giver == taker:
            return
        key, enough = unique(), self.available[giver] >= units
        legs = [Leg((giver, "available"), (taker, "available"), units)]
        unit = lambda tx: postings.post(tx, key, "test", "BTC", legs, ("test", 1))  # noqa: E731
        self.tried(unit, enough, InsufficientFunds)
        if enough:
            self.available[giver] -= units
            self.available[taker] += units
            self.moves[key] = (giver, taker, units)

    @rule(data=st.data(), extra=st.integers(0, 1))
    def repeats_a_transfer(self, data: Any, extra: int) -> None:
        if not self.moves:
            return
        key = data.draw(st.sampled_from(sorted(self.moves)))
        giver, taker, units = self.moves[key]
        legs = [Leg((giver, "available"), (taker, "available"), units + extra)]
        unit = lambda tx: postings.post(tx, key, "test", "BTC", legs, ("test", 1))  # noqa: E731
        self.tried(unit, extra == 0, LedgerBroken)

    @rule(target=open_holds, account=customers, units=st.integers(1, 120))
    def holds_money(self, account: int, units: int) -> str:
        key, enough = unique(), self.available[account] >= units
        self.tried(lambda tx: holds.place(tx, key, account, "BTC", units, ("test", 1)), enough, InsufficientFunds)
        if enough:
            self.available[account] -= units
            self.holds[key] = (account, units)
        return key

    @rule(key=open_holds)
    def voids(self, key: str) -> None:
        known, ended = key in self.holds, self.ended.get(key)
        refusal = (LedgerBroken, InsufficientFunds)
        self.tried(lambda tx: holds.void(tx, key, ("test", 1)), known and ended in (None, "voided"), refusal)
        if known and ended is None:
            account, units = self.holds[key]
            self.available[account] += units
            self.ended[key] = "voided"

    @rule(key=open_holds)
    def settles(self, key: str) -> None:
        if key not in self.holds:
            return
        account, units = self.holds[key]
        legs = [Leg((account, "held"), accounts.house("in_flight"), units)]

        def unit(tx: Tx) -> None:
            transfer_id = postings.post(tx, f"settle:{key}", "settlement", "BTC", legs, ("test", 1))
            if transfer_id is not None:
                holds.settle(tx, key, transfer_id, legs)

        ended = self.ended.get(key)
        self.tried(unit, ended in (None, "settled"), (LedgerBroken, InsufficientFunds))
        if ended is None:
            self.ended[key] = "settled"

    @invariant()
    def the_books_are_the_models(self) -> None:
        for account, units in self.available.items():
            assert self.books.units(account) == units
            assert self.books.units(account, "held") == self.held(account)

    def teardown(self) -> None:
        self.books.check()


def test_random_lives_match_the_model(shared_database: Database) -> None:
    machine = type("BoundMachine", (Machine,), {"database": shared_database})
    limits = settings(max_examples=15, stateful_step_count=25, deadline=None, print_blob=True)
    run_state_machine_as_test(machine, settings=limits)
