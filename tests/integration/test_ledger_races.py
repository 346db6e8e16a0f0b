"""Many clients at once: nobody spends what another has spent, and no deadlock reaches a caller."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import select

from jobs import addresses, transfers, withdrawal
from jobs.payment import batch
from jobs.payment.batch import Group, Plan
from ledger import accounts, balances, db, holds, postings
from ledger.db import Tx
from ledger.errors import CommitUnknown, InsufficientFunds, LimitExceeded, ReferenceExists, Refused, StateConflict
from ledger.money import BTC
from ledger.postings import Leg
from ledger.schema import balance, index_counter, ledger_account, payment_item
from ledger.schema import withdrawal as withdrawals
from tests.integration.test_ledger_postings import assert_house_sums
from tests.ledger_books import TREASURY, Books, unique


def together(clients: int, work: Callable[[int], Any]) -> list[Any]:
    """What each of these calls returned or raised; they start at the same moment."""
    start = threading.Barrier(clients)

    def one(number: int) -> Any:
        start.wait()
        try:
            return work(number)
        except Exception as error:  # noqa: BLE001  # the test judges it
            return error

    with ThreadPoolExecutor(clients) as pool:
        return list(pool.map(one, range(clients)))


def test_twenty_clients_never_make_or_lose_money(books: Books) -> None:
    """The bank test: the total is constant in every consistent read, and each read finds the books sound."""
    accounts_of, each = [books.account(1_000) for _ in range(8)], 1_000
    done, seen = threading.Event(), []

    def total(tx: Tx) -> int:
        query = select(balance.c.units).join(ledger_account, ledger_account.c.id == balance.c.ledger_account_id)
        mine = ledger_account.c.account_id.in_(accounts_of) & (ledger_account.c.asset == "BTC")
        return sum(row.units for row in tx.all(query.where(mine)))

    def watch() -> None:
        while not done.is_set():
            seen.append(books.database.read(total))
            seen.append(books.database.read(balances.faults, consistent=True))

    def client(number: int) -> Counter[str]:
        chance, tally = random.Random(number), Counter[str]()
        for _ in range(15):
            giver, taker = chance.sample(accounts_of, 2)
            try:
                if chance.random() < 0.3:
                    order = transfers.Order(giver, taker, "BTC", chance.randint(1, 900), unique())
                    books.database.run(lambda tx, o=order: transfers.make(tx, books.caller, o), "test_transfer")
                else:
                    books.move(giver, taker, chance.randint(1, 900))
                tally["moved"] += 1
            except InsufficientFunds:
                tally["refused"] += 1
        return tally

    watcher = threading.Thread(target=watch)
    watcher.start()
    tallies = together(20, client)
    done.set()
    watcher.join(60)
    assert [t for t in tallies if not isinstance(t, Counter)] == []
    assert sum(t["moved"] for t in tallies) > 100
    assert set(map(str, seen)) == {str(8 * each), "[]"}
    books.check()


def test_a_hot_account_never_errors_out(shared: Books) -> None:
    """Every transfer meets one account, from both sides."""
    hot, others = shared.account(100_000), [shared.account(1_000) for _ in range(16)]

    def client(number: int) -> None:
        for turn in range(10):
            giver, taker = (hot, others[number]) if (number + turn) % 2 else (others[number], hot)
            shared.move(giver, taker, 10)

    assert [r for r in together(16, client) if r is not None] == []
    assert shared.units(hot) + sum(map(shared.units, others)) == 100_000 + 16 * 1_000
    shared.check()


def test_pairs_paying_each_other_never_wait_for_ever(shared: Books) -> None:
    """A to B beside B to A: rows are locked in one order, whatever the direction."""
    ann, bob = shared.account(10_000), shared.account(10_000)
    legs = [(ann, bob), (bob, ann)]
    results = together(8, lambda n: [shared.move(*legs[n % 2], 1) for _ in range(12)] and None)
    assert results == [None] * 8
    assert (shared.units(ann), shared.units(bob)) == (10_000, 10_000)


def test_one_key_from_many_clients_is_one_transfer(shared: Books) -> None:
    ann, bob, key = shared.account(1_000), shared.account(), unique()
    results = together(16, lambda _: shared.move(ann, bob, 10, key))
    assert sum(isinstance(r, int) for r in results) == 1
    assert [r for r in results if not isinstance(r, int)] == [None] * 15
    assert (shared.units(ann), shared.units(bob)) == (990, 10)


def test_a_new_accounts_first_transfers_meet(shared: Books) -> None:
    """Its ledger account is made by whoever is first; the others use that one."""
    givers, taker = [shared.account(100) for _ in range(12)], shared.account()
    results = together(12, lambda n: shared.move(givers[n], taker, 7))
    assert all(isinstance(r, int) for r in results), results
    assert shared.units(taker) == 84
    shared.check()


def test_a_balance_for_one_pays_one_of_a_hundred(shared: Books) -> None:
    """FAULTS G4: Flexcoin, Poloniex."""
    ann = shared.account(102_000)
    orders = [shared.order(ann, 100_000) for _ in range(100)]
    with ThreadPoolExecutor(32) as pool:
        results = list(pool.map(lambda order: attempt(lambda: shared.withdraw(order)), orders))
    paid = [r for r in results if isinstance(r, int)]
    refused = [r for r in results if not isinstance(r, int)]
    assert len(paid) == 1
    assert all(isinstance(r, InsufficientFunds) for r in refused), refused
    assert (shared.units(ann), shared.units(ann, "held")) == (0, 102_000)
    rows = shared.database.read(lambda tx: tx.all(select(withdrawals.c.id).where(withdrawals.c.account_id == ann)))
    assert [row.id for row in rows] == paid
    shared.check()


def attempt(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Refused as refusal:
        return refusal


def test_withdrawals_and_transfers_share_one_balance(shared: Books) -> None:
    """FAULTS G5: whatever succeeds together is covered."""
    ann, bob = shared.account(300_000), shared.account()

    def client(number: int) -> int:
        if number % 2:
            shared.withdraw(shared.order(ann, 98_000))
        else:
            shared.move(ann, bob, 100_000)
        return number

    results = together(12, client)
    assert sum(isinstance(r, int) for r in results) == 3
    assert all(isinstance(r, int | InsufficientFunds) for r in results), results
    assert (shared.units(ann), shared.units(ann, "held") + shared.units(bob)) == (0, 300_000)
    shared.check()


def test_limits_cannot_be_passed_in_parallel(books: Books) -> None:
    ann = books.account(10_000_000)
    books.set_policy(withdrawal_daily_units=350_000)
    books.withdraw(books.order(ann, 10_000))  # making the account that holds would line them up, too
    results = together(16, lambda _: books.withdraw(books.order(ann, 100_000)))
    assert sum(isinstance(r, int) for r in results) == 3
    assert all(isinstance(r, int | LimitExceeded) for r in results), results
    books.check()


def test_one_reference_from_many_clients_is_one_withdrawal(shared: Books) -> None:
    ann = shared.account(10_000_000)
    order = shared.order(ann, 100_000)
    results = together(16, lambda _: shared.withdraw(order))
    assert sum(isinstance(r, int) for r in results) == 1
    assert all(isinstance(r, int | ReferenceExists) for r in results), results
    assert shared.units(ann, "held") == 102_000


@pytest.mark.parametrize("turn", range(4))
def test_cancelling_and_joining_a_payment_exclude_each_other(shared: Books, turn: int) -> None:
    """FAULTS I-5: exactly one wins, and the hold agrees with it."""
    ann = shared.account(10_000_000)
    ids = [shared.withdraw(shared.order(ann, 100_000)) for _ in range(4)]
    read = shared.database.read(lambda tx: tx.all(select(withdrawals).where(withdrawals.c.id.in_(ids))))
    plan = Plan("BTC", 1_000, 2_000, [Group(list(read), {row.address for row in read})])

    def act(number: int) -> str:
        if number == 0:
            shared.database.run(lambda tx: batch._write(tx, "bitcoin", [plan]), "test_batch")
            return "joined"
        shared.database.run(lambda tx: withdrawal.cancel(tx, shared.caller, ids[number - 1]), "test_cancel")
        return "cancelled"

    results = together(5, act)
    assert results[0] == "joined"
    for row_id, result in zip(ids, results[1:], strict=True):
        row = shared.database.read(lambda tx, i=row_id: tx.one(select(withdrawals).where(withdrawals.c.id == i)))
        item = select(payment_item.c.id).where(payment_item.c.withdrawal_id == row_id)
        joined = shared.database.read(lambda tx, q=item: tx.first(q)) is not None
        ended = shared.database.read(lambda tx, r=row: holds.ended(tx, withdrawal.hold_key(r.id, 1)))
        if result == "cancelled":
            assert (row.state, joined, ended) == ("cancelled", False, "voided")
        else:
            assert isinstance(result, StateConflict), result
            assert (row.state, joined, ended) == ("queued", True, None)
            assert row.payment_id is not None
    shared.check()


def test_one_withdrawal_is_cancelled_once(shared: Books) -> None:
    ann = shared.account(1_000_000)
    row_id = shared.withdraw(shared.order(ann, 100_000))

    def cancel(_: int) -> None:
        shared.database.run(lambda tx: withdrawal.cancel(tx, shared.caller, row_id), "test_cancel")

    results = together(8, cancel)
    assert results.count(None) == 1
    assert sum(isinstance(r, StateConflict) for r in results) == 7
    assert (shared.units(ann), shared.units(ann, "held")) == (1_000_000, 0)
    shared.check()


def test_a_thousand_addresses_are_a_thousand_indices(shared: Books) -> None:
    ann, wish_count = shared.account(), 25
    wish = addresses.Wish(ann, BTC)

    def client(_: int) -> list[int]:
        issue = lambda tx: addresses.issue(tx, shared.caller, wish, shared.services).idx  # noqa: E731
        return [shared.database.run(issue, "test_address") for _ in range(wish_count)]

    found = [index for result in together(16, client) for index in result]
    assert len(set(found)) == 16 * wish_count
    after = shared.database.read(lambda tx: tx.value(select(index_counter.c.next_index)))
    assert max(found) == after - 1


def test_a_snapshot_does_not_step_over_an_open_transaction(books: Books) -> None:
    """Its postings have older ids than what was committed meanwhile, and are not to be seen yet."""
    if books.database.sqlite:
        pytest.skip("SQLite has one writer: ids are committed in order")
    database, legs = books.database, [Leg(TREASURY, accounts.house("capital"), 7)]
    books.post(unique(), legs)
    open_connection = database.engine.connect()
    with open_connection.begin():
        tx = Tx(open_connection, database.now(), sqlite=False)
        postings.post(tx, unique(), "test", "BTC", legs, ("test", 1))
        books.post(unique(), legs)  # commits with a younger id
        database.run(balances.take_snapshots, "test_snapshot")
    open_connection.close()
    assert_house_sums(database)
    books.check()


def test_a_snapshot_waits_for_an_older_posting_that_is_not_committed(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long ago both were made: no age tells that a transaction has ended."""
    if books.database.sqlite:
        pytest.skip("SQLite has one writer: ids are committed in order")
    monkeypatch.setattr(balances, "SNAPSHOT_AGE_US", -1)
    database, legs = books.database, [Leg(TREASURY, accounts.house("capital"), 7)]
    books.post(unique(), legs)
    with ThreadPoolExecutor(1) as pool, database.engine.connect() as connection:
        with connection.begin():
            tx = Tx(connection, database.now(), sqlite=False)
            postings.post(tx, unique(), "test", "BTC", legs, ("test", 1))
            books.post(unique(), legs)  # commits with a younger id
            taken = pool.submit(database.run, balances.take_snapshots, "test_snapshot")
            with pytest.raises(TimeoutError):
                taken.result(1)
        assert taken.result(60)
    assert_house_sums(database)
    books.check()


def test_who_sleeps_inside_a_transaction_is_rolled_back_and_does_it_again(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that is stopped there holds up nobody for long, and neither loses nor doubles anything."""
    if books.database.sqlite:
        pytest.skip("SQLite has no server that could roll a sleeper back")
    monkeypatch.setattr(db, "IDLE_WRITER_SECONDS", 1)
    monkeypatch.setattr(balances, "SNAPSHOT_AGE_US", -1)
    database, ann, key, runs = books.database, books.account(1), unique(), []
    database.engine.dispose()
    asleep, awake = threading.Event(), threading.Event()

    def unit(tx: Tx) -> None:
        runs.append(1)
        postings.post(tx, key, "test", "BTC", [Leg(TREASURY, (ann, "available"), 7)], ("test", 1))
        asleep.set()
        assert awake.wait(120)
        postings.post(tx, f"{key}b", "test", "BTC", [Leg(TREASURY, (ann, "available"), 70)], ("test", 1))

    with ThreadPoolExecutor(1) as pool:
        sleeper = pool.submit(database.run, unit, "test_unit")
        try:
            assert asleep.wait(60)
            books.fund(ann, 3)  # the sleeper has locked this balance
            assert database.run(balances.take_snapshots, "test_snapshot")
        finally:
            awake.set()
        sleeper.result(60)
    assert len(runs) == 2
    assert_house_sums(database)
    assert books.units(ann) == 1 + 3 + 77
    books.check()


def test_who_sleeps_before_his_commit_hears_that_nobody_knows(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server has rolled it back by then: whoever reads again finds nothing, and does it anew."""
    if books.database.sqlite:
        pytest.skip("SQLite has no server that could roll a sleeper back")
    monkeypatch.setattr(db, "IDLE_WRITER_SECONDS", 1)
    ann, key = books.account(), unique()
    books.database.engine.dispose()

    def unit(tx: Tx) -> None:
        postings.post(tx, key, "test", "BTC", [Leg(TREASURY, (ann, "available"), 7)], ("test", 1))
        time.sleep(2)

    with pytest.raises(CommitUnknown):
        books.database.run(unit, "test_unit")
    assert books.units(ann) == 0
    assert books.move(books.account(9), ann, 7, key)
    books.check()


def test_snapshots_beside_commits_lose_nothing(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """A posting id may commit after a younger one: a snapshot must not step over it."""
    monkeypatch.setattr(balances, "SNAPSHOT_AGE_US", 200_000)
    ann, done = books.account(), threading.Event()

    def shoot() -> None:
        while not done.wait(0.02):
            books.database.run(balances.take_snapshots, "test_snapshot")

    shooter = threading.Thread(target=shoot)
    shooter.start()
    results = together(8, lambda _: [books.fund(ann, 3) for _ in range(25)] and None)
    done.set()
    shooter.join(60)
    assert results == [None] * 8
    monkeypatch.setattr(balances, "SNAPSHOT_AGE_US", -1)
    assert books.database.run(balances.take_snapshots, "test_snapshot")
    assert_house_sums(books.database)
    assert books.units(ann) == 600
    books.check()
