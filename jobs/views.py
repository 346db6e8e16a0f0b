"""Resources as the API shows them and as events carry them: public ids only, money exact, times in UTC.

Each `…s` function renders any number of rows with the same few queries, in the order of the ids given.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Row, Select

from jobs import view_queries as queries
from jobs.assets import contract_of, on_chain
from ledger.db import Tx
from ledger.errors import NotFound
from ledger.money import format_units
from ledger.policy import FINAL_DEPTH
from wallets.protocol import AddressBook

View = dict[str, Any]

#: Reasons whose details are for customers too: what a withdrawal waits for, and about how long.
_TOLD = ("hot_funds_locked", "insufficient_hot_funds", "paused")

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


def address(tx: Tx, row: Row[Any], book: AddressBook | None = None, asked: str | None = None) -> View:
    """`row` has the columns of `address`; with the chain's address book the payment URI is added, and which assets it
    takes. Where it takes several, `asked` is the one that it is shown for; None: the one it was made for."""
    return _addresses(tx, [row], None if book is None else {row.chain: book}, asked)[0]


def addresses(tx: Tx, rows: Sequence[Row[Any]], books: Mapping[str, AddressBook]) -> list[View]:
    return _addresses(tx, rows, books, None)


def _addresses(
    tx: Tx, rows: Sequence[Row[Any]], books: Mapping[str, AddressBook] | None, asked: str | None
) -> list[View]:
    facts = by_id(tx, queries.ADDRESS_FACTS, [row.id for row in rows])
    shown = [_address(tx, row, facts[row.id]) for row in rows]
    if books is not None:
        shared = {name: _taken(tx, name) for name, book in books.items() if book.shared}
        for row, view in zip(rows, shown, strict=True):
            view |= _as_payable(tx, row, facts[row.id].contract, books[row.chain], asked or row.asset)
            view["assets"] = shared.get(row.chain, [row.asset])
    return shown


def _taken(tx: Tx, chain: str) -> list[str]:
    return [row.code for row in on_chain(tx, chain) if row.enabled]


def _as_payable(tx: Tx, row: Row[Any], contract: str | None, book: AddressBook, code: str) -> View:
    if code != row.asset:
        contract = contract_of(tx, code)
    uri = book.uri(row.address, row.expected_units, row.label, contract) if row.state == "ready" else None
    return {"asset": code, "uri": uri}


def _address(tx: Tx, row: Row[Any], facts: Row[Any]) -> View:
    ready = row.state == "ready"  # before that the node does not watch it: showing it could lose a payment
    return {
        "id": row.public_id,
        "account": facts.owner,
        "asset": row.asset,
        "chain": row.chain,
        "address": row.address if ready else None,
        "index": row.idx,
        "status": row.state,
        "label": row.label,
        "payment_request": _request(tx, row, facts.decimals, bool(facts.late)),
        "created_at": when(row.created_at),
        "updated_at": when(row.updated_at),
    }


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
    rows = by_id(tx, queries.DEPOSITS, ids)
    history = histories(tx, "deposit", ids)
    return [_deposit(rows[i], history[i]) for i in ids]


def _deposit(row: Row[Any], history: list[View]) -> View:
    return {
        "id": row.public_id,
        "account": row.owner,
        "asset": row.asset,
        "amount": money(row.units, row.asset, row.decimals),
        "address": row.address,
        "purpose": row.purpose_kind,
        "purpose_id": row.purpose,
        "txid": row.txid,
        "vout": _vout(row),
        "output": _output(row),
        "confirmations": _confirmations(row),
        "confirmations_needed": row.confirmations_needed,
        "waits_for_final": (row.confirmations_needed or 0) >= FINAL_DEPTH,
        "late": bool(row.late),
        "status": row.state,
        "status_reason": row.status_reason or _unripe(row),
        "history": history,
        "created_at": when(row.created_at),
        "updated_at": when(row.updated_at),
    }


def _output(row: Row[Any]) -> str:
    """What of the transaction paid it, as the chain numbers it: `0`, `0:7`, `log:3`; empty: the transaction itself."""
    return str(row.output_key.removeprefix(row.txid).lstrip(":"))


def _vout(row: Row[Any]) -> int | None:
    number = _output(row)
    return int(number) if number.isascii() and number.isdigit() else None


def _unripe(row: Row[Any]) -> str | None:
    """What will keep it from being credited, told while it confirms."""
    if row.state not in ("detected", "confirming"):
        return None
    return row.suspect or ("locked" if row.locked else None)


def _confirmations(row: Row[Any]) -> int:
    if row.seen != "confirmed" or row.height is None or row.tip_height is None:
        return 0
    return max(0, int(row.tip_height) - int(row.height) + 1)


def withdrawal(tx: Tx, withdrawal_id: int) -> View:
    return withdrawals(tx, [withdrawal_id])[0]


def withdrawals(tx: Tx, ids: Sequence[int]) -> list[View]:
    rows = by_id(tx, queries.WITHDRAWALS, ids)
    history = histories(tx, "withdrawal", ids)
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
        "status_detail": row.status_detail if row.status_reason in _TOLD else None,
        "history": history,
        "created_at": when(row.created_at),
        "updated_at": when(row.updated_at),
    }


def internal_transfer(tx: Tx, transfer_id: int) -> View:
    return internal_transfers(tx, [transfer_id])[0]


def internal_transfers(tx: Tx, ids: Sequence[int]) -> list[View]:
    rows = by_id(tx, queries.TRANSFERS, ids)
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


def by_id(tx: Tx, query: Select[Any], ids: Sequence[int]) -> Mapping[int, Row[Any]]:
    """The rows of a query that takes `ids`, by id. Raises `NotFound` unless all are there."""
    rows = {row.id: row for row in tx.execute(query, {"ids": list(ids)})}
    if len(rows) != len(set(ids)):
        raise NotFound("no such resource")
    return rows


def histories(tx: Tx, kind: str, ids: Sequence[int]) -> dict[int, list[View]]:
    """What the API shows of the transitions of these rows, oldest first."""
    found: dict[int, list[View]] = defaultdict(list)
    for row in tx.execute(queries.HISTORIES, {"kind": kind, "ids": list(ids)}):
        found[row.row_id].append({"status": row.to_state, "at": when(row.at), "reason": row.reason})
    return found
