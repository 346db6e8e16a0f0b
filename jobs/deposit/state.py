"""The public states of a deposit."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    DETECTED = "detected"  #: in the pool: shown, never spendable
    CONFIRMING = "confirming"  #: in a block, not deep enough for its amount
    CREDITED = "credited"  #: in the ledger and spendable; a reorganisation can still take it
    FINAL = "final"  #: too deep to be looked at again
    REVERSED = "reversed"  #: no longer in the chain or the pool; comes back by itself if its transaction does
    HELD = "held"  #: booked to suspense: it belongs to nobody we know, or a person must decide
    IGNORED = "ignored"  #: below the published minimum: booked to dust and listed


#: States in which the chain can still change the deposit, so that the scanner keeps asking for it.
OPEN_STATES = tuple(str(s) for s in State if s is not State.FINAL)

#: Deposits whose key begins so are balances that no transaction explains: no node can be asked about them.
SURPLUS_PREFIX = "surplus:"
