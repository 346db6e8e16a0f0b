"""What was bought leaves for its address, as a withdrawal of the account like any other."""

from __future__ import annotations

from functools import partial
from typing import Any

from sqlalchemy import Row, select, update

from jobs import alarms, moves, withdrawal
from jobs.caller import Caller
from jobs.saga import SECOND, Outcome
from jobs.services import Services
from jobs.swap import books as swap_books
from jobs.swap.outcomes import Completed, Failed, PaidOut, StillWaiting, announce
from jobs.swap.state import FUNDING_REVERSED
from ledger.db import Tx
from ledger.errors import AccountFrozen, AssetPaused, InvalidInput, Refused
from ledger.schema import swap
from ledger.schema import withdrawal as withdrawal_table

#: How long until a payout that was refused for a passing reason is asked for again.
AGAIN_US = 20 * SECOND
#: The withdrawal wakes its swap when it ends; this is only how long a lost wake-up may cost.
LOOK_US = 600 * SECOND
#: Withdrawals that paid nobody; their money is back in the account's balance.
UNPAID = ("failed", "rejected", "cancelled")
#: Reasons that begin so end the swap as failed.
GIVEN_UP = "payout_"
#: Its row was written by somebody else.
CHANGED = "row_changed"
CHANGED_ALARM = "swap_changed"
CHANGED_DETAIL = "the swap's row is not what the API committed: nothing is paid by it"


def executed(row: Row[Any], services: Services) -> Outcome:
    if row.payout_address is None:
        return Completed(reason=row.status_reason, due_us=None, effect=announce)
    if row.withdrawal_id is not None:
        return PaidOut(reason=row.status_reason, effect=announce)
    if (row.status_reason or "").startswith(GIVEN_UP):
        return Failed(reason=row.status_reason, detail=row.status_detail, due_us=None, effect=announce)
    again = partial(place, services)
    return StillWaiting(reason=row.status_reason, detail=row.status_detail, due_us=AGAIN_US, effect=again)


def paying_out(row: Row[Any], services: Services) -> Outcome:
    state = services.database.read(partial(state_of, row.withdrawal_id))
    undone = row.status_reason if row.status_reason == FUNDING_REVERSED else None
    if state == "completed":
        return Completed(reason=row.status_reason, due_us=None, effect=announce)
    if state in UNPAID:
        detail = "what was bought, and the network fee, are in the account's balance"
        return Failed(reason=undone or f"{GIVEN_UP}{state}", detail=detail, due_us=None, effect=announce)
    return StillWaiting(reason=undone or ("payout_review" if state == "review" else None), due_us=LOOK_US)


def place(services: Services, tx: Tx, row: Row[Any]) -> None:
    """Ask for the payout of an executed swap, in the transaction that holds its row.

    A refusal undoes nothing else: one that passes is tried again, any other ends the swap as failed, with what was
    bought in the balance.
    """
    now = moves.lock(tx, swap, row.id)
    if now.payout_address is None or now.withdrawal_id is not None:
        return
    if not intact(tx, now, services):
        write(tx, now, status_reason=f"{GIVEN_UP}{CHANGED}", status_detail=CHANGED_DETAIL)
        return
    try:
        with tx.savepoint():
            made = withdrawal.request(tx, caller_of(now), swap_books.payout_order(now), services)
        write(tx, now, withdrawal_id=made.id)
    except (AssetPaused, AccountFrozen) as error:
        waits = "paused" if isinstance(error, AssetPaused) else error.code
        reason = FUNDING_REVERSED if now.status_reason == FUNDING_REVERSED else waits
        write(tx, now, due_us=AGAIN_US, status_reason=reason, status_detail=error.detail[:512])
    except (Refused, InvalidInput) as error:
        write(tx, now, status_reason=f"{GIVEN_UP}{error.code}", status_detail=error.detail[:512])


def intact(tx: Tx, row: Row[Any], services: Services) -> bool:
    """Whether the swap is the one that the API committed. A worker that asks withdrawals by its row would otherwise
    sign for whoever can write to the database. Raises an alarm when it is not."""
    mac = services.require_mac()
    if mac.same(row.mac, mac.swap(row)):
        return True
    alarms.raise_(tx, CHANGED_ALARM, row.public_id, CHANGED_DETAIL)
    return False


def caller_of(row: Row[Any]) -> Caller:
    """Who accepted the quote: the withdrawal is asked for in his name, so that he cannot be the one to approve it."""
    return Caller(row.project_id, row.created_by, row.actor, row.actor)


def state_of(withdrawal_id: int, tx: Tx) -> str:
    return str(tx.value(select(withdrawal_table.c.state).where(withdrawal_table.c.id == withdrawal_id)))


def write(tx: Tx, row: Row[Any], *, due_us: int = 0, **values: Any) -> None:
    """More columns of a row whose step writes its outcome in this transaction."""
    tx.execute(update(swap).where(swap.c.id == row.id).values(due_at=tx.now + due_us, **values))
    tx.wake("swap", row.id)
