"""An escrow as the API shows it and as its events carry it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, select

from jobs.escrow.terms import parts_of
from jobs.view_queries import ESCROWS, HISTORIES
from jobs.views import View, maybe_when, money, when
from ledger.db import Tx
from ledger.errors import NotFound
from ledger.schema import ownership, withdrawal


def escrow(tx: Tx, escrow_id: int) -> View:
    return escrows(tx, [escrow_id])[0]


def escrows(tx: Tx, ids: Sequence[int]) -> list[View]:
    """In the order of `ids`. Raises `NotFound`."""
    rows = {row.id: row for row in tx.execute(ESCROWS, {"ids": list(ids)})}
    if len(rows) != len(set(ids)):
        raise NotFound("no such escrow")
    history: dict[int, list[View]] = defaultdict(list)
    for step in tx.execute(HISTORIES, {"kind": "escrow", "ids": list(ids)}):
        history[step.row_id].append({"status": step.to_state, "at": when(step.at), "reason": step.reason})
    payouts = _payouts(tx, [row.id for row in rows.values() if row.released_units])
    return [_escrow(rows[i], history[i], payouts.get(i, [])) for i in ids]


def _payouts(tx: Tx, ids: Sequence[int]) -> dict[int, list[str]]:
    """The withdrawals that releases were paid out by, in order."""
    found: dict[int, list[str]] = defaultdict(list)
    if ids:
        o = ownership.c
        query = select(o.subject_id, withdrawal.c.public_id).join(withdrawal, withdrawal.c.id == o.cause_id)
        query = query.where(o.subject_kind == "escrow", o.subject_id.in_(ids), o.cause_kind == "withdrawal")
        for row in tx.all(query.where(o.event == "paid_out").order_by(o.id)):
            found[row.subject_id].append(row.public_id)
    return found


def _escrow(row: Row[Any], history: list[View], payouts: list[str]) -> View:
    parts = parts_of(row)
    sums = {
        "amount": parts.units,
        "fee": parts.fee_units,
        "wanted": parts.wanted_units,
        "received": parts.received_units,
        "held": parts.held_units,
        "missing": parts.missing if row.state in ("awaiting_funds", "disputed") else 0,
        "surplus": parts.surplus,
        "released": parts.released_units,
        "refunded": parts.refunded_units,
        "fee_taken": parts.fee_taken_units,
    }
    ready = row.address_state == "ready"  # before that the node does not watch it: showing it could lose a payment
    return {
        "id": row.public_id,
        "buyer": row.buyer,
        "vendor": row.vendor,
        "order": row.order_account,
        "asset": row.asset,
        **{name: money(units, row.asset, row.decimals) for name, units in sums.items()},
        "fee_from": row.fee_from,
        "reference": row.reference,
        "metadata": row.metadata,
        "address_id": row.address_public_id,
        "address": row.address if ready else None,
        "on_underpaid": row.on_underpaid,
        "on_overpaid": row.on_overpaid,
        "on_late": row.on_late,
        "arbiter": row.arbiter,
        "funding_deadline": maybe_when(row.funding_deadline),
        "deadline": maybe_when(row.deadline),
        "at_deadline": row.at_deadline,
        "funded_at": maybe_when(row.funded_at),
        "payouts": payouts,
        "status": row.state,
        "status_reason": row.status_reason,
        "history": history,
        "created_at": when(row.created_at),
        "updated_at": when(row.updated_at),
    }
