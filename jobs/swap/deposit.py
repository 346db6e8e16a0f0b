"""Deposits to the address of a swap: the swap's own while it collects, the account's to spend at any other time."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row

from jobs import moves, withdrawal
from jobs.deposit import requests as payment_requests
from jobs.swap import view as swap_view
from jobs.swap.saga import SWAP
from jobs.swap.state import COLLECTING, FUNDING_REVERSED, State
from jobs.trace import dependants
from ledger.accounts import Owner
from ledger.db import Tx
from ledger.schema import swap


class SwapPurpose:
    """See `jobs.purposes.Purpose`."""

    def owner(self, tx: Tx, paid: Row[Any], home: Row[Any]) -> Owner:
        row = moves.lock(tx, swap, home.purpose_id)
        return row.account_id, "swap" if paid.asset == row.sell_asset and _collects(row) else "available"

    def credited(self, tx: Tx, paid: Row[Any], home: Row[Any], owner: Owner) -> None:
        payment_requests.count(tx, paid, paid.units)
        row = moves.lock(tx, swap, home.purpose_id)
        if owner[1] == "swap":
            values = {"held_units": row.held_units + paid.units, "received_units": row.received_units + paid.units}
            since = row.requote_since if row.held_units else None  # what rates are waited for is another payment now
            reason = "late_deposit" if row.state == State.EXPIRED else row.status_reason
            _stay(tx, row, reason, values | {"requote_since": since})
            swap_view.tell(tx, row.id, "paid_in")
        elif row.status_reason == FUNDING_REVERSED and paid.asset == row.sell_asset:
            _stay(tx, row, "funding_returned", {})
            swap_view.tell(tx, row.id, "funding_returned")

    def take_back(self, tx: Tx, paid: Row[Any], home: Row[Any], owner: Owner, key: str, ref: tuple[str, int]) -> int:
        """From what the swap still holds, then from the balance. Money that left for a refund or a payout comes back
        first where it has joined no payment yet: a refund always, a payout where the account would owe otherwise."""
        payment_requests.count(tx, paid, -paid.units)
        row = moves.lock(tx, swap, home.purpose_id)
        if owner[1] != "swap":
            owed = dependants.take_back(tx, paid, owner[0], key, ref)
            dependants.freeze(tx, paid, owner[0], owed)
            return owed
        _stop(tx, row.refund_withdrawal_id)
        taken = min(paid.units, row.held_units)
        owed = dependants.take_back(tx, paid, owner[0], key, ref, first=("swap", taken))
        if owed:
            _stop(tx, row.withdrawal_id)
            dependants.freeze(tx, paid, owner[0], owed)
        values = {"held_units": row.held_units - taken, "received_units": row.received_units - taken}
        _stay(tx, moves.lock(tx, swap, row.id), FUNDING_REVERSED, values | {"requote_since": None})
        swap_view.tell(tx, row.id, FUNDING_REVERSED)
        return owed


def _collects(row: Row[Any]) -> bool:
    waits = row.state == State.REFUNDING and row.refund_withdrawal_id is None
    return row.state in COLLECTING or waits


def _stay(tx: Tx, row: Row[Any], reason: str | None, values: dict[str, Any]) -> None:
    """Its step runs anew, and one that is under way is fenced off: it has judged by other amounts."""
    moves.move(tx, SWAP, row, State(row.state), reason=reason, **values)


def _stop(tx: Tx, withdrawal_id: int | None) -> None:
    """Take a withdrawal back, where it can still be, and cannot have been paid by what this database does not know:
    what it holds is owed then, and as long as it is, the account is frozen and nothing leaves."""
    if withdrawal_id is None:
        return
    withdrawal.take_back(tx, withdrawal.lock_all(tx, [withdrawal_id])[0])
