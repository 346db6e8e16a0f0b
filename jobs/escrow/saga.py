"""Escrow: money waits between a buyer and a vendor until one of them, or an arbiter, says whose it is.

Requests move it (`jobs.escrow.funding`, `jobs.escrow.ending`) and deposits do (`jobs.escrow.purpose`); the steps here
only see to it that its deadlines are kept, by the database's clock. Nothing in it calls a node.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from sqlalchemy import Row, select

from jobs import moves
from jobs.escrow import books as escrow_books
from jobs.escrow import frozen_parts
from jobs.escrow.books import Draft
from jobs.escrow.state import State
from jobs.escrow.terms import Parts, parts_of
from jobs.saga import SECOND, Outcome, Saga, Step
from jobs.services import Services
from ledger import accounts, pauses
from ledger.db import Tx
from ledger.errors import AccountFrozen
from ledger.schema import deposit, escrow

#: Why an escrow that is not funded waits for a person instead of its deadline: too little came in time, something came
#: too late, or the chain took back what had funded it.
DECISIONS = ("underpaid", "late", "funding_reversed")

#: A payment that was seen in time is waited for; its deposit wakes the escrow as well.
CONFIRMING_US = 60 * SECOND
STANDSTILL_US = 5 * SECOND
#: One that is funded late is not ended by its deadline sooner than this.
LEAST_US = 3_600 * SECOND


class StillWaiting(Outcome):
    """Its time has not come, or something keeps it from going on."""


class Accepted(Outcome):
    """Too little came in time, and its terms say that this is enough."""


class Lapsed(Outcome):
    """It was not funded in time."""


class Released(Outcome):
    """Its deadline has come: the vendor gets the price."""


class Refunded(Outcome):
    """Its deadline has come: the buyer gets the price back."""


class Divided(Outcome):
    """Its deadline has come: the rest goes to one side, after the other has got a part."""


def await_funds(row: Row[Any], services: Services) -> Outcome:
    """AWAITING_FUNDS: what becomes of it when the funding deadline is over."""
    wait = due_us(row, State.AWAITING_FUNDS, parts_of(row), row.status_reason, services.database.now())
    if wait is None or wait > 0:
        return StillWaiting(due_us=wait, reason=row.status_reason, detail=row.status_detail)
    confirming, paused = services.database.read(lambda tx: (_confirming(tx, row), _paused(tx, row)))
    if confirming:
        return StillWaiting(due_us=CONFIRMING_US, reason="confirming")
    if paused is not None:
        return StillWaiting(due_us=STANDSTILL_US, reason="paused", detail=paused)
    if row.held_units == 0 or row.on_underpaid == "wait":
        return Lapsed(effect=_lapse, due_us=None, reason="not_funded" if row.held_units == 0 else "underpaid")
    if row.on_underpaid == "accept":
        return Accepted(effect=_accept, reason="underpaid")
    effect = partial(_tell, "awaiting_decision")
    return StillWaiting(due_us=None, reason="underpaid", effect=effect)


def await_deadline(row: Row[Any], services: Services) -> Outcome:
    """FUNDED: what happens by itself when nobody has moved it until its deadline."""
    parts = parts_of(row)
    wait = due_us(row, State.FUNDED, parts, row.status_reason, services.database.now())
    if wait is None or wait > 0:
        return StillWaiting(due_us=wait, reason=row.status_reason, detail=row.status_detail)
    releasing = row.at_deadline == "release"
    hindrance = services.database.read(lambda tx: _hindrance(tx, row, releasing))
    if hindrance is not None:
        return StillWaiting(due_us=STANDSTILL_US, reason=hindrance[0], detail=hindrance[1])
    end = partial(_end, "release" if releasing else "refund")
    if parts.refunded_units if releasing else parts.released_units:
        return Divided(effect=end, due_us=None, reason="deadline")
    return (Released if releasing else Refunded)(effect=end, due_us=None, reason="deadline")


def deadline_of(row: Row[Any], now: int, *, late: bool = False) -> int | None:
    """The deadline of one that becomes funded now. Funded `late`, or when its deadline is over, it gets the time anew
    that was agreed on between the two: it must not end in the moment in which it begins."""
    deadline: int | None = row.deadline
    if deadline is None or not (late or deadline <= now):
        return deadline
    agreed = deadline - int(row.funding_deadline or row.created_at)
    return max(deadline, now + max(agreed, LEAST_US))


def due_us(
    row: Row[Any], state: State, parts: Parts, reason: str | None, now: int, deadline: int | None = None
) -> int | None:
    """How long until its step must look at it, in this state with these amounts; None: never by itself. `deadline`: if
    it is another now than the row says."""
    moment = None
    if state is State.AWAITING_FUNDS and reason not in DECISIONS:
        moment = row.funding_deadline
    if state is State.FUNDED and parts.surplus == 0:
        moment = deadline or row.deadline
    return None if moment is None else max(0, moment - now)


def check_free(tx: Tx, row: Row[Any]) -> None:
    """Nothing goes to the vendor while whoever paid for it may not spend, nor while it came from a deposit that has
    left the chain. Raises `AccountFrozen`.

    `row` is locked where money is moved after this: a reversal locks it as well before it freezes an account or a part
    (`jobs.trace.dependants`), so that what is read here stays true."""
    for account_id in (row.buyer_id, row.order_id):
        if account_id is not None:
            accounts.check_not_frozen(tx, account_id)
    if frozen_parts.in_place(tx, ("escrow", row.id)):
        raise AccountFrozen("what it was funded with came from a deposit that has left the chain")


def _confirming(tx: Tx, row: Row[Any]) -> bool:
    """Whether a payment to its address was seen in time and is on its way into the ledger."""
    if row.address_id is None:
        return False
    d = deposit.c
    seen = (d.address_id == row.address_id) & (d.asset == row.asset) & (d.late == 0)
    return tx.value(select(d.id).where(seen, d.state.in_(("detected", "confirming"))).limit(1)) is not None


def _paused(tx: Tx, row: Row[Any]) -> str | None:
    why = pauses.reason(tx, row.asset, "escrows")
    return None if why is None else why[:512]


def _hindrance(tx: Tx, row: Row[Any], releasing: bool) -> tuple[str, str] | None:
    why = _paused(tx, row)
    if why is not None:
        return "paused", why
    try:
        if releasing:
            check_free(tx, row)
    except AccountFrozen as error:
        return "account_frozen", error.detail[:512]
    return None


def _lapse(tx: Tx, row: Row[Any]) -> None:
    draft = Draft(tx, row)
    draft.return_all("not_funded")
    escrow_books.write(tx, draft)
    _tell("expired", tx, row)


def _accept(tx: Tx, row: Row[Any]) -> None:
    draft = Draft(tx, row)
    draft.parts = draft.parts.shrunk()
    escrow_books.write(tx, draft, funded_at=tx.now, deadline=deadline_of(row, tx.now, late=True))
    _tell("funded", tx, row)


def _end(way: str, tx: Tx, row: Row[Any]) -> None:
    draft = Draft(tx, row)
    if way == "release":
        check_free(tx, row)
        draft.release(draft.parts.left, "deadline")
    else:
        draft.refund(draft.parts.left, "deadline")
    escrow_books.write(tx, draft)
    _tell(str(ending(draft.parts)), tx, row)


def _tell(word: str, tx: Tx, row: Row[Any]) -> None:
    escrow_books.tell(tx, row, word)


def ending(parts: Parts) -> State:
    """The final state of an escrow of which nothing is left."""
    if parts.released_units and parts.refunded_units:
        return State.RESOLVED
    return State.RELEASED if parts.released_units else State.REFUNDED


ESCROW = Saga(
    "escrow",
    escrow,
    start=State.AWAITING_FUNDS,
    final=frozenset({State.RELEASED, State.REFUNDED, State.RESOLVED, State.EXPIRED, State.CANCELLED}),
    resting=frozenset({State.DISPUTED}),
    steps={
        State.AWAITING_FUNDS: Step(
            await_funds,
            {StillWaiting: State.AWAITING_FUNDS, Accepted: State.FUNDED, Lapsed: State.EXPIRED},
        ),
        State.FUNDED: Step(
            await_deadline,
            {
                StillWaiting: State.FUNDED,
                Released: State.RELEASED,
                Refunded: State.REFUNDED,
                Divided: State.RESOLVED,
            },
        ),
    },
    asked={
        State.AWAITING_FUNDS: frozenset({State.FUNDED, State.CANCELLED, State.EXPIRED, State.REFUNDED, State.RESOLVED}),
        State.FUNDED: frozenset({State.AWAITING_FUNDS, State.DISPUTED, State.RELEASED, State.REFUNDED, State.RESOLVED}),
        State.DISPUTED: frozenset({State.RESOLVED}),
        State.EXPIRED: frozenset({State.AWAITING_FUNDS, State.FUNDED}),
    },
)


def move(
    tx: Tx, draft: Draft, to: State, *, reason: str | None = None, actor: str | None = None, **values: Any
) -> None:
    """Write the drafted row, which is locked, into a state, with its amounts, history and next deadline."""
    due = due_us(draft.row, to, draft.parts, reason, tx.now, values.get("deadline"))
    moves.move(tx, ESCROW, draft.row, to, reason=reason, actor=actor, due_us=due, **draft.finish(), **values)
