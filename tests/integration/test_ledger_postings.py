"""Transfers and holds: balanced by construction, once a key, whole or not at all."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, func, insert, select

from jobs import withdrawal
from ledger import accounts, balances, holds, postings
from ledger.db import Database, Tx
from ledger.errors import InsufficientFunds, LedgerBroken, LimitExceeded, ReferenceExists
from ledger.money import UNITS_BOUND
from ledger.postings import Leg
from ledger.schema import asset, posting, snapshot, transfer
from tests.ledger_books import TREASURY, Books, unique


def count(books: Books) -> int:
    return books.database.read(lambda tx: tx.value(select(func.count()).select_from(posting)))


def test_money_moves_whole(shared: Books) -> None:
    ann, bob = shared.account(1_000), shared.account()
    assert shared.move(ann, bob, 400) is not None
    assert (shared.units(ann), shared.units(bob)) == (600, 400)
    shared.check()


def test_a_repeated_key_posts_nothing(shared: Books) -> None:
    ann, bob, key = shared.account(1_000), shared.account(), unique()
    assert shared.move(ann, bob, 600, key) is not None
    before = count(shared)
    for _ in range(3):
        assert shared.move(ann, bob, 600, key) is None  # also when the money would no longer be there
    assert (shared.units(ann), shared.units(bob), count(shared)) == (400, 600, before)


def test_a_key_with_other_legs_is_a_broken_ledger(shared: Books) -> None:
    ann, bob, key = shared.account(1_000), shared.account(10), unique()
    shared.move(ann, bob, 400, key)
    for giver, taker, units in ((ann, bob, 401), (bob, ann, 400), (ann, shared.account(), 400)):
        with pytest.raises(LedgerBroken, match="other legs"):
            shared.move(giver, taker, units, key)
    assert (shared.units(ann), shared.units(bob)) == (600, 410)


def test_what_is_not_there_moves_nowhere(shared: Books) -> None:
    ann, bob, eve, before = shared.account(1_000), shared.account(), shared.account(), count(shared)
    with pytest.raises(InsufficientFunds) as refused:
        shared.move(ann, bob, 1_001)
    assert refused.value.context["missing_units"] == 1
    legs = [Leg((ann, "available"), (bob, "available"), 900), Leg((ann, "available"), (eve, "available"), 101)]
    with pytest.raises(InsufficientFunds):
        shared.post(unique(), legs)
    assert [shared.units(a) for a in (ann, bob, eve)] == [1_000, 0, 0]
    assert count(shared) == before
    shared.check()


def test_money_may_pass_through_an_account_within_one_transfer(shared: Books) -> None:
    ann, bob, eve = shared.account(100), shared.account(), shared.account()
    legs = [Leg((bob, "available"), (eve, "available"), 70), Leg((ann, "available"), (bob, "available"), 100)]
    shared.post(unique(), legs)
    assert [shared.units(a) for a in (ann, bob, eve)] == [0, 30, 70]
    shared.check()


@pytest.mark.parametrize("units", [[], [0], [0, 0], [-1], [5, -1]])
def test_a_transfer_has_postings_above_zero(shared: Books, units: list[int]) -> None:
    ann = shared.account()
    with pytest.raises(LedgerBroken, match="above zero"):
        shared.post(unique(), [Leg(TREASURY, (ann, "available"), n) for n in units])
    assert shared.units(ann) == 0


def test_the_largest_amounts_are_exact(shared: Books) -> None:
    """38 digits, in an asset of its own; one unit more is refused and writes nothing."""
    code, most = f"T{unique()[:8].upper()}", UNITS_BOUND - 1
    values = {"code": code, "chain": "bitcoin", "decimals": 18, "enabled": 1}
    shared.database.run(lambda tx: tx.execute(insert(asset).values(values | {"created_at": tx.now})), "test_asset")
    ann, bob = shared.account(), shared.account()

    def units(account_id: int) -> int:
        return shared.database.read(lambda tx: balances.get(tx, (account_id, "available"), code))

    shared.post(unique(), [Leg(TREASURY, (ann, "available"), most)], code)
    with pytest.raises(Exception, match="38 digits"):
        shared.post(unique(), [Leg(TREASURY, (ann, "available"), 1)], code)
    shared.post(unique(), [Leg((ann, "available"), (bob, "available"), most - 1)], code)
    assert (units(ann), units(bob)) == (1, most - 1)
    assert shared.database.read(lambda tx: balances.of_house(tx, code))["treasury_hot"] == -most
    shared.check()


def test_what_is_owed_counts_up_by_debits(shared: Books) -> None:
    ann = shared.account(100)
    shared.post(unique(), [Leg((ann, "receivable"), TREASURY, 60)])
    assert shared.units(ann, "receivable") == 60
    with pytest.raises(InsufficientFunds):  # no one can repay more than is owed
        shared.post(unique(), [Leg((ann, "available"), (ann, "receivable"), 61)])
    shared.post(unique(), [Leg((ann, "available"), (ann, "receivable"), 60)])
    assert (shared.units(ann), shared.units(ann, "receivable")) == (40, 0)
    shared.check()


def test_the_books_name_what_is_wrong(books: Books) -> None:
    """`faults` sees a balance changed behind the journal's back."""
    ann = books.account(100)
    row_id = books.database.run(lambda tx: accounts.find(tx, [(ann, "available")], "BTC"), "t")[ann, "available"]
    bent = postings.balance.update().where(postings.balance.c.ledger_account_id == row_id).values(units=101)
    books.database.run(lambda tx: tx.execute(bent), "test_bend")
    assert books.database.read(balances.faults) == [f"account {ann} available BTC: balance 101, postings 100"]


def test_reversing_a_transfer_takes_its_exact_legs(shared: Books) -> None:
    ann, bob, key = shared.account(100), shared.account(), unique()
    shared.move(ann, bob, 30, key)
    legs = shared.database.read(lambda tx: postings.legs_of(tx, key))
    assert [units for _, _, units in legs] == [30]
    with pytest.raises(LedgerBroken, match="no such transfer"):
        shared.database.read(lambda tx: postings.legs_of(tx, unique()))


# Holds


def place(books: Books, key: str, account_id: int, units: int) -> None:
    books.database.run(lambda tx: holds.place(tx, key, account_id, "BTC", units, ("test", 1)), "test_hold")


def void(books: Books, key: str) -> None:
    books.database.run(lambda tx: holds.void(tx, key, ("test", 1)), "test_void")


def settle(books: Books, key: str, account_id: int, units: int) -> None:
    legs = [Leg((account_id, "held"), accounts.house("in_flight"), units)]

    def unit(tx: Tx) -> None:
        transfer_id = postings.post(tx, f"settle:{key}", "settlement", "BTC", legs, ("test", 1))
        if transfer_id is not None:
            holds.settle(tx, key, transfer_id, legs)

    books.database.run(unit, "test_settle")


def test_a_hold_is_given_back_once(shared: Books) -> None:
    ann, key = shared.account(100), unique()
    place(shared, key, ann, 60)
    assert (shared.units(ann), shared.units(ann, "held")) == (40, 60)
    place(shared, key, ann, 60)
    for _ in range(3):
        void(shared, key)
    assert (shared.units(ann), shared.units(ann, "held")) == (100, 0)
    with pytest.raises(InsufficientFunds):
        settle(shared, key, ann, 60)
    shared.check()


def test_a_hold_is_spent_once(shared: Books) -> None:
    ann, key, other = shared.account(100), unique(), unique()
    place(shared, key, ann, 60)
    place(shared, other, ann, 40)  # so that the held account could pay a second time
    for _ in range(3):
        settle(shared, key, ann, 60)
    with pytest.raises((LedgerBroken, InsufficientFunds)):
        void(shared, key)
    assert (shared.units(ann), shared.units(ann, "held")) == (0, 40)
    assert shared.database.read(lambda tx: holds.ended(tx, key)) == "settled"
    shared.check()


def test_an_ended_hold_cannot_be_settled_by_another_transfer(shared: Books) -> None:
    ann, key, other = shared.account(100), unique(), unique()
    place(shared, key, ann, 60)
    place(shared, other, ann, 40)
    void(shared, key)
    place(shared, unique(), ann, 60)
    legs = [Leg((ann, "held"), accounts.house("in_flight"), 60)]

    def unit(tx: Tx) -> None:
        holds.settle(tx, key, postings.post(tx, unique(), "settlement", "BTC", legs, ("test", 1)) or 0, legs)

    with pytest.raises(LedgerBroken, match="ended before"):
        shared.database.run(unit, "test_settle")
    assert shared.units(ann, "held") == 100
    shared.check()


def test_a_settlement_takes_the_whole_hold(shared: Books) -> None:
    ann, key = shared.account(100), unique()
    place(shared, key, ann, 60)
    for units in (59, 61):
        with pytest.raises((LedgerBroken, InsufficientFunds)):
            settle(shared, key, ann, units)
    assert shared.database.read(lambda tx: holds.ended(tx, key)) is None
    assert shared.units(ann, "held") == 60


def test_a_hold_that_never_was_cannot_end(shared: Books) -> None:
    with pytest.raises(LedgerBroken, match="no such hold"):
        void(shared, unique())


# Snapshots of the house


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(1, 10**30), st.booleans(), st.booleans()), max_size=12))
def test_sums_from_a_snapshot_equal_sums_from_the_start(
    shared: Books, monkeypatch: pytest.MonkeyPatch, moves: list[tuple[int, bool, bool]]
) -> None:
    monkeypatch.setattr(balances, "SNAPSHOT_AGE_US", -1)
    for units, inward, taken in moves:
        sides = (TREASURY, accounts.house("capital"))
        shared.post(unique(), [Leg(*(sides if inward else sides[::-1]), units)])
        if taken:
            shared.database.run(balances.take_snapshots, "test_snapshot")
    assert_house_sums(shared.database)


def assert_house_sums(database: Database) -> None:
    def unit(tx: Tx) -> None:
        ids = accounts.find(tx, [accounts.house(kind) for kind in ("treasury_hot", "in_flight", "capital")], "BTC")
        for owner, row_id in ids.items():
            assert balances.summed(tx, row_id) == balances.summed(tx, row_id, from_start=True), owner

    database.run(unit, "test_sums")


def test_a_snapshot_leaves_out_what_is_young(books: Books) -> None:
    """An older posting id may still be uncommitted beside it."""
    books.account(100)
    assert books.database.run(balances.take_snapshots, "test_snapshot") == 0
    assert books.database.read(lambda tx: tx.value(select(func.count()).select_from(snapshot))) == 0


def test_a_sum_that_no_column_holds_keeps_its_last_snapshot(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token may be made without bound, and paid to us again and again."""
    monkeypatch.setattr(balances, "SNAPSHOT_AGE_US", -1)
    monkeypatch.setattr(balances, "UNITS_BOUND", 105)
    books.account(100)
    assert books.database.run(balances.take_snapshots, "test_snapshot") > 0
    books.account(10)
    [treasury] = books.database.read(lambda tx: accounts.find(tx, [TREASURY], "BTC")).values()
    books.database.run(balances.take_snapshots, "test_snapshot")
    own = select(snapshot.c.units).where(snapshot.c.ledger_account_id == treasury)
    assert books.database.read(lambda tx: [row.units for row in tx.all(own)]) == [-100]
    assert books.database.read(lambda tx: balances.summed(tx, treasury)) == -110
    books.check()


@pytest.mark.parametrize("off", [1, -1])
def test_a_snapshot_that_the_postings_contradict_is_a_fault(
    books: Books, monkeypatch: pytest.MonkeyPatch, off: int
) -> None:
    """It stepped over a posting, or somebody else wrote it."""
    monkeypatch.setattr(balances, "SNAPSHOT_AGE_US", -1)
    books.account(100)
    assert books.database.run(balances.take_snapshots, "test_snapshot")
    books.account(10)
    assert books.database.read(balances.faults) == []

    def wrong(tx: Tx) -> None:
        [row_id] = accounts.find(tx, [TREASURY], "BTC").values()
        last = tx.value(select(func.max(posting.c.id)))
        values = {"ledger_account_id": row_id, "posting_id": last, "units": -110 + off, "created_at": tx.now}
        tx.execute(insert(snapshot).values(values))

    books.database.run(wrong, "test_wrong")
    [fault] = books.database.read(balances.faults)
    assert fault.endswith(f"treasury_hot BTC: {-110 + off} from its snapshot, postings -110")
    books.database.run(lambda tx: tx.execute(delete(snapshot)), "test_anew")
    assert books.database.run(balances.take_snapshots, "test_snapshot")
    books.check()


# Requests


def test_a_reference_is_used_once(shared: Books) -> None:
    ann = shared.account(1_000_000)
    order = shared.order(ann, 100_000)
    first = shared.withdraw(order)
    with pytest.raises(ReferenceExists):
        shared.withdraw(order)
    shared.database.run(lambda tx: withdrawal.cancel(tx, shared.caller, first), "test_cancel")
    with pytest.raises(ReferenceExists):
        shared.withdraw(order)
    assert shared.units(ann) == 1_000_000


def test_a_refused_request_leaves_no_trace(books: Books) -> None:
    ann = books.account(1_000_000)
    books.set_policy(withdrawal_daily_units=150_000)
    before = books.database.read(lambda tx: tx.value(select(func.count()).select_from(transfer)))
    for units, refused in ((2_000_000, InsufficientFunds), (150_001, LimitExceeded)):
        with pytest.raises(refused):
            books.withdraw(books.order(ann, units))
    books.withdraw(books.order(ann, 100_000))
    with pytest.raises(LimitExceeded):
        books.withdraw(books.order(ann, 50_001))
    after = books.database.read(lambda tx: tx.value(select(func.count()).select_from(transfer)))
    assert after == before + 1
    books.check()
