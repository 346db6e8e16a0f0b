"""What the steps of a swap find: the words of its table."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row

from jobs.saga import Outcome
from jobs.swap import view as swap_view
from ledger.db import Tx


class StillWaiting(Outcome):
    """Nothing changed that matters; the reason says what is waited for."""


class Executed(Outcome):
    """Both legs are booked in this outcome's own transaction."""


class Unwanted(Outcome):
    """What came in cannot be exchanged on terms that the customer agreed to: it goes back."""


class Expired(Outcome):
    """Nothing came in time: what was reserved is free again."""


class PaidOut(Outcome):
    """A withdrawal holds what was bought."""


class Completed(Outcome):
    """The customer has what he bought, in the balance or at his address."""


class Failed(Outcome):
    """The payout will not be made; what was bought stays in the account's balance."""


class Refunded(Outcome):
    """What came in is back with the customer, at his address or in the account's balance."""


def announce(tx: Tx, row: Row[Any]) -> None:
    """The event of the state that an outcome has just been written as."""
    swap_view.tell(tx, row.id)
