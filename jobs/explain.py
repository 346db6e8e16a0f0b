"""Everything that is known of one id, transaction or address, as one timeline: requests, transitions, postings,
candidates, events, operators' acts. Reads only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Row, Table, or_, select

from jobs.next_steps import next_steps
from jobs.payment import books as payment_books
from ledger import balances, history
from ledger.db import Tx
from ledger.errors import NotFound
from ledger.ids import is_id
from ledger.money import format_units
from ledger.schema import (
    account,
    address,
    alarm,
    api_key,
    approval,
    asset,
    audit,
    candidate,
    deposit,
    escrow,
    event,
    hedge,
    internal_transfer,
    ledger_account,
    ownership,
    payment,
    payment_item,
    posting,
    quote,
    swap,
    sweep,
    transfer,
    withdrawal,
)
from wallets.protocol import HOT

#: kind -> its table, in the order in which a timeline's subjects are shown.
TABLES: dict[str, Table] = {
    "account": account,
    "address": address,
    "deposit": deposit,
    "transfer": internal_transfer,
    "withdrawal": withdrawal,
    "payment": payment,
    "sweep": sweep,
    "escrow": escrow,
    "quote": quote,
    "swap": swap,
    "hedge": hedge,
}
#: Rows of one kind in one answer; an account may have any number.
EACH_MAX = 20


@dataclass(frozen=True, order=True)
class Moment:
    """One thing that happened, `at` microseconds. `rank` orders what one transaction did."""

    at: int
    rank: int
    subject: str
    what: str


@dataclass
class Explanation:
    """What was found: the rows, what happened to them in order, open alarms, and the safe next steps of each."""

    subjects: list[dict[str, Any]] = field(default_factory=list)
    timeline: list[Moment] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)
    actions: list[str] = field(default_factory=list)
    candidates: list[Row[Any]] = field(default_factory=list)  #: what a node can be asked about


def explain(tx: Tx, text: str) -> Explanation:
    """Raises `NotFound` when nothing here has this id, txid, address or reference."""
    found = _related(tx, _find(tx, text))
    if not any(found.values()):
        raise NotFound(f"nothing here is known as {text}")
    shown = Explanation()
    for kind, rows in found.items():
        for row in rows.values():
            shown.subjects.append(_subject(tx, kind, row))
            shown.timeline += _moments(tx, kind, row)
            shown.alarms += _alarms(tx, kind, row)
            shown.actions += next_steps(tx, kind, row)
    for row in found["payment"].values():
        shown.candidates += payment_books.candidates(tx, row.id)
    shown.timeline = sorted(set(shown.timeline))
    return shown


Found = dict[str, dict[int, Row[Any]]]


def _find(tx: Tx, text: str) -> Found:
    """The rows that the text names directly; an event's id names what it tells of."""
    if is_id(text, "evt"):
        text = tx.value(select(event.c.resource_id).where(event.c.public_id == text)) or text
    conditions: dict[str, list[Any]] = {kind: [table.c.public_id == text] for kind, table in TABLES.items()}
    conditions["deposit"] += [deposit.c.txid == text, deposit.c.output_key == text, deposit.c.address == text]
    conditions["withdrawal"] += [withdrawal.c.address == text, withdrawal.c.reference == text]
    conditions["address"] += [address.c.address == text]
    conditions["account"] += [account.c.reference == text]
    conditions["transfer"] += [internal_transfer.c.reference == text]
    conditions["swap"] += [swap.c.reference == text]
    conditions["escrow"] += [escrow.c.reference == text]
    conditions["hedge"] += [hedge.c.client_order_id == text, hedge.c.venue_order_id == text]
    sent = select(candidate.c.payment_id).where(candidate.c.txid == text)
    conditions["payment"] += [payment.c.id.in_(sent), payment.c.created == text]
    return {kind: _rows(tx, table, or_(*conditions[kind])) for kind, table in TABLES.items()}


def _related(tx: Tx, found: Found) -> Found:
    """Also what belongs together: an account or address with its deposits, a withdrawal with its payments and back."""
    if owners := list(found["account"]):
        found["deposit"] |= _rows(tx, deposit, deposit.c.account_id.in_(owners))
        found["withdrawal"] |= _rows(tx, withdrawal, withdrawal.c.account_id.in_(owners))
        found["swap"] |= _rows(tx, swap, swap.c.account_id.in_(owners))
        sides = (escrow.c.buyer_id, escrow.c.vendor_id, escrow.c.order_id)
        found["escrow"] |= _rows(tx, escrow, or_(*(side.in_(owners) for side in sides)))
    _with_swaps(tx, found)
    _with_escrows(tx, found)
    addresses, withdrawals = list(found["address"]), list(found["withdrawal"])
    if addresses:
        found["deposit"] |= _rows(tx, deposit, deposit.c.address_id.in_(addresses))
    homes = {row.address_id for row in found["deposit"].values() if row.address_id is not None}
    found["address"] |= _rows(tx, address, address.c.id.in_(homes)) if homes else {}
    i = payment_item.c
    if withdrawals:
        joined = select(i.payment_id).where(i.withdrawal_id.in_(withdrawals))
        found["payment"] |= _rows(tx, payment, payment.c.id.in_(joined))
    elif found["payment"]:
        members = select(i.withdrawal_id).where(i.payment_id.in_(list(found["payment"])))
        found["withdrawal"] |= _rows(tx, withdrawal, withdrawal.c.id.in_(members), most=100)
    return _with_sweeps(tx, found)


def _with_swaps(tx: Tx, found: Found) -> None:
    """A swap with its quote, its address and its withdrawals, and each of these with its swap."""
    found["swap"] |= _rows(tx, swap, swap.c.quote_id.in_(list(found["quote"]))) if found["quote"] else {}
    s, rows = swap.c, found["swap"].values()
    left = {i for row in rows for i in (row.withdrawal_id, row.refund_withdrawal_id) if i is not None}
    homes = {row.address_id for row in rows if row.address_id is not None}
    found["withdrawal"] |= _rows(tx, withdrawal, withdrawal.c.id.in_(left)) if left else {}
    found["address"] |= _rows(tx, address, address.c.id.in_(homes)) if homes else {}
    if named := list(found["withdrawal"]):
        found["swap"] |= _rows(tx, swap, s.withdrawal_id.in_(named) | s.refund_withdrawal_id.in_(named))
    homes = {row.purpose_id for row in found["address"].values() if row.purpose_kind == "swap"}
    found["swap"] |= _rows(tx, swap, s.id.in_(homes)) if homes else {}
    prices = {row.quote_id for row in found["swap"].values()}
    found["quote"] |= _rows(tx, quote, quote.c.id.in_(prices)) if prices else {}


def _with_escrows(tx: Tx, found: Found) -> None:
    """An escrow with its address, its deposits and the withdrawals that paid it out, and an address with its escrow."""
    homes = {row.purpose_id for row in found["address"].values() if row.purpose_kind == "escrow"}
    found["escrow"] |= _rows(tx, escrow, escrow.c.id.in_(homes)) if homes else {}
    if ids := list(found["escrow"]):
        own = {row.address_id for row in found["escrow"].values() if row.address_id is not None}
        found["address"] |= _rows(tx, address, address.c.id.in_(own)) if own else {}
        o = ownership.c
        paid = select(o.cause_id).where(o.subject_kind == "escrow", o.subject_id.in_(ids), o.event == "paid_out")
        found["withdrawal"] |= _rows(tx, withdrawal, withdrawal.c.id.in_(paid))


def _with_sweeps(tx: Tx, found: Found) -> Found:
    """A sweep with its payments and back, and an address with the sweeps of its index."""
    s = sweep.c
    wanted = {found_id for row in found["sweep"].values() for found_id in (row.payment_id, row.gas_payment_id)} - {None}
    if wanted:
        found["payment"] |= _rows(tx, payment, payment.c.id.in_(wanted))
    elif found["payment"]:
        ids = list(found["payment"])
        found["sweep"] |= _rows(tx, sweep, s.payment_id.in_(ids) | s.gas_payment_id.in_(ids))
    for home in found["address"].values():
        found["sweep"] |= _rows(tx, sweep, (s.chain == home.chain) & (s.idx == home.idx))
    return found


def _rows(tx: Tx, table: Table, condition: Any, most: int = EACH_MAX) -> dict[int, Row[Any]]:
    query = select(table).where(condition).order_by(table.c.id.desc()).limit(most)
    return {row.id: row for row in reversed(tx.all(query))}


def _subject(tx: Tx, kind: str, row: Row[Any]) -> dict[str, Any]:
    names = (
        "state",
        "status_reason",
        "status_detail",
        "reference",
        "address",
        "txid",
        "idx",
        "frozen_reason",
        "request_state",
        "venue",
        "symbol",
        "side",
        "client_order_id",
        "filled",
    )
    shown: dict[str, Any] = {"kind": kind, "id": row.public_id}
    if kind in ("quote", "swap"):
        sides = {"sells": (row.sell_units, row.sell_asset), "buys": (row.buy_units, row.buy_asset)}
        shown |= {name: amount(tx, *side) for name, side in sides.items()}
    if hasattr(row, "units"):
        shown["amount"] = amount(tx, row.units, row.asset)
    shown |= {name: getattr(row, name) for name in names if getattr(row, name, None) is not None}
    if getattr(row, "account_id", None) is not None:
        shown["account"] = tx.value(select(account.c.public_id).where(account.c.id == row.account_id))
    if kind == "payment":
        shown |= _purpose(tx, row)
    if kind == "escrow":
        shown |= _parties(tx, row)
    if kind == "account":
        owned = balances.of_account(tx, row.id)
        shown["balances"] = {
            code: {name: format_units(units, _decimals(tx, code)) for name, units in kinds.items()}
            for code, kinds in owned.items()
        }
    return shown


def _parties(tx: Tx, row: Row[Any]) -> dict[str, Any]:
    """Whom an escrow is between, and what lies in it."""
    told: dict[str, Any] = {}
    for side, owner in (("buyer", row.buyer_id), ("vendor", row.vendor_id), ("order", row.order_id)):
        if owner is not None:
            told[side] = tx.value(select(account.c.public_id).where(account.c.id == owner))
    return told | {"held": amount(tx, row.held_units, row.asset), "fee": amount(tx, row.fee_units, row.asset)}


def _purpose(tx: Tx, row: Row[Any]) -> dict[str, Any]:
    """What a payment is for; of one that pays no customer, also what it moves, or which contract it calls."""
    told: dict[str, Any] = {"for": row.purpose}
    if row.call is not None:
        told["call"] = f"{row.call['note']} at {row.call['to']}" if row.call["to"] else f"deploys {row.call['note']}"
    if row.created is not None:
        told["contract"] = row.created
    if row.purpose != "withdrawal":
        i = payment_item.c
        items = tx.all(select(payment_item).where(i.payment_id == row.id).order_by(i.id).limit(EACH_MAX))
        moves = [f"{amount(tx, item.units, row.asset)} {_way(item)}" for item in items]
        told |= {"moves": moves} if moves else {}
    return told


def _way(item: Row[Any]) -> str:
    source = "from the hot wallet" if item.source_idx is None else f"from index {item.source_idx}"
    if item.target_idx is None:
        return f"{source} to {item.address}"
    return f"{source} to {'the hot wallet' if item.target_idx == HOT else f'index {item.target_idx}'}"


def _moments(tx: Tx, kind: str, row: Row[Any]) -> Iterable[Moment]:
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
    e, a = event.c, audit.c
    for told in tx.all(select(e.type, e.public_id, e.sequence, e.created_at).where(e.resource_id == name)):
        number = "not numbered yet" if told.sequence is None else f"number {told.sequence}"
        yield Moment(told.created_at, 4, name, f"event {told.type} ({told.public_id}, {number})")
    for act in tx.all(select(a.at, a.actor, a.action, a.id).where(a.target == name)):
        yield Moment(act.at, 0, name, f"{act.actor}: {act.action} (audit {act.id})")


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


def _alarms(tx: Tx, kind: str, row: Row[Any]) -> list[str]:
    subjects: Sequence[str] = (f"{kind}:{row.id}",)
    query = select(alarm).where(alarm.c.subject.in_(subjects), alarm.c.open == 1)
    return [f"{row.public_id}: {a.name}, {a.count} times: {a.detail}" for a in tx.all(query)]


def amount(tx: Tx, units: int, code: str) -> str:
    """`0.00012345 BTC`."""
    return f"{format_units(units, _decimals(tx, code))} {code}"


def _decimals(tx: Tx, code: str) -> int:
    return int(tx.value(select(asset.c.decimals).where(asset.c.code == code)))
