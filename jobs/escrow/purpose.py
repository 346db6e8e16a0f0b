"""Deposits to an escrow's own address: what they fund, and what happens when the chain takes one back."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, select

from jobs import moves
from jobs.deposit import requests as payment_requests
from jobs.escrow import books as escrow_books
from jobs.escrow import funding as escrow_funding
from jobs.escrow.books import Draft
from jobs.escrow.saga import move
from jobs.escrow.state import ENDED, State
from jobs.escrow.terms import parts_of
from jobs.trace import dependants
from ledger.accounts import Owner
from ledger.db import Tx
from ledger.schema import escrow, ownership


class EscrowPurpose:
    """The escrow while it waits for money, by its own terms; the buyer's balance otherwise (`jobs.purposes`)."""

    def owner(self, tx: Tx, paid: Row[Any], home: Row[Any]) -> Owner:
        row = moves.lock(tx, escrow, home.purpose_id)
        return row.buyer_id, escrow_books.PLACE if _funds(row, paid) else "available"

    def credited(self, tx: Tx, paid: Row[Any], home: Row[Any], owner: Owner) -> None:
        row = moves.lock(tx, escrow, home.purpose_id)
        payment_requests.count(tx, paid, paid.units)
        if owner[1] == escrow_books.PLACE:
            escrow_funding.arrived(tx, row, paid.id, paid.units, late=_is_late(row, paid))
        elif row.undone_units and _had_funded(tx, row, paid):
            draft = Draft(tx, row)
            draft.parts = draft.parts.restored(paid.units)
            reason = "funding_returned" if row.state in ENDED else row.status_reason
            move(tx, draft, State(row.state), reason=reason)
            escrow_books.tell(tx, row, "funding_returned")

    def take_back(self, tx: Tx, paid: Row[Any], home: Row[Any], owner: Owner, key: str, ref: tuple[str, int]) -> int:
        row = moves.lock(tx, escrow, home.purpose_id)
        payment_requests.count(tx, paid, -paid.units)
        in_escrow = owner[1] == escrow_books.PLACE
        if not in_escrow and not _had_funded(tx, row, paid):
            owed = dependants.take_back(tx, paid, row.buyer_id, key, ref)
            dependants.freeze(tx, paid, row.buyer_id, owed)
            return owed
        draft = Draft(tx, row)
        here = draft.taken_back(paid.id, paid.units, in_escrow=in_escrow)
        first = (escrow_books.PLACE, here)
        owed = dependants.take_back(tx, paid, row.buyer_id, key, ref, first=first)
        dependants.freeze(tx, paid, row.buyer_id, owed)
        _reversed(tx, row, draft)
        return owed


def _is_late(row: Row[Any], paid: Row[Any]) -> bool:
    """Seen after the funding deadline, or more than was asked for: the escrow's `on_late` says what becomes of it."""
    whole = row.state == State.FUNDED and not parts_of(row).missing
    return bool(paid.late) or row.state == State.EXPIRED or whole


def _funds(row: Row[Any], paid: Row[Any]) -> bool:
    """Whether the escrow takes this deposit, rather than the buyer's balance."""
    parts = parts_of(row)
    if paid.asset != row.asset or (row.state in ENDED and row.state != State.EXPIRED):
        return False
    if row.state == State.DISPUTED:
        return parts.missing > 0
    if not _is_late(row, paid):
        return True
    if row.state == State.EXPIRED:  # what had gone back to the buyer, and left the chain, goes back to the buyer
        new = paid.units - min(paid.units, row.undone_units)
        return bool(row.on_late == "hold" and new) or (row.on_late == "accept" and new >= parts.missing)
    return bool(row.on_late != "return")


def _had_funded(tx: Tx, row: Row[Any], paid: Row[Any]) -> bool:
    """Whether the deposit has ever been in the escrow: then what the escrow passed on came from it."""
    o = ownership.c
    query = select(o.id).where(o.cause_kind == "deposit", o.cause_id == paid.id, o.event == "paid_in")
    return tx.value(query.where(o.subject_kind == "escrow", o.subject_id == row.id).limit(1)) is not None


def _reversed(tx: Tx, row: Row[Any], draft: Draft) -> None:
    """The escrow's own state: short of its price it awaits funds again; ended, or disputed, it stays what it is."""
    state, reason = State(row.state), row.status_reason
    if state in ENDED:
        reason = "funding_reversed"
    elif state is State.FUNDED and draft.parts.missing:
        state, reason = State.AWAITING_FUNDS, "funding_reversed"
    elif state is State.AWAITING_FUNDS:
        over = row.funding_deadline is not None and row.funding_deadline <= tx.now
        reason = "funding_reversed" if over or row.funded_at is not None else None
    move(tx, draft, state, reason=reason)
    escrow_books.tell(tx, row, "funding_reversed")
