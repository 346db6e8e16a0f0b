"""What ends an escrow: release, refund, dispute, an arbiter's split, cancellation. Each is one transaction.

Whoever locks the row first decides; whoever comes after finds another state and is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row

from jobs import withdrawal
from jobs.caller import Caller
from jobs.escrow import books as escrow_books
from jobs.escrow.books import Draft
from jobs.escrow.funding import locked
from jobs.escrow.saga import check_free, ending, move
from jobs.escrow.state import State
from jobs.services import Services
from jobs.views import View
from jobs.withdrawal_terms import Order
from ledger import pauses
from ledger.db import Tx
from ledger.errors import InvalidAmount, StateConflict


@dataclass(frozen=True, slots=True)
class Payout:
    """Where what the vendor gets goes on to, in the same transaction. The withdrawal's own rules hold for it."""

    address: str
    reference: str
    fee_from: str = "amount"


def release(
    tx: Tx,
    caller: Caller,
    escrow_id: int,
    units: int | None = None,
    payout: Payout | None = None,
    services: Services | None = None,
) -> View:
    """Give the vendor all that is left of the price, or `units` of it; it can be spent at once.

    With a `payout` (which needs `services`) it is withdrawn as well: all or nothing.
    Raises `StateConflict`, `InvalidAmount`, `AccountFrozen` (the buyer or the order), `AssetPaused`, and with a payout
    whatever a withdrawal raises.
    """
    row = _funded(tx, caller, escrow_id)
    check_free(tx, row)
    draft = Draft(tx, row)
    vendor_units = draft.release(_part(draft, units))
    if payout is not None:
        assert services is not None, "a payout needs services"
        _pay_out(tx, caller, draft, vendor_units, payout, services)
    return _ended(tx, row, draft, "partially_released", caller.name)


def refund(tx: Tx, caller: Caller, escrow_id: int, units: int | None = None) -> View:
    """Give the buyer all that is left of the price back, or `units` of it, with the fee that it would have borne."""
    row = _funded(tx, caller, escrow_id)
    draft = Draft(tx, row)
    draft.refund(_part(draft, units))
    return _ended(tx, row, draft, "partially_refunded", caller.name)


def dispute(tx: Tx, caller: Caller, escrow_id: int, reason: str) -> View:
    """From now on only the arbiter moves the money, and no deadline does."""
    row = locked(tx, caller, escrow_id)
    _require(row, State.FUNDED)
    move(tx, Draft(tx, row), State.DISPUTED, reason=reason[:64], actor=caller.name)
    return escrow_books.tell(tx, row, State.DISPUTED)


def resolve(tx: Tx, caller: Caller, escrow_id: int, vendor_units: int, buyer_units: int | None = None) -> View:
    """The arbiter's word: so much of what is left of the price to the vendor, the rest to the buyer.

    The fee of the vendor's part is rounded down, the buyer's part bears none. `buyer_units`, if given, is the rest.
    """
    row = locked(tx, caller, escrow_id)
    if row.arbiter == "operator" and caller.key_id is not None:
        raise StateConflict("only an operator may resolve it", status=row.state)
    _require(row, State.DISPUTED)
    pauses.check(tx, row.asset, "escrows")
    draft = Draft(tx, row)
    draft.return_surplus("resolved")
    _require_whole(row, draft)
    rest = draft.parts.left - vendor_units
    if rest < 0:
        raise InvalidAmount("/vendor_amount", "is more than is left of the price")
    if buyer_units is not None and buyer_units != rest:
        raise InvalidAmount("/buyer_amount", "must be the rest of the price; it may be left out")
    if vendor_units:
        check_free(tx, row)
        draft.release(vendor_units, "resolved")
    if rest:
        draft.refund(rest, "resolved")
    reason = "split" if vendor_units and rest else "to_vendor" if vendor_units else "to_buyer"
    move(tx, draft, State.RESOLVED, reason=reason, actor=caller.name)
    return escrow_books.tell(tx, row, State.RESOLVED)


def cancel(tx: Tx, caller: Caller, escrow_id: int) -> View:
    """Call it off while it awaits its funds; what has come goes to the buyer."""
    row = locked(tx, caller, escrow_id)
    _require(row, State.AWAITING_FUNDS)
    pauses.check(tx, row.asset, "escrows")
    if row.released_units or row.refunded_units:
        raise StateConflict("a part of it was moved before; decide about the rest", status=row.state)
    draft = Draft(tx, row)
    draft.return_all("cancelled")
    move(tx, draft, State.CANCELLED, actor=caller.name)
    return escrow_books.tell(tx, row, State.CANCELLED)


def _funded(tx: Tx, caller: Caller, escrow_id: int) -> Row[Any]:
    row = locked(tx, caller, escrow_id)
    _require(row, State.FUNDED)
    pauses.check(tx, row.asset, "escrows")
    _require_whole(row, Draft(tx, row))
    return row


def _require(row: Row[Any], state: State) -> None:
    if row.state != state:
        raise StateConflict(f"it is {row.state}; this needs one that is {state}", status=row.state)


def _require_whole(row: Row[Any], draft: Draft) -> None:
    if draft.parts.surplus or draft.parts.missing:
        what = "more" if draft.parts.surplus else "less"
        raise StateConflict(f"{what} lies in it than the price asks for: decide about that first", status=row.state)


def _part(draft: Draft, units: int | None) -> int:
    if units is not None and units > draft.parts.left:
        raise InvalidAmount("/amount", "is more than is left of the price")
    return draft.parts.left if units is None else units


def _pay_out(tx: Tx, caller: Caller, draft: Draft, units: int, payout: Payout, services: Services) -> None:
    row = draft.row
    if units == 0:
        raise InvalidAmount("/amount", "leaves nothing to be paid out")
    order = Order(row.vendor_id, row.asset, units, payout.address, payout.reference, payout.fee_from)
    made = withdrawal.request(tx, caller, order, services)
    total = int(made.shown["total"]["units"])
    draft.paid_out(made.id, total)


def _ended(tx: Tx, row: Row[Any], draft: Draft, partly: str, actor: str) -> View:
    """Into the final state when nothing is left; otherwise it stays funded, and `partly` tells of it."""
    if draft.parts.left:
        move(tx, draft, State.FUNDED, actor=actor)
        return escrow_books.tell(tx, row, partly)
    end = ending(draft.parts)
    reason = "split" if end is State.RESOLVED else None
    move(tx, draft, end, reason=reason, actor=actor)
    return escrow_books.tell(tx, row, end)
