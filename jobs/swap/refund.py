"""What came in for a swap and was not exchanged goes back: to the refund address less the network fee, or, where that
cannot be, into the account's balance. It never stays with the swap, and it never goes both ways."""

from __future__ import annotations

from functools import partial
from typing import Any

from sqlalchemy import Row

from jobs import debts, moves, withdrawal
from jobs.saga import Outcome
from jobs.services import Services
from jobs.swap import money as swap_money
from jobs.swap.outcomes import Refunded, StillWaiting, announce
from jobs.swap.payout import AGAIN_US, CHANGED, CHANGED_DETAIL, LOOK_US, UNPAID, caller_of, intact, state_of, write
from jobs.swap.state import FUNDING_REVERSED
from jobs.withdrawal_terms import Order
from ledger import postings
from ledger.db import Tx
from ledger.errors import AccountFrozen, AssetPaused, InvalidAmount, InvalidInput, Refused
from ledger.postings import Leg
from ledger.schema import swap


def refunding(row: Row[Any], services: Services) -> Outcome:
    if row.refund_withdrawal_id is not None:
        state = services.database.read(partial(state_of, row.refund_withdrawal_id))
        if state == "completed":
            return Refunded(reason=row.status_reason, detail=row.status_detail, due_us=None, effect=announce)
        if state in UNPAID:
            if row.status_reason == FUNDING_REVERSED:  # which has cancelled it: there is nothing to give back
                return Refunded(reason=FUNDING_REVERSED, due_us=None, effect=announce)
            detail = "the refund was not paid; what came in is in the account's balance"
            return Refunded(reason=f"refund_{state}", detail=detail, due_us=None, effect=announce)
        return StillWaiting(reason=row.status_reason, detail=row.status_detail, due_us=LOOK_US)
    if row.held_units == 0:
        return Refunded(reason=row.status_reason, detail=row.status_detail, due_us=None, effect=announce)
    again = partial(give_back, services)
    return StillWaiting(reason=row.status_reason, detail=row.status_detail, due_us=AGAIN_US, effect=again)


def give_back(services: Services, tx: Tx, row: Row[Any]) -> None:
    """Ask for the withdrawal that pays it back, or put it into the balance where there can be none."""
    now = moves.lock(tx, swap, row.id)
    if now.held_units == 0 or now.refund_withdrawal_id is not None:
        return
    if now.refund_address is None:
        to_balance(tx, now, "to_balance", "no refund address was given")
        return
    if not intact(tx, now, services):
        to_balance(tx, now, CHANGED, CHANGED_DETAIL)
        return
    try:
        with tx.savepoint():
            _pay_back(tx, now, services)
    except AssetPaused as error:
        write(tx, now, due_us=AGAIN_US, status_detail=error.detail[:512])
    except AccountFrozen as error:
        to_balance(tx, now, error.code, error.detail)
    except InvalidAmount as error:
        to_balance(tx, now, "below_fee", error.detail)
    except (Refused, InvalidInput) as error:
        to_balance(tx, now, f"refund_{error.code}", error.detail)


def _pay_back(tx: Tx, row: Row[Any], services: Services) -> None:
    _release(tx, row)
    order = Order(
        row.account_id,
        row.sell_asset,
        row.held_units,
        row.refund_address,
        f"swap:{row.public_id}:refund",
        fee_from="amount",
        metadata=row.metadata,
    )
    made = withdrawal.request(tx, caller_of(row), order, services)
    write(tx, row, refund_withdrawal_id=made.id, held_units=0, refunds=row.refunds + 1, status_detail=None)


def to_balance(tx: Tx, row: Row[Any], reason: str, detail: str) -> None:
    """All that the swap holds becomes the account's to spend; `row` is locked."""
    _release(tx, row)
    values = {"held_units": 0, "refunds": row.refunds + 1, "status_reason": reason, "status_detail": detail[:512]}
    write(tx, row, **values)
    debts.collect(tx, row.account_id, row.sell_asset, f"swap:{row.id}:refund:{row.refunds + 1}")


def _release(tx: Tx, row: Row[Any]) -> None:
    leg = Leg((row.account_id, "swap"), (row.account_id, "available"), row.held_units)
    key = f"swap:{row.id}:refund:{row.refunds + 1}"
    postings.post(tx, key, "swap_refund", row.sell_asset, [leg], ("swap", row.id))
    swap_money.record_refund(tx, row)
