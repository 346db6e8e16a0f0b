"""Who owned what of a deposit and of an order, when and why."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from sqlalchemy import select

from jobs import accounts
from jobs.resolve import by_hand as resolve
from ledger import ownership
from ledger.accounts import HOUSE_ACCOUNT
from ledger.db import Database
from ledger.schema import account, deposit
from ledger.schema import ownership as table
from tests.flows.engine import Engine

Told = list[tuple[str, int, str, int, str | None]]


def told(engine: Engine, kind: str, row_id: int) -> Told:
    """(event, owner, place, units, reason) of a subject's rows; their chain is whole."""
    rows = engine.database.read(lambda tx: ownership.of(tx, (kind, row_id)))
    before = ownership.GENESIS
    for number, row in enumerate(rows, 1):
        assert (row.number, row.previous_hash, row.hash) == (number, before, ownership.digest(row._mapping))
        before = row.hash
    return [(row.event, row.account_id, row.place, row.units, row.reason) for row in rows]


def order(engine: Engine) -> int:
    return int(engine.database.run(lambda tx: accounts.create(tx, engine.caller, "order 1", "order").id, "test"))


def test_a_deposit_tells_whose_it_became_and_that_its_block_was_undone(engine: Engine) -> None:
    owner = engine.account()
    txid = engine.chain.fund(engine.address(owner).address, 70_000, blocks=6)
    engine.tick()
    paid = engine.deposit_of(owner)
    credited = ("credited", owner, "available", 70_000, None)
    assert told(engine, "deposit", paid.id) == [credited]
    engine.chain.reorg(6, gone=[txid])
    engine.tick(2)
    undone = ("reversed", owner, "available", 0, engine.row(deposit, paid.id).status_reason)
    assert told(engine, "deposit", paid.id) == [credited, undone]
    assert [row.account_id for row in engine.rows(table)] == [owner, owner]  # no order: no other history


def test_an_order_tells_of_each_deposit_that_paid_it(engine: Engine) -> None:
    owner = order(engine)
    gone = engine.chain.fund(engine.address(owner).address, 70_000, blocks=2)
    engine.chain.fund(engine.address(owner).address, 30_000, blocks=6)
    engine.tick()
    paid = ("deposited", owner, "available", 70_000, None), ("deposited", owner, "available", 30_000, None)
    assert sorted(told(engine, "order", owner)) == sorted(paid)
    engine.chain.reorg(8, gone=[gone])
    engine.tick(2)
    row = told(engine, "order", owner)[2]
    assert row[:4] == ("deposit_reversed", owner, "available", 0)


def test_what_nobody_can_have_is_the_houses_until_a_person_decides(engine: Engine) -> None:
    engine.set_policy(deposit_minimum_units=50_000)
    owner = order(engine)
    engine.chain.fund(engine.address(owner).address, 700, blocks=6)
    engine.chain.fund(engine.address(owner).address, 800, blocks=6)
    engine.tick()
    dust = ("ignored", HOUSE_ACCOUNT, "dust", 700, "below_minimum")
    first, second = engine.rows(deposit)
    assert told(engine, "deposit", first.id) == [dust]
    assert told(engine, "order", owner) == []
    name = engine.row(account, owner).public_id
    engine.database.run(lambda tx: resolve.credit_deposit(tx, first.public_id, name, "operator:ada"), "t")
    engine.database.run(lambda tx: resolve.keep_deposit(tx, second.public_id, "operator:ada"), "t")
    assert told(engine, "deposit", first.id) == [dust, ("resolved", owner, "available", 700, "by_operator")]
    assert told(engine, "deposit", second.id)[1:] == [("kept", HOUSE_ACCOUNT, "capital", 800, "by_operator")]
    assert told(engine, "order", owner) == [("deposited", owner, "available", 700, "by_operator")]


@pytest.mark.parametrize("begun", [False, True])
def test_writers_of_one_chain_at_once_never_fork_it(engine: Engine, begun: bool) -> None:
    """Also when they begin it at once."""
    subject, writers, each = ("order", engine.account()), 8, 5
    start = Barrier(writers)

    def record(number: int) -> None:
        engine.database.run(
            lambda tx: ownership.record(tx, subject, "moved", (subject[1], "available"), "BTC", number, subject), "t"
        )

    def write(writer: int) -> None:
        start.wait(30)
        for turn in range(each):
            record(writer * each + turn)

    if begun:
        record(10**6)
    with ThreadPoolExecutor(writers) as pool:
        list(pool.map(write, range(writers)))
    found = told(engine, *subject)
    assert sorted(row[3] for row in found) == [*range(writers * each), *([10**6] if begun else [])]


def test_a_row_is_never_written_without_its_money(engine: Engine) -> None:
    def unit(tx: object) -> None:
        ownership.record(tx, ("order", 1), "moved", (1, "capital"), "BTC", 5, ("order", 1))  # type: ignore[arg-type]
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        engine.database.run(unit, "t")
    assert empty(engine.database)


def empty(database: Database) -> bool:
    return database.read(lambda tx: tx.first(select(table))) is None
