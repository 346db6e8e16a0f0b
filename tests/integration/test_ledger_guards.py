"""What the database refuses by itself, even to hand-written SQL on a connection of ours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.exc import DBAPIError

from jobs import withdrawal as jobs
from ledger import accounts, audit, history, holds, policy
from ledger.db import Database, Tx
from ledger.ids import new_id
from ledger.schema import (
    address,
    approval,
    asset,
    candidate,
    hold_end,
    payment,
    payment_item,
    resource,
    snapshot,
    withdrawal,
)
from ledger.types import sqlite_units
from tests.ledger_books import Books, unique


@dataclass
class Rows:
    """One row of everything that must not change."""

    books: Books
    account: int
    other: int
    withdrawal: int
    cancelled: int
    payment: int
    final: int
    posting: Any
    hold: int
    available: int  #: ledger account id


@pytest.fixture(scope="module")
def rows(shared_database: Database) -> Rows:
    books = Books(shared_database)
    account, other = books.account(1_000_000), books.account(1_000_000)
    paid, cancelled = books.withdraw(books.order(account, 100_000)), books.withdraw(books.order(account, 50_000))
    books.database.run(lambda tx: jobs.cancel(tx, books.caller, cancelled), "test_cancel")
    live, final = (books.database.run(lambda tx, s=s: _payment(tx, paid, s), "test_payment") for s in (1, None))

    def read(tx: Tx) -> Rows:
        hold_id = tx.value(text(f"SELECT id FROM hold WHERE hold_key = '{jobs.hold_key(paid, 1)}'"))
        leg = tx.one(text("SELECT id, transfer_id, asset, debit_id, credit_id FROM posting ORDER BY id DESC LIMIT 1"))
        owner = accounts.find(tx, [(account, "available")], "BTC")[account, "available"]
        return Rows(books, account, other, paid, cancelled, live, final, leg, hold_id, owner)

    return books.database.read(read)


def _payment(tx: Tx, withdrawal_id: int, live: int | None) -> int:
    saga = {"due_at": None, "created_at": tx.now, "updated_at": tx.now, "state": "building" if live else "final"}
    values = {
        "public_id": new_id("pay"),
        "chain": "bitcoin",
        "asset": "BTC",
        "purpose": "withdrawal",
        "units": 1,
        "fee_asset": "BTC",
    }
    row_id = tx.insert(insert(payment).values(values | {"rate": 1000, "rate_max": 2000} | saga))
    item = {"payment_id": row_id, "withdrawal_id": withdrawal_id, "live": live, "address": "a", "units": 100_000}
    tx.execute(insert(payment_item).values(item))
    key = f"{unique()}:0"
    claim = {"chain": "bitcoin", "resource_key": key, "payment_id": row_id, "live": live, "created_at": tx.now}
    tx.execute(insert(resource).values(claim))
    signed = {"payment_id": row_id, "number": 1, "chain": "bitcoin", "txid": unique(), "raw": "00", "payload": "{}"}
    tx.execute(insert(candidate).values(signed | {"fee_units": 1, "rate": 1, "created_at": tx.now}))
    if live:
        given = {"withdrawal_id": withdrawal_id, "holder": "ann", "mac": "0", "created_at": tx.now}
        tx.execute(insert(approval).values(given))
        audit.record(tx, "test", "test", "test", {})
        policy.change(tx, "BTC", "payment_outputs", 100, "test")
        house = accounts.find(tx, [accounts.house("treasury_hot")], "BTC")[accounts.house("treasury_hot")]
        taken = {"ledger_account_id": house, "posting_id": 0, "units": 0, "created_at": tx.now}
        if tx.value(select(snapshot.c.posting_id).where(snapshot.c.ledger_account_id == house)) is None:
            tx.execute(insert(snapshot).values(taken))
    return row_id


def refused(database: Database, statement: str, **values: Any) -> None:
    """The statement fails inside the database, and leaves the books sound."""
    with pytest.raises(DBAPIError):
        database.run(lambda tx: tx.execute(text(statement), values), "test_sql")


def units(database: Database, number: int) -> Any:
    return sqlite_units(number) if database.sqlite else number


APPEND_ONLY = {
    "transfer": "kind = 'x'", "posting": "asset = 'BTC'", "hold": "account_id = 1", "hold_end": "outcome = 'settled'",
    "transition": "to_state = 'x'", "audit": "actor = 'x'", "policy": "actor = 'x'", "candidate": "txid = 'x'",
    "approval": "holder = 'x'",
}  # fmt: skip


@pytest.mark.parametrize("table", APPEND_ONLY)
def test_history_is_append_only(rows: Rows, table: str) -> None:
    database = rows.books.database
    assert database.read(lambda tx: tx.value(text(f"SELECT COUNT(*) FROM {table}")))
    refused(database, f"UPDATE {table} SET {APPEND_ONLY[table]}")
    refused(database, f"DELETE FROM {table}")


def test_replacing_a_journal_row_is_refused(rows: Rows) -> None:
    p = rows.posting
    sql = "REPLACE INTO posting (id, transfer_id, asset, debit_id, credit_id, units) VALUES (:i, :t, :a, :d, :c, :u)"
    database = rows.books.database
    bent = {"i": p.id, "t": p.transfer_id, "a": p.asset, "d": p.debit_id, "c": p.credit_id, "u": units(database, 9)}
    refused(database, sql, **bent)


@pytest.mark.parametrize(
    "table",
    ["balance", "ledger_account", "withdrawal", "deposit", "payment", "payment_item", "account", "address", "event"],
)
def test_rows_that_money_hangs_on_are_never_deleted(rows: Rows, table: str) -> None:
    database = rows.books.database
    if database.read(lambda tx: tx.value(text(f"SELECT COUNT(*) FROM {table}"))):
        refused(database, f"DELETE FROM {table}")
    else:
        assert table in ("deposit", "address")  # made by flows only; their guard is made by the same line


@pytest.mark.parametrize("amount", [-1, -(10**20)])
def test_a_negative_balance_is_refused(rows: Rows, amount: int) -> None:
    database = rows.books.database
    sql = "UPDATE balance SET units = :u WHERE ledger_account_id = :i"
    refused(database, sql, u=units(database, amount), i=rows.available)


def test_sqlite_refuses_ill_formed_amounts(rows: Rows) -> None:
    database = rows.books.database
    if not database.sqlite:
        pytest.skip("MariaDB's column is a number")
    for junk in ("", "5", "-5", 5, 1.5, "1" + "0" * 38 + "x", "9" * 40, "9" * 41, "１" * 40, None):
        refused(database, "UPDATE balance SET units = :u WHERE ledger_account_id = :i", u=junk, i=rows.available)


def test_mariadb_refuses_what_is_no_whole_number_in_range(rows: Rows) -> None:
    database = rows.books.database
    if database.sqlite:
        pytest.skip("SQLite's column is text")
    for junk in ("9" * 39, "'x'", "'5 BTC'", "NULL"):
        refused(database, f"UPDATE balance SET units = {junk} WHERE ledger_account_id = {rows.available}")


def _post(rows: Rows, **changes: Any) -> None:
    database, p = rows.books.database, rows.posting
    values = {"t": p.transfer_id, "a": "BTC", "d": p.debit_id, "c": p.credit_id, "u": units(database, 1)} | changes
    sql = "INSERT INTO posting (transfer_id, asset, debit_id, credit_id, units) VALUES (:t, :a, :d, :c, :u)"
    refused(database, sql, **values)


def test_a_posting_is_above_zero_between_two_accounts(rows: Rows) -> None:
    database = rows.books.database
    _post(rows, u=units(database, 0))
    _post(rows, u=units(database, -1))
    _post(rows, c=rows.posting.debit_id)
    _post(rows, t=10**9)
    _post(rows, c=10**9)


def test_a_posting_stays_inside_one_asset(rows: Rows) -> None:
    def other_asset(tx: Tx) -> int:
        if tx.value(select(asset.c.code).where(asset.c.code == "TST")) is None:
            values = {"code": "TST", "chain": "bitcoin", "decimals": 0, "enabled": 1, "created_at": tx.now}
            tx.execute(insert(asset).values(values))
        return accounts.find(tx, [(rows.account, "available")], "TST")[rows.account, "available"]

    tst = rows.books.database.run(other_asset, "test_asset")
    _post(rows, c=tst)
    _post(rows, c=tst, a="TST")


def test_a_transfer_key_stands_once(rows: Rows) -> None:
    sql = (
        "INSERT INTO transfer (transfer_key, kind, ref_kind, ref_id, created_at) "
        "SELECT transfer_key, kind, ref_kind, ref_id, 1 FROM transfer WHERE id = :t"
    )
    refused(rows.books.database, sql, t=rows.posting.transfer_id)


def test_a_hold_ends_once(rows: Rows) -> None:
    books, key = rows.books, unique()
    account = books.account(10)
    books.database.run(lambda tx: holds.place(tx, key, account, "BTC", 5, ("test", 1)), "test_hold")
    books.database.run(lambda tx: holds.void(tx, key, ("test", 1)), "test_void")
    ended = books.database.read(lambda tx: tx.one(select(hold_end).order_by(hold_end.c.hold_id.desc()).limit(1)))
    sql = "INSERT INTO hold_end (hold_id, outcome, transfer_id, created_at) VALUES (:h, :o, :t, 1)"
    for outcome in ("settled", "voided"):
        refused(books.database, sql, h=ended.hold_id, o=outcome, t=ended.transfer_id)
    refused(books.database, sql, h=rows.hold, o="lost", t=ended.transfer_id)


def test_a_resource_has_one_live_owner(rows: Rows) -> None:
    sql = (
        "INSERT INTO resource (chain, resource_key, payment_id, live, created_at) "
        "SELECT chain, resource_key, :p, live, 1 FROM resource WHERE payment_id = :q AND live = 1"
    )
    refused(rows.books.database, sql, p=rows.final, q=rows.payment)


def test_a_withdrawal_is_in_one_live_payment(rows: Rows) -> None:
    sql = (
        "INSERT INTO payment_item (payment_id, withdrawal_id, live, address, units) "
        "SELECT :p, withdrawal_id, live, address, units FROM payment_item WHERE payment_id = :q AND live = 1"
    )
    refused(rows.books.database, sql, p=rows.final, q=rows.payment)


FIXED = ["account_id = 1", "project_id = 1", "address = 'thief'", "reference = 'x'", "mac = 'x'", "asset = 'TST'",
         "approvals_needed = 7", "chain = 'x'"]  # fmt: skip


@pytest.mark.parametrize("change", FIXED)
def test_what_a_withdrawal_pays_never_changes(rows: Rows, change: str) -> None:
    refused(rows.books.database, f"UPDATE withdrawal SET {change} WHERE id = :i", i=rows.withdrawal)


@pytest.mark.parametrize("column", ["units", "fee_units"])
def test_how_much_a_withdrawal_pays_never_changes(rows: Rows, column: str) -> None:
    database = rows.books.database
    more = units(database, 1_234_567)
    refused(database, f"UPDATE withdrawal SET {column} = :u WHERE id = :i", u=more, i=rows.withdrawal)


def test_what_a_payment_pays_never_changes(rows: Rows) -> None:
    database = rows.books.database
    refused(database, "UPDATE payment_item SET address = 'thief'")
    refused(database, "UPDATE payment_item SET units = :u", u=units(database, 1))
    refused(database, "UPDATE payment_item SET payment_id = :p WHERE payment_id = :q", p=rows.final, q=rows.payment)


@pytest.mark.parametrize("state", ["queued", "pending_approval", "signed", "completed", "review"])
def test_a_cancelled_withdrawal_stays_cancelled(rows: Rows, state: str) -> None:
    refused(rows.books.database, f"UPDATE withdrawal SET state = '{state}' WHERE id = :i", i=rows.cancelled)


def test_a_final_payment_stays_final(rows: Rows) -> None:
    refused(rows.books.database, "UPDATE payment SET state = 'broadcast' WHERE id = :i", i=rows.final)


def test_states_are_a_closed_list(rows: Rows) -> None:
    refused(rows.books.database, "UPDATE withdrawal SET state = 'paid' WHERE id = :i", i=rows.withdrawal)
    refused(rows.books.database, "UPDATE payment SET state = 'paid' WHERE id = :i", i=rows.payment)


def test_a_reference_is_one_withdrawals_for_ever(rows: Rows) -> None:
    columns = ", ".join(c.name for c in withdrawal.c if c.name not in ("id", "public_id"))
    sql = f"INSERT INTO withdrawal (public_id, {columns}) SELECT 'wd_x', {columns} FROM withdrawal WHERE id = :i"
    refused(rows.books.database, sql, i=rows.cancelled)


@pytest.mark.parametrize("change", ["account_id = 1", "kind = 'escrow'", "asset = 'TST'"])
def test_a_ledger_account_keeps_its_owner(rows: Rows, change: str) -> None:
    """Otherwise one UPDATE would hand one customer's balance to another."""
    database = rows.books.database
    refused(database, f"UPDATE ledger_account SET {change} WHERE id = :i", i=rows.available)


def test_a_snapshot_is_never_rewritten(rows: Rows) -> None:
    database = rows.books.database
    refused(database, "UPDATE snapshot SET units = :u", u=units(database, 7))


def test_a_claim_keeps_its_payment(rows: Rows) -> None:
    refused(rows.books.database, "UPDATE resource SET payment_id = :p WHERE payment_id = :q", p=rows.final,
            q=rows.payment)  # fmt: skip
    refused(rows.books.database, "UPDATE resource SET resource_key = 'x' WHERE payment_id = :q", q=rows.payment)


def test_an_event_keeps_what_it_tells_and_its_number(rows: Rows) -> None:
    database = rows.books.database
    refused(database, "UPDATE event SET data = '{}'")
    refused(database, "UPDATE event SET type = 'withdrawal.completed'")
    database.run(history.number_events, "test_sequence")
    refused(database, "UPDATE event SET sequence = sequence + 1000")
    refused(database, "UPDATE event SET sequence = NULL")


def test_an_address_keeps_its_owner_and_its_text(rows: Rows) -> None:
    """Otherwise one UPDATE would route a deposit to another customer."""
    database = rows.books.database

    def issue(tx: Tx) -> int:
        clock = {"created_at": tx.now, "updated_at": tx.now, "state": "pending"}
        values = {"public_id": new_id("ad"), "chain": "bitcoin", "idx": 10**9, "account_id": rows.account}
        values |= {"project_id": rows.books.caller.project_id, "asset": "BTC", "purpose_kind": "balance"}
        return tx.insert(insert(address).values(values | clock | {"purpose_id": rows.account}))

    row_id = database.run(issue, "test_address")
    database.run(lambda tx: tx.execute(text(f"UPDATE address SET address = 'a1' WHERE id = {row_id}")), "test_sql")
    owner = (f"account_id = {rows.other}", "project_id = 1", "purpose_kind = 'escrow'", "purpose_id = purpose_id + 1")
    for change in (*owner, "address = 'a2'", "address = NULL", "idx = 1"):
        refused(database, f"UPDATE address SET {change} WHERE id = {row_id}")
    refused(database, f"DELETE FROM address WHERE id = {row_id}")


def test_an_account_keeps_its_project(rows: Rows) -> None:
    refused(rows.books.database, "UPDATE account SET project_id = 1 WHERE id = :i", i=rows.account)


def test_all_that_was_tried_left_the_books_sound(rows: Rows) -> None:
    rows.books.check()
    assert rows.books.database.read(audit.faults) == []
