"""What operators may decide about a swap that does not go on by itself. One transaction each, audited."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, select

from jobs import alarms, moves
from jobs.swap import books as swap_books
from jobs.swap import payout as swap_payout
from jobs.swap import refund as swap_refund
from jobs.swap import view as swap_view
from jobs.swap.saga import SWAP
from jobs.swap.state import COLLECTING, State
from ledger import audit
from ledger.db import Tx
from ledger.errors import NotFound, StateConflict
from ledger.schema import swap

BY_OPERATOR = "by_operator"


def refund(tx: Tx, public_id: str, actor: str, *, to_balance: bool = False) -> State:
    """Stop waiting for an exchange: what came in goes to the refund address, or into the balance. With `to_balance` a
    refund, or a payout of what was bought, that waits is no longer waited for either. The state that this leads to.

    Raises `NotFound`, `StateConflict` where nothing can be given back, or a withdrawal has it already.
    """
    row = _locked(tx, public_id)
    state = SWAP.state(row.state)
    if state in COLLECTING and row.held_units:
        swap_books.unreserve(tx, row)
        to = _move(tx, row, State.REFUNDING, actor, to_balance)
    elif state == State.REFUNDING and row.held_units and to_balance:
        to = _move(tx, row, State.REFUNDING, actor, to_balance)
    elif state == State.EXECUTED and row.withdrawal_id is None and row.payout_address is not None and to_balance:
        moves.move(tx, SWAP, row, State.FAILED, reason=f"payout_{BY_OPERATOR}", actor=actor)
        to = State.FAILED
    else:
        raise StateConflict("there is nothing of it to give back so", status=row.state)
    alarms.clear(tx, public_id, swap_payout.CHANGED_ALARM)
    audit.record(tx, actor, "swap.refund", public_id, {"to_balance": to_balance, "was": row.state})
    swap_view.tell(tx, row.id)
    return to


def _move(tx: Tx, row: Row[Any], to: State, actor: str, to_balance: bool) -> State:
    """Its step pays it back; into the balance it goes now."""
    moves.move(tx, SWAP, row, to, reason=BY_OPERATOR, actor=actor)
    if to_balance:
        swap_refund.to_balance(tx, moves.lock(tx, swap, row.id), BY_OPERATOR, "put into the balance by an operator")
    return to


def _locked(tx: Tx, public_id: str) -> Row[Any]:
    row_id = tx.value(select(swap.c.id).where(swap.c.public_id == public_id))
    if row_id is None:
        raise NotFound(f"no swap {public_id}")
    return moves.lock(tx, swap, int(row_id))
