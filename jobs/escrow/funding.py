"""What funds an escrow: a balance, a deposit, or a person's word on what came too little, too much or too late."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row

from jobs import moves
from jobs.caller import Caller
from jobs.escrow import books as escrow_books
from jobs.escrow.books import Draft
from jobs.escrow.saga import DECISIONS, deadline_of, move
from jobs.escrow.state import State
from jobs.views import View
from ledger import accounts, pauses
from ledger.db import Tx
from ledger.errors import InvalidAmount, InvalidInput, NotFound, StateConflict
from ledger.money import format_units
from ledger.schema import asset, escrow


def locked(tx: Tx, caller: Caller, escrow_id: int) -> Row[Any]:
    """The caller's escrow, locked. Raises `NotFound`."""
    row = moves.lock(tx, escrow, escrow_id)
    if row.project_id != caller.project_id:
        raise NotFound("no such escrow")
    return row


def fund(tx: Tx, caller: Caller, escrow_id: int, units: int | None = None, payer_id: int | None = None) -> View:
    """Move what is missing, or `units` of it, out of a balance: the order account's where it has one, else the buyer's.

    Raises `StateConflict`, `InvalidAmount` (more than is missing), `InsufficientFunds`, `AccountFrozen`, `AssetPaused`.
    """
    row = locked(tx, caller, escrow_id)
    pauses.check(tx, row.asset, "escrows")
    if row.state != State.AWAITING_FUNDS:
        raise StateConflict(f"it is {row.state}; only one that awaits its funds can be funded", status=row.state)
    if row.funding_deadline is not None and row.funding_deadline <= tx.now and row.status_reason != "funding_reversed":
        raise StateConflict("its funding deadline is over", status=row.state)
    payer = _payer(row, payer_id)
    for account_id in {payer, row.buyer_id}:
        accounts.check_not_frozen(tx, account_id)
    draft = Draft(tx, row)
    missing = draft.parts.missing
    if missing == 0:
        raise StateConflict("nothing is missing: it waits for a decision", status=row.state)
    if units is not None and units > missing:
        raise InvalidAmount("/amount", f"is more than the {_text(tx, row, missing)} that are missing")
    draft.fund(payer, missing if units is None else units)
    return judge(tx, row, draft, actor=caller.name)


def arrived(tx: Tx, row: Row[Any], deposit_id: int, units: int, *, late: bool) -> None:
    """A deposit has been credited to the escrow `row`, which is locked."""
    draft = Draft(tx, row)
    draft.paid_in(deposit_id, units)
    if row.state == State.DISPUTED:
        draft.return_surplus("overpaid")  # the arbiter gives the buyer all that the vendor does not get
        _stay(tx, row, draft, "paid_in", row.status_reason)
    elif late and row.on_late == "hold":
        _hold(tx, row, draft)
    elif row.state == State.AWAITING_FUNDS and row.status_reason == "late":
        _stay(tx, row, draft, "paid_in", "late")
    else:
        judge(tx, row, draft, late=late)


def judge(tx: Tx, row: Row[Any], draft: Draft, *, late: bool = False, actor: str | None = None) -> View:
    """Something came: is it funded now, and what becomes of what is too much?"""
    if draft.parts.missing:
        # A step sees to it at once if its deadline is over: what was still on its way has come.
        reason = row.status_reason if row.status_reason in DECISIONS else None
        return _stay(tx, row, draft, "partially_funded", reason, actor)
    reason = "accepted_late" if late else None
    if draft.parts.surplus:
        if row.on_overpaid == "return":
            draft.return_surplus("overpaid")
        elif row.on_overpaid == "keep":
            draft.parts = draft.parts.kept()
        else:
            reason = "overpaid"
    return funded(tx, row, draft, reason, actor)


def decide(tx: Tx, caller: Caller, escrow_id: int, decision: str) -> View:
    """A person's word on an escrow that waits for one: `accept` goes on with what is there, `return` gives it back.

    Of a disputed one that is short, what is there can only be accepted: whose it is then is the arbiter's word.
    `return` ends one that nothing is left of.
    Raises `StateConflict` when nothing waits for a decision.
    """
    row = locked(tx, caller, escrow_id)
    pauses.check(tx, row.asset, "escrows")
    draft = Draft(tx, row)
    if row.state == State.FUNDED and draft.parts.surplus:
        if decision == "accept":
            draft.parts = draft.parts.kept()
        else:
            draft.return_surplus("returned")
        return funded(tx, row, draft, None, caller.name)
    waits = row.state == State.AWAITING_FUNDS and row.status_reason in DECISIONS
    if not waits and not (row.state == State.DISPUTED and draft.parts.missing):
        raise StateConflict("nothing about it waits for a decision", status=row.state)
    if decision == "return" and row.state == State.DISPUTED and draft.parts.held_units:
        raise StateConflict("accept what is there; only the arbiter gives it to one side", status=row.state)
    if decision == "return":
        return _give_up(tx, row, draft, caller.name)
    return _accept(tx, row, draft, caller.name)


def funded(tx: Tx, row: Row[Any], draft: Draft, reason: str | None, actor: str | None = None) -> View:
    """Into FUNDED with these amounts; it may be there already."""
    since = tx.now if row.funded_at is None else row.funded_at
    deadline = row.deadline
    if row.state != State.FUNDED:
        deadline = deadline_of(row, tx.now, late=reason in ("accepted_late", "accepted"))
    move(tx, draft, State.FUNDED, reason=reason, actor=actor, funded_at=since, deadline=deadline)
    return escrow_books.tell(tx, row, "awaiting_decision" if draft.parts.surplus else "funded")


def _payer(row: Row[Any], payer_id: int | None) -> int:
    if payer_id is None:
        return int(row.order_id or row.buyer_id)
    if payer_id not in (row.buyer_id, row.order_id):
        raise InvalidInput("/from_account", "must be the escrow's buyer or its order account")
    return payer_id


def _hold(tx: Tx, row: Row[Any], draft: Draft) -> None:
    """What came late lies in escrow until a person decides about it."""
    state = State.FUNDED if row.state == State.FUNDED else State.AWAITING_FUNDS
    move(tx, draft, state, reason="late")
    escrow_books.tell(tx, row, "awaiting_decision")


def _accept(tx: Tx, row: Row[Any], draft: Draft, actor: str) -> View:
    if draft.parts.held_units == 0:
        raise StateConflict("there is nothing in it to go on with", status=row.state)
    draft.parts = draft.parts.shrunk() if draft.parts.missing else draft.parts.kept()
    if row.state == State.DISPUTED:
        return _stay(tx, row, draft, "disputed", row.status_reason, actor)
    return funded(tx, row, draft, "accepted", actor)


def _give_up(tx: Tx, row: Row[Any], draft: Draft, actor: str) -> View:
    """All that is there goes to the buyer, which ends the escrow."""
    draft.return_all("returned")
    end = State.EXPIRED if row.funded_at is None else State.REFUNDED
    if draft.parts.released_units or row.state == State.DISPUTED:
        end = State.RESOLVED
    move(tx, draft, end, reason="returned", actor=actor)
    return escrow_books.tell(tx, row, end)


def _stay(tx: Tx, row: Row[Any], draft: Draft, word: str, reason: str | None, actor: str | None = None) -> View:
    move(tx, draft, State(row.state), reason=reason, actor=actor)
    return escrow_books.tell(tx, row, word)


def _text(tx: Tx, row: Row[Any], units: int) -> str:
    decimals = tx.value(asset.select().with_only_columns(asset.c.decimals).where(asset.c.code == row.asset))
    return f"{format_units(units, decimals)} {row.asset}"
