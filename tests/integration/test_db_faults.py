"""The database failing under a unit of work: lost replies, deadlocks, lock waits, kills. Whole or not at all."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pymysql
import pytest
from sqlalchemy import event, func, select, text

from devstack.mariadb import MariaDB
from jobs import tasks
from jobs.runtime import Runtime
from jobs.sweeper import Sweeper
from ledger import balances, db, postings
from ledger.db import Database, Tx
from ledger.errors import CommitUnknown, DatabaseUnavailable, ReferenceExists
from ledger.postings import Leg
from ledger.schema import balance, task, transfer, withdrawal
from tests import databases
from tests.ledger_books import TREASURY, Books, unique

DEADLINE_SECONDS = 60


@pytest.fixture
def maria(mariadb_server: MariaDB) -> Iterator[Books]:
    database = Database(databases.mariadb_url(mariadb_server), pool_size=20)
    yield Books(database)
    database.close()


@pytest.fixture
def lite(tmp_path: Path, server_folder: Path) -> Iterator[Books]:
    database = Database(databases.sqlite_url(tmp_path, server_folder / "template.sqlite3"), pool_size=20)
    yield Books(database)
    database.close()


def wait_for(condition: Callable[[], Any]) -> Any:
    end = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError("it never happened")


def credit(tx: Tx, account_id: int, key: str, units: int = 10) -> int | None:
    return postings.post(tx, key, "test", "BTC", [Leg(TREASURY, (account_id, "available"), units)], ("test", 1))


# COMMIT whose reply is lost


def lose_reply(monkeypatch: pytest.MonkeyPatch, database: Database, *, after: bool) -> list[int]:
    """From now on one COMMIT loses its connection, after or before the server has done it."""
    real, lost = database.engine.dialect.do_commit, []

    def do_commit(connection: Any) -> None:
        if lost:
            return real(connection)
        lost.append(1)
        if after:
            real(connection)
        connection.driver_connection._force_close()
        raise pymysql.err.OperationalError(2013, "Lost connection to MySQL server during query")

    monkeypatch.setattr(database.engine.dialect, "do_commit", do_commit)
    return lost


@pytest.mark.parametrize("after", [True, False], ids=["committed", "not-committed"])
def test_a_lost_commit_is_told_and_its_repeat_has_one_effect(
    maria: Books, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    """FAULTS C1: never run again by itself; the natural key tells what happened."""
    ann, key, runs = maria.account(), unique(), []

    def unit(tx: Tx) -> int | None:
        runs.append(1)
        return credit(tx, ann, key)

    lost = lose_reply(monkeypatch, maria.database, after=after)
    with pytest.raises(CommitUnknown):
        maria.database.run(unit, "test_unit")
    assert (lost, runs) == ([1], [1])
    assert maria.units(ann) == (10 if after else 0)
    assert (maria.database.run(unit, "test_unit") is None) == after
    assert maria.units(ann) == 10
    maria.check()


def test_a_withdrawal_whose_commit_was_lost_is_found_by_its_reference(
    maria: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = maria.account(1_000_000)
    order = maria.order(ann, 100_000)
    lose_reply(monkeypatch, maria.database, after=True)
    with pytest.raises(CommitUnknown):
        maria.withdraw(order)
    with pytest.raises(ReferenceExists) as refused:
        maria.withdraw(order)
    found = maria.database.read(lambda tx: tx.one(select(withdrawal).where(withdrawal.c.account_id == ann)))
    assert refused.value.context["existing"] == found.public_id
    assert maria.units(ann, "held") == 102_000


def test_wake_ups_of_a_lost_commit_are_not_sent(maria: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []
    maria.database.on_commit = sent.extend
    lose_reply(monkeypatch, maria.database, after=False)
    with pytest.raises(CommitUnknown):
        maria.database.run(lambda tx: tx.wake("task", 1), "test_unit")
    assert sent == []


def test_a_connection_killed_while_a_read_prepares_it_is_told_and_given_back(
    maria: Books, mariadb_server: MariaDB
) -> None:
    """The driver's own error came through: whoever looked at the books died of it, and kept the connection."""
    engine = maria.database.engine
    maria.database.now()

    def kill(raw: Any, *_: Any) -> None:
        mariadb_server.admin(f"KILL {raw.thread_id()}")

    event.listen(engine, "checkout", kill)
    with pytest.raises(DatabaseUnavailable):
        maria.database.read(lambda tx: tx.now, consistent=True)
    event.remove(engine, "checkout", kill)
    assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    assert maria.database.read(lambda tx: tx.now, consistent=True) > 0


def test_a_connection_killed_inside_a_unit_is_a_new_try(maria: Books) -> None:
    """Nothing was committed, so the whole unit runs again."""
    ann, key, runs = maria.account(), unique(), []

    def unit(tx: Tx) -> None:
        runs.append(1)
        credit(tx, ann, key)
        if len(runs) < 3:
            kill_own(maria.database, tx)
        credit(tx, ann, key + "b")

    maria.database.run(unit, "test_unit")
    assert len(runs) == 3
    assert maria.units(ann) == 20
    maria.check()


def test_a_fresh_connection_may_sleep_in_a_transaction_for_a_while_only(maria: Books) -> None:
    """What has written, for less than a snapshot waits; the server counts locks without a write as reading."""
    maria.database.engine.dispose()
    limits = maria.database.read(lambda tx: tx.all(text("SHOW SESSION VARIABLES LIKE 'idle%transaction_timeout'")))
    assert {name: int(value) for name, value in limits} == {
        "idle_transaction_timeout": 0,
        "idle_write_transaction_timeout": 60,
        "idle_readonly_transaction_timeout": 300,
    }
    assert db.IDLE_READER_SECONDS * 1_000_000 < balances.SNAPSHOT_AGE_US


def test_a_lock_of_who_sleeps_without_having_written_ends(maria: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(db, "IDLE_READER_SECONDS", 1)
    ann = maria.account(5)
    [row_id] = balance_rows(maria, [ann])
    maria.database.engine.dispose()
    with maria.database.engine.connect() as holder:
        holder.execute(select(balance).where(balance.c.ledger_account_id == row_id).with_for_update())
        maria.fund(ann, 10)
        holder.invalidate()
    assert maria.units(ann) == 15


def kill_own(database: Database, tx: Tx) -> None:
    number = tx.value(text("SELECT CONNECTION_ID()"))
    with database.engine.connect() as other:
        other.exec_driver_sql(f"KILL {number}")


# Locks


def balance_rows(books: Books, accounts: list[int]) -> list[int]:
    from ledger import accounts as ledger_accounts

    owners = [(a, "available") for a in accounts]
    found = books.database.run(lambda tx: ledger_accounts.find(tx, owners, "BTC"), "test_find")
    return [found[owner] for owner in owners]


@pytest.mark.parametrize("inside_savepoint", [False, True])
def test_a_deadlock_is_run_again_whole(maria: Books, inside_savepoint: bool) -> None:
    """FAULTS C2: 1213 takes the whole transaction, also one with a savepoint in it."""
    ann, bob = maria.account(100), maria.account(100)
    rows, meet, runs = balance_rows(maria, [ann, bob]), threading.Barrier(2), []

    def lock(tx: Tx, row_id: int) -> None:
        tx.first(select(balance.c.units).where(balance.c.ledger_account_id == row_id).with_for_update())

    def cross(first: int, second: int, key: str) -> None:
        tries: list[int] = []

        def unit(tx: Tx) -> None:
            tries.append(1)
            runs.append(1)
            lock(tx, first)
            if len(tries) == 1:
                meet.wait(DEADLINE_SECONDS)
            if inside_savepoint:
                with tx.savepoint():
                    lock(tx, second)
            else:
                lock(tx, second)
            credit(tx, ann, key)

        maria.database.run(unit, "test_unit")

    threads = [threading.Thread(target=cross, args=(*rows[::way], unique())) for way in (1, -1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_SECONDS)
    assert len(runs) > 2
    assert maria.units(ann) == 120
    maria.check()


def test_a_lock_wait_that_ran_out_is_run_again_whole(maria: Books) -> None:
    """1205 rolls back one statement only, unless the whole transaction is given up: no half entry may stay."""
    ann, runs, key = maria.account(100), [], unique()
    [row_id] = balance_rows(maria, [ann])
    holder = maria.database.engine.connect()
    holder.begin()
    holder.execute(select(balance).where(balance.c.ledger_account_id == row_id).with_for_update())

    def unit(tx: Tx) -> None:
        runs.append(1)
        tx.execute(text("SET SESSION innodb_lock_wait_timeout=1"))
        tx.execute(transfer.insert().values(transfer_key=key, kind="t", ref_kind="t", ref_id=1, created_at=tx.now))
        if len(runs) == 2:
            holder.rollback()
        credit(tx, ann, unique())

    maria.database.run(unit, "test_unit")
    holder.close()
    assert len(runs) == 2
    assert maria.units(ann) == 110
    count = select(func.count()).select_from(transfer).where(transfer.c.transfer_key == key)
    assert maria.database.read(lambda tx: tx.value(count)) == 1


def test_endless_deadlocks_are_told_after_some_tries(maria: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(db.time, "sleep", lambda _: None)
    ann, runs = maria.account(), []

    def unit(tx: Tx) -> None:
        runs.append(1)
        credit(tx, ann, unique())
        tx.execute(text("SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213"))

    with pytest.raises(DatabaseUnavailable):
        maria.database.run(unit, "test_unit")
    assert len(runs) == db.UNIT_TRIES_MAX
    assert maria.units(ann) == 0


def test_other_errors_are_never_run_again(maria: Books) -> None:
    runs: list[int] = []

    def unit(tx: Tx) -> None:
        runs.append(1)
        tx.execute(text("SELECT * FROM no_such_table"))

    with pytest.raises(Exception, match="no_such_table"):
        maria.database.run(unit, "test_unit")
    assert runs == [1]


def test_sqlite_waits_for_another_writer(lite: Books) -> None:
    ann = lite.account()
    path = lite.database.engine.url.database
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    threading.Timer(0.5, lambda: other.execute("ROLLBACK")).start()
    lite.fund(ann, 10)
    assert lite.units(ann) == 10


def test_sqlite_that_stays_busy_is_told_and_reads_go_on(lite: Books) -> None:
    """FAULTS C5: bounded tries, nothing partial; readers never wait for a writer."""
    ann = lite.account(5)
    lite.database.engine.dispose()
    event.listen(lite.database.engine, "connect", lambda raw, _: raw.execute("PRAGMA busy_timeout=1"))
    other = sqlite3.connect(lite.database.engine.url.database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    runs: list[int] = []
    with pytest.raises(DatabaseUnavailable):
        lite.database.run(lambda tx: (runs.append(1), credit(tx, ann, unique())), "test_unit")
    assert lite.units(ann) == 5
    other.execute("ROLLBACK")
    lite.fund(ann, 10)
    assert lite.units(ann) == 15
    assert runs == []


# Databases that can be read and not written (FAULTS C4)


@contextmanager
def sqlite_with(books: Books, pragma: str) -> Iterator[None]:
    """Connections from now on have this set."""

    def restrict(raw: Any, _: Any) -> None:
        raw.execute(f"PRAGMA {pragma}")

    engine = books.database.engine
    engine.dispose()
    event.listen(engine, "connect", restrict)
    try:
        yield
    finally:
        event.remove(engine, "connect", restrict)
        engine.dispose()


@pytest.mark.parametrize("full", [True, False], ids=["full", "read-only"])
def test_a_sqlite_disk_that_takes_nothing_is_told_at_once(lite: Books, full: bool) -> None:
    ann, runs = lite.account(5), []
    pages = lite.database.read(lambda tx: tx.value(text("PRAGMA page_count")))

    def unit(tx: Tx) -> None:
        runs.append(1)
        for _ in range(500):
            credit(tx, ann, unique())

    with sqlite_with(lite, f"max_page_count={pages}" if full else "query_only=1"):
        with pytest.raises(DatabaseUnavailable):
            lite.database.run(unit, "test_unit")
        assert lite.units(ann) == 5
    assert len(runs) == full  # one that is read only does not even begin
    lite.fund(ann, 10)
    lite.check()


def test_a_mariadb_that_is_read_only_is_told_at_once(tmp_path: Path) -> None:
    server = MariaDB(tmp_path / "m")
    server.start()
    try:
        url = server.create_database("coffer")
        databases.make(url)
        books = Books(Database(url))
        ann, runs = books.account(5), []
        server.admin("SET GLOBAL read_only=1")
        with pytest.raises(DatabaseUnavailable):
            books.database.run(lambda tx: (runs.append(1), credit(tx, ann, unique())), "test_unit")
        assert (runs, books.units(ann)) == ([1], 5)
        server.admin("SET GLOBAL read_only=0")
        books.fund(ann, 10)
        assert books.units(ann) == 15
        books.database.close()
    finally:
        server.stop()


@pytest.mark.parametrize("code", [1021, 1026, 1036, 1114, 1290, 1836])
def test_every_way_of_mariadb_to_say_that_it_takes_nothing_is_known(maria: Books, code: int) -> None:
    ann, runs = maria.account(), []

    def unit(tx: Tx) -> None:
        runs.append(1)
        credit(tx, ann, unique())
        tx.execute(text(f"SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = {code}"))

    with pytest.raises(DatabaseUnavailable):
        maria.database.run(unit, "test_unit")
    assert (runs, maria.units(ann)) == ([1], 0)


def test_the_sweeper_waits_for_a_disk_that_takes_nothing(lite: Books) -> None:
    """Its thread goes on: nothing would look at the queue otherwise."""
    stop, looks = threading.Event(), []
    saga = tasks.saga({"probe": lambda row, services: tasks.Ran(due_us=0)})
    runtime = Runtime(lite.database, {"task": saga}, None)
    values = {"name": "probe:x", "queue": "probe", "interval_us": 1, "state": "active"}
    clock = {"due_at": 1, "created_at": 1, "updated_at": 1}
    lite.database.run(lambda tx: tx.execute(task.insert().values(values | clock)), "test_task")
    sweeper = Sweeper(runtime, "probe")
    advance = runtime.advance

    def look(kind: str, row_id: int) -> int:
        looks.append(1)
        return advance(kind, row_id)

    runtime.advance = look  # type: ignore[method-assign, assignment]
    with sqlite_with(lite, "query_only=1"):
        thread = threading.Thread(target=sweeper.run, args=(stop,))
        thread.start()
        wait_for(lambda: len(looks) >= 2)
        assert thread.is_alive()
    query = select(task.c.version).where(task.c.name == "probe:x")
    before = lite.database.read(lambda tx: tx.value(query))
    wait_for(lambda: lite.database.read(lambda tx: tx.value(query)) > before)
    stop.set()
    thread.join(DEADLINE_SECONDS)
    assert not thread.is_alive()


def test_a_server_that_is_away_is_told_and_found_again(tmp_path: Path) -> None:
    server = MariaDB(tmp_path / "m")
    server.start()
    try:
        url = server.create_database("coffer")
        databases.make(url)
        books = Books(Database(url))
        ann = books.account(5)
        server.kill()
        for call in (lambda: books.fund(ann, 10), lambda: books.units(ann)):
            with pytest.raises(DatabaseUnavailable):
                call()
        server.start()
        assert books.units(ann) == 5
        books.fund(ann, 10)
        assert books.units(ann) == 15
        books.database.close()
    finally:
        server.stop()


# Kills under load


@pytest.mark.slow
def test_mariadb_killed_under_load_keeps_what_it_acknowledged(tmp_path: Path) -> None:
    """FAULTS C3: kill -9 of the server, three times, with eight writers at work."""
    server = MariaDB(tmp_path / "m")
    server.start()
    database = None
    try:
        url = server.create_database("coffer")
        databases.make(url)
        database = Database(url, pool_size=20)
        books = Books(database)
        ann, stop = books.account(), threading.Event()
        acknowledged, asked = set[str](), set[str]()

        def write() -> None:
            while not stop.is_set():
                key = unique()
                asked.add(key)
                try:
                    books.database.run(lambda tx, k=key: credit(tx, ann, k, 1), "test_unit")
                    acknowledged.add(key)
                except (CommitUnknown, DatabaseUnavailable):
                    time.sleep(0.05)

        writers = [threading.Thread(target=write) for _ in range(8)]
        for writer in writers:
            writer.start()
        for _ in range(3):
            goal = len(acknowledged) + 60
            wait_for(lambda goal=goal: len(acknowledged) >= goal)
            server.kill()
            server.start()
        goal = len(acknowledged) + 20
        wait_for(lambda: len(acknowledged) >= goal)
        stop.set()
        for writer in writers:
            writer.join(DEADLINE_SECONDS)
        stored = {row.transfer_key for row in database.read(lambda tx: tx.all(select(transfer.c.transfer_key)))}
        assert acknowledged <= stored
        assert books.units(ann) == len(asked & stored)
        for key in asked:  # what the clients do next: ask again for everything
            database.run(lambda tx, k=key: credit(tx, ann, k, 1), "test_unit")
        assert books.units(ann) == len(asked)
        assert database.read(balances.faults) == []
    finally:
        if database is not None:
            database.close()
        server.stop()


def _write_for_ever(url: str, account_id: int, log: str) -> None:
    """Note each key in `log` once its commit was acknowledged."""
    database, number = Database(url), 0
    with open(log, "a", encoding="ascii", buffering=1) as told:
        while True:
            key = f"{os.getpid()}:{number}"
            database.run(lambda tx, k=key: credit(tx, account_id, k, 1), "test_unit")
            told.write(key + "\n")
            number += 1


@pytest.mark.slow
def test_writers_killed_under_load_leave_whole_transfers(lite: Books, tmp_path: Path) -> None:
    ann, context = lite.account(), multiprocessing.get_context("spawn")
    logs = [tmp_path / f"log{n}" for n in range(2)]
    url = str(lite.database.engine.url)
    for _ in range(2):
        writers = [context.Process(target=_write_for_ever, args=(url, ann, str(log))) for log in logs]
        goals = [lines(log) + 20 for log in logs]
        for writer in writers:
            writer.start()
        for log, goal in zip(logs, goals, strict=True):
            wait_for(lambda log=log, goal=goal: lines(log) >= goal)
        for writer in writers:
            os.kill(writer.pid or 0, signal.SIGKILL)
            writer.join(DEADLINE_SECONDS)
    told = {key for log in logs for key in log.read_text().splitlines()}
    rows = lite.database.read(lambda tx: tx.all(select(transfer.c.transfer_key).where(transfer.c.kind == "test")))
    assert told <= {row.transfer_key for row in rows}
    assert lite.units(ann) == len(rows) <= len(told) + 4
    lite.check()


def lines(path: Path) -> int:
    return len(path.read_text().splitlines()) if path.exists() else 0
