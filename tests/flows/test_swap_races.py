"""Quotes accepted at the same instant, on both databases: threads, real locks, and books that stay sound."""

from __future__ import annotations

from collections import Counter
from functools import partial

from sqlalchemy import text

from jobs import transfers, withdrawal
from jobs.swap import inventory
from ledger.errors import CofferError, InsufficientFunds, InventoryShort, QuoteUsed
from ledger.schema import quote, swap
from tests.flows.books_engine import BooksEngine
from tests.flows.swapping import BTC, XMR, accept, ask, together, units

CLIENTS = 32


def test_of_thirty_two_that_accept_one_quote_exactly_one_gets_it(counter: BooksEngine) -> None:
    owner = counter.funded_in(BTC=10 * BTC)
    made = ask(counter, "BTC", "XMR", sells=BTC // 10)
    found = together([partial(accept, counter, owner, made)] * CLIENTS)
    assert Counter(map(_kind, found)) == {"completed": 1, QuoteUsed: CLIENTS - 1}
    assert (len(counter.rows(swap)), counter.available(owner, "XMR")) == (1, units(made, "buy"))
    assert counter.available(owner, "BTC") == 10 * BTC - BTC // 10
    counter.check_invariants()


def test_of_thirty_two_quotes_one_gets_the_last_of_the_inventory(counter: BooksEngine) -> None:
    made = [ask(counter, "BTC", "XMR", sells=BTC // 10) for _ in range(CLIENTS)]
    owners = [counter.funded_in(BTC=BTC // 10) for _ in range(CLIENTS)]
    enough = units(made[0], "buy") + units(made[0], "service_fee")
    rest = counter.guarded("inventory", "XMR") - enough
    counter.database.run(lambda tx: inventory.withdraw(tx, "XMR", rest, "test"), "test")
    found = together([partial(accept, counter, owner, each) for owner, each in zip(owners, made, strict=True)])
    assert Counter(map(_kind, found)) == {"completed": 1, InventoryShort: CLIENTS - 1}
    assert counter.guarded("inventory", "XMR") == 0
    assert sum(counter.available(owner, "BTC") for owner in owners) == (CLIENTS - 1) * (BTC // 10)
    assert Counter(row.state for row in counter.rows(quote)) == {"accepted": 1, "open": CLIENTS - 1}
    counter.check_invariants()


def test_opposite_swaps_at_once_all_complete_and_lose_no_posting(counter: BooksEngine) -> None:
    """H3: one sells what the other buys, of the same two accounts."""
    one, other = (counter.funded_in(BTC=10 * BTC, XMR=4_000 * XMR) for _ in range(2))
    for sell, buy, amount in (("BTC", "XMR", BTC // 10), ("XMR", "BTC", 40 * XMR)):
        accept(counter, one, ask(counter, sell, buy, sells=amount))  # the house's accounts are there now
    start = {code: sum(counter.available(owner, code) for owner in (one, other)) for code in ("BTC", "XMR")}
    calls, sold = [], Counter[str]()
    for number in range(16):
        owner = (one, other)[number // 2 % 2]
        sell, buy, amount = (("BTC", "XMR", BTC // 10), ("XMR", "BTC", 40 * XMR))[number % 2]
        calls.append(partial(accept, counter, owner, ask(counter, sell, buy, sells=amount)))
        sold[sell] += amount
    before = _deadlocks(counter)
    found = together(calls)
    assert Counter(map(_kind, found)) == {"completed": 16}, found
    assert _deadlocks(counter) == before, "balances are locked in one order, so nobody had to try again"
    bought = Counter[str]()
    for done in found:
        bought[done["buy"]["asset"]] += units(done, "buy")
    for code, all_of_it in start.items():
        left = sum(counter.available(owner, code) for owner in (one, other))
        assert left == all_of_it - sold[code] + bought[code]
    counter.check_invariants()


def test_the_same_balance_is_sold_moved_and_withdrawn_once(counter: BooksEngine) -> None:
    """G5: swaps, transfers and withdrawals of one balance at once; what succeeds fits into it."""
    owner, other = counter.funded_in(BTC=BTC), counter.account()
    part = BTC // 4
    calls = [partial(accept, counter, owner, ask(counter, "BTC", "XMR", sells=part)) for _ in range(6)]
    calls += [partial(_transfer, counter, owner, other, part, f"t{number}") for number in range(6)]
    calls += [partial(_withdraw, counter, owner, part - 2_000, counter.outside("BTC")) for _ in range(6)]
    found = together(calls)
    done = [each for each in found if not isinstance(each, Exception)]
    assert len(done) == 4
    assert {type(each) for each in found if isinstance(each, Exception)} == {InsufficientFunds}
    assert counter.available(owner, "BTC") == 0
    counter.check_invariants()


def _deadlocks(counter: BooksEngine) -> int:
    """How many the server has broken so far; SQLite has one writer at a time."""
    if counter.database.sqlite:
        return 0
    status = text("SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'")
    return int(counter.database.read(lambda tx: tx.one(status)).Value)


def _transfer(counter: BooksEngine, giver: int, taker: int, units: int, reference: str) -> object:
    order = transfers.Order(giver, taker, "BTC", units, reference)
    return counter.database.run(lambda tx: transfers.make(tx, counter.caller, order), "test_transfer")


def _withdraw(counter: BooksEngine, owner: int, units: int, payee: str) -> object:
    order = withdrawal.Order(owner, "BTC", units, payee, f"w-{payee}")
    return counter.database.run(
        lambda tx: withdrawal.request(tx, counter.caller, order, counter.services), "test_request"
    )


def _kind(found: object) -> object:
    if isinstance(found, dict):
        return found["status"]
    assert isinstance(found, CofferError), repr(found)
    return type(found)
