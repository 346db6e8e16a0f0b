"""Resources as the API shows them and as events carry them: public ids only, money exact, times in UTC.

Each `…s` function renders any number of rows with the same few queries, in the order of the ids given.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Row, Select, func, select

from ledger.db import Tx
from ledger.errors import NotFound
from ledger.money import format_units
from ledger.schema import (
    account as account_table,
)
from ledger.schema import (
    approval,
    asset,
    chain,
    payment,
    transition,
)
from ledger.schema import deposit as deposit_table
from ledger.schema import internal_transfer as transfer_table
from ledger.schema import withdrawal as withdrawal_table
from wallets.protocol import AddressBook

View = dict[str, Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def money(units: int, asset: str, decimals: int) -> View:
    """An amount as every answer carries it: decimal string, asset, atomic units as a string."""
    return {"amount": format_units(units, decimals), "asset": asset, "units": str(units)}


def when(micros: int) -> str:
    """RFC 3339 in UTC with microseconds."""
    return (_EPOCH + timedelta(microseconds=micros)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def maybe_when(micros: int | None) -> str | None:
    return None if micros is None else when(micros)


def account(tx: Tx, row: Row[Any]) -> View:
    """`row` has the columns of `account`."""
    frozen = row.frozen_reason is not None
    return {
        "id": row.public_id,
        "reference": row.reference,
        "kind": row.kind,
        "status": "frozen" if frozen else "active",
        "status_reason": row.frozen_reason,
        "created_at": when(row.created_at),
        "updated_at": when(row.updated_at),
    }


def request_state(expected: int | None, received: int, expires_at: int | None, now: int) -> str:
    """Where a payment request stands: `open`, `underpaid`, `paid`, `overpaid` or `expired` (not paid in time).

    Without an expected amount any payment pays it.
    """
    if received > 0 and (expected is None or received == expected):
        return "paid"
    if expected is not None and received > expected:
        return "overpaid"
    if expires_at is not None and expires_at <= now:
        return "expired"
    return "underpaid" if received > 0 else "open"


def address(tx: Tx, row: Row[Any], book: AddressBook | None = None) -> View:
    """`row` has the columns of `address`; with the chain's address book the payment URI is added."""
    return addresses(tx, [row], None if book is None else {row.chain: book})[0]


def addresses(tx: Tx, rows: Sequence[Row[Any]], books: Mapping[str, AddressBook] | None = None) -> list[View]:
    ids = [row.id for row in rows]
    d = deposit_table.c
    late = {r.address_id for r in tx.all(select(d.address_id).where(d.address_id.in_(ids), d.late == 1).distinct())}
    owned = select(account_table.c.id, account_table.c.public_id)
    query = owned.where(account_table.c.id.in_({row.account_id for row in rows}))
    owners = {r.id: r.public_id for r in tx.all(query)}
    decimals = _decimals(tx, {row.asset for row in rows})
    return [
        _address(tx, row, owners[row.account_id], decimals[row.asset], row.id in late, (books or {}).get(row.chain))
        for row in rows
    ]


def _address(tx: Tx, row: Row[Any], owner: str, decimals: int, late: bool, book: AddressBook | None) -> View:
    ready = row.state == "ready"  # before that the node does not watch it: showing it could lose a payment
    shown = {
        "id": row.public_id,
        "account": owner,
        "asset": row.asset,
        "chain": row.chain,
        "address": row.address if ready else None,
        "index": row.idx,
        "status": row.state,
        "label": row.label,
        "payment_request": _request(tx, row, decimals, late),
        "created_at": when(row.created_at),
        "updated_at": when(row.updated_at),
    }
    if book is not None:
        shown["uri"] = book.uri(row.address, row.expected_units, row.label) if ready else None
    return shown


def _request(tx: Tx, row: Row[Any], decimals: int, late: bool) -> View | None:
    if row.request_state is None:
        return None
    expected = row.expected_units
    return {
        "status": request_state(expected, row.received_units, row.expires_at, tx.now),
        "expected": None if expected is None else money(expected, row.asset, decimals),
        "received": money(row.received_units, row.asset, decimals),
        "expires_at": maybe_when(row.expires_at),
        "late": late,
    }


def deposit(tx: Tx, deposit_id: int) -> View:
    return deposits(tx, [deposit_id])[0]


def deposits(tx: Tx, ids: Sequence[int]) -> list[View]:
    d = deposit_table.c
    query = (
        select(deposit_table, account_table.c.public_id.label("owner"), chain.c.tip_height, asset.c.decimals)
        .join(asset, asset.c.code == d.asset)
        .join(chain, chain.c.name == d.chain)
        .outerjoin(account_table, account_table.c.id == d.account_id)
    )
    rows = _by_id(tx, query.where(d.id.in_(ids)), ids)
    history = _histories(tx, "deposit", ids)
    return [_deposit(rows[i], history[i]) for i in ids]


def _deposit(row: Row[Any], history: list[View]) -> View:
    return {
        "id": row.public_id,
        "account": row.owner,
        "asset": row.asset,
        "amount": money(row.units, row.asset, row.decimals),
        "address": row.address,
        "txid": row.txid,
        "vout": _vout(row.output_key),
        "confirmations": _confirmations(row),
        "confirmations_needed": row.confirmations_needed,
        "late": bool(row.late),
        "status": row.state,
        "status_reason": row.status_reason,
        "history": history,
        "created_at": when(row.created_at),
        "updated_at": when(row.updated_at),
    }


def _vout(output_key: str) -> int | None:
    number = output_key.rpartition(":")[2]
    return int(number) if number.isascii() and number.isdigit() else None


def _confirmations(row: Row[Any]) -> int:
    if row.seen != "confirmed" or row.height is None or row.tip_height is None:
        return 0
    return max(0, int(row.tip_height) - int(row.height) + 1)


def withdrawal(tx: Tx, withdrawal_id: int) -> View:
    return withdrawals(tx, [withdrawal_id])[0]


def withdrawals(tx: Tx, ids: Sequence[int]) -> list[View]:
    w = withdrawal_table.c
    given = select(func.count()).where(approval.c.withdrawal_id == w.id).scalar_subquery()
    query = (
        select(
            withdrawal_table,
            account_table.c.public_id.label("owner"),
            payment.c.public_id.label("payment"),
            asset.c.decimals,
            given.label("given"),
        )
        .join(asset, asset.c.code == w.asset)
        .join(account_table, account_table.c.id == w.account_id)
        .outerjoin(payment, payment.c.id == w.payment_id)
    )
    rows = _by_id(tx, query.where(w.id.in_(ids)), ids)
    history = _histories(tx, "withdrawal", ids)
    return [_withdrawal(rows[i], history[i]) for i in ids]


def _withdrawal(row: Row[Any], history: list[View]) -> View:
    return {
        "id": row.public_id,
        "account": row.owner,
        "asset": row.asset,
        "amount": money(row.units, row.asset, row.decimals),
        "fee": money(row.fee_units, row.asset, row.decimals),
        "total": money(row.units + row.fee_units, row.asset, row.decimals),
        "fee_from": row.fee_from,
        "address": row.address,
        "reference": row.reference,
        "metadata": row.metadata,
        "approvals": {"needed": row.approvals_needed, "given": row.given},
        "payment": row.payment,
        "txid": row.txid,
        "status": row.state,
        "status_reason": row.status_reason,
        "history": history,
        "created_at": when(row.created_at),
        "updated_at": when(row.updated_at),
    }


def internal_transfer(tx: Tx, transfer_id: int) -> View:
    return internal_transfers(tx, [transfer_id])[0]


def internal_transfers(tx: Tx, ids: Sequence[int]) -> list[View]:
    t, giver, taker = transfer_table.c, account_table.alias("giver"), account_table.alias("taker")
    query = (
        select(transfer_table, giver.c.public_id.label("giver"), taker.c.public_id.label("taker"), asset.c.decimals)
        .join(asset, asset.c.code == t.asset)
        .join(giver, giver.c.id == t.from_account_id)
        .join(taker, taker.c.id == t.to_account_id)
    )
    rows = _by_id(tx, query.where(t.id.in_(ids)), ids)
    return [_internal_transfer(rows[i]) for i in ids]


def _internal_transfer(row: Row[Any]) -> View:
    return {
        "id": row.public_id,
        "from_account": row.giver,
        "to_account": row.taker,
        "asset": row.asset,
        "amount": money(row.units, row.asset, row.decimals),
        "reference": row.reference,
        "metadata": row.metadata,
        "status": "completed",
        "created_at": when(row.created_at),
    }


def event(row: Row[Any], *, livemode: bool) -> View:
    """`row` has the columns of `event`, numbered."""
    return {
        "id": row.public_id,
        "type": row.type,
        "timestamp": when(row.created_at),
        "livemode": livemode,
        "sequence": row.sequence,
        "data": {"object": row.data},
    }


def _by_id(tx: Tx, query: Select[Any], ids: Sequence[int]) -> Mapping[int, Row[Any]]:
    rows = {row.id: row for row in tx.all(query)}
    if len(rows) != len(set(ids)):
        raise NotFound("no such resource")
    return rows


def _histories(tx: Tx, kind: str, ids: Sequence[int]) -> dict[int, list[View]]:
    t = transition.c
    query = select(t.row_id, t.to_state, t.reason, t.at).where(t.kind == kind, t.row_id.in_(ids)).order_by(t.id)
    found: dict[int, list[View]] = defaultdict(list)
    for row in tx.all(query):
        found[row.row_id].append({"status": row.to_state, "at": when(row.at), "reason": row.reason})
    return found


def _decimals(tx: Tx, codes: set[str]) -> dict[str, int]:
    return {r.code: r.decimals for r in tx.all(select(asset.c.code, asset.c.decimals).where(asset.c.code.in_(codes)))}
