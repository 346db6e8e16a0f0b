"""Which rows a text names, and which belong together with them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, Table, or_, select

from ledger.db import Tx
from ledger.ids import is_id
from ledger.schema import (
    account,
    address,
    candidate,
    deposit,
    escrow,
    event,
    hedge,
    internal_transfer,
    ownership,
    payment,
    payment_item,
    quote,
    swap,
    sweep,
    webhook_delivery,
    webhook_endpoint,
    withdrawal,
)

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
    "webhook_endpoint": webhook_endpoint,
    "webhook_delivery": webhook_delivery,
}
#: Rows of one kind in one answer; an account may have any number.
EACH_MAX = 20

Found = dict[str, dict[int, Row[Any]]]


def find(tx: Tx, text: str) -> Found:
    """The rows that the text names directly. An event's id names what it tells of and its deliveries, a delivery's what
    its event tells of."""
    names = [text, *_told_of(tx, text)]
    conditions: dict[str, list[Any]] = {kind: [table.c.public_id.in_(names)] for kind, table in TABLES.items()}
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
    told = select(event.c.id).where(event.c.public_id == text)
    conditions["webhook_delivery"] += [webhook_delivery.c.event_id.in_(told)]
    return {kind: _rows(tx, table, or_(*conditions[kind])) for kind, table in TABLES.items()}


def _told_of(tx: Tx, text: str) -> list[str]:
    """The resource that an event, or the delivery of one, tells of."""
    told = select(event.c.resource_id).where(event.c.public_id == text)
    if is_id(text, "whd"):
        told = select(webhook_delivery.c.resource_id).where(webhook_delivery.c.public_id == text)
    return [row.resource_id for row in tx.all(told)]


def rows(tx: Tx, kind: str, row_id: int) -> dict[int, Row[Any]]:
    """One row of a kind, by its number."""
    return _rows(tx, TABLES[kind], TABLES[kind].c.id == row_id)


def related(tx: Tx, found: Found) -> Found:
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
