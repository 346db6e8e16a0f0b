"""What happened to one row, moment by moment."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, select

from jobs.amounts import amount
from jobs.payment import books as payment_books
from ledger import history, ownership
from ledger.accounts import HOUSE_ACCOUNT
from ledger.db import Tx
from ledger.schema import (
    account,
    api_key,
    approval,
    audit,
    event,
    ledger_account,
    posting,
    transfer,
    webhook_attempt,
)


@dataclass(frozen=True, order=True)
class Moment:
    """One thing that happened, `at` microseconds. `rank` orders what one transaction did."""

    at: int
    rank: int
    subject: str
    what: str


def moments(tx: Tx, kind: str, row: Row[Any]) -> Iterable[Moment]:
    name = row.public_id
    yield Moment(row.created_at, 0, name, _birth(tx, kind, row))
    for step in history.of(tx, kind, row.id):
        way = f"{step['from_state']} -> {step['to_state']}" if step["from_state"] else step["to_state"]
        parts = [way, f"({step['reason']})" if step["reason"] else "", f"by {step['actor']}" if step["actor"] else ""]
        yield Moment(step["at"], 1, name, " ".join(part for part in parts if part))
    yield from _postings(tx, kind, row)
    if kind == "withdrawal":
        for given in tx.all(select(approval).where(approval.c.withdrawal_id == row.id)):
            yield Moment(given.created_at, 1, name, f"approved by {given.holder}")
    if kind == "payment":
        for c in payment_books.candidates(tx, row.id):
            fee = amount(tx, c.fee_units, row.fee_asset)
            yield Moment(c.created_at, 2, name, f"candidate {c.number} signed: {c.txid}, fee {fee}, rate {c.rate}")
    if kind in ("deposit", "escrow", "account"):
        yield from _owned(tx, "order" if kind == "account" else kind, row)
    if kind == "webhook_delivery":
        yield from _attempts(tx, row)
    e, a = event.c, audit.c
    for told in tx.all(select(e.type, e.public_id, e.sequence, e.created_at).where(e.resource_id == name)):
        number = "not numbered yet" if told.sequence is None else f"number {told.sequence}"
        yield Moment(told.created_at, 4, name, f"event {told.type} ({told.public_id}, {number})")
    for act in tx.all(select(a.at, a.actor, a.action, a.id).where(a.target == name)):
        yield Moment(act.at, 0, name, f"{act.actor}: {act.action} (audit {act.id})")


def _owned(tx: Tx, kind: str, row: Row[Any]) -> Iterable[Moment]:
    """Its ownership history: whose it was after each of its rows."""
    for line in ownership.of(tx, (kind, row.id)):
        named = select(account.c.public_id).where(account.c.id == line.account_id)
        owner = "house" if line.account_id == HOUSE_ACCOUNT else tx.value(named)
        why = f" ({line.reason})" if line.reason else ""
        what = f"ownership {line.number}: {line.event}{why}, {amount(tx, line.units, line.asset)}"
        yield Moment(line.at, 5, row.public_id, f"{what} with {owner} {line.place}")


def _attempts(tx: Tx, row: Row[Any]) -> Iterable[Moment]:
    a = webhook_attempt.c
    for tried in tx.all(select(webhook_attempt).where(a.delivery_id == row.id).order_by(a.number)):
        answer = tried.error if tried.status is None else f"HTTP {tried.status}"
        yield Moment(tried.at, 1, row.public_id, f"attempt {tried.number}: {answer}, {tried.milliseconds} ms")


def _birth(tx: Tx, kind: str, row: Row[Any]) -> str:
    if kind == "deposit":
        return f"seen by the scanner: {row.output_key} pays {amount(tx, row.units, row.asset)}"
    if kind != "withdrawal":
        return f"{kind} made"
    k = api_key.c
    key = tx.first(select(k.public_id, k.holder).where(k.id == row.created_by)) if row.created_by else None
    caller = "by an operator" if key is None else f"through the API by key {key.public_id} ({key.holder})"
    total = amount(tx, row.fee_units, row.asset)
    return f"requested {caller}: {amount(tx, row.units, row.asset)} to {row.address}, fee {total}"


def _postings(tx: Tx, kind: str, row: Row[Any]) -> Iterable[Moment]:
    t, p = transfer.c, posting.c
    query = select(t.created_at, t.kind, t.transfer_key, p.asset, p.debit_id, p.credit_id, p.units)
    query = query.join(posting, p.transfer_id == t.id).where(t.ref_kind == kind, t.ref_id == row.id)
    rows = tx.all(query.order_by(p.id).limit(500))
    names = _owners(tx, {side for r in rows for side in (r.debit_id, r.credit_id)})
    for r in rows:
        moved = f"{amount(tx, r.units, r.asset)}: {names[r.debit_id]} -> {names[r.credit_id]}"
        yield Moment(r.created_at, 3, row.public_id, f"{r.kind} {moved} [{r.transfer_key}]")


def _owners(tx: Tx, ids: set[int]) -> dict[int, str]:
    a = ledger_account.c
    query = select(a.id, a.kind, account.c.public_id, account.c.kind.label("owner")).join(
        account, account.c.id == a.account_id
    )
    rows = tx.all(query.where(a.id.in_(ids)))
    return {row.id: f"{'house' if row.owner == 'house' else row.public_id} {row.kind}" for row in rows}
