"""The states of an escrow."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    AWAITING_FUNDS = "awaiting_funds"  #: made; what funds it has not all come, or a person must decide about it
    FUNDED = "funded"  #: the whole price lies in escrow
    DISPUTED = "disputed"  #: one side objects; only the arbiter moves the money
    RELEASED = "released"  #: the vendor has the price
    REFUNDED = "refunded"  #: the buyer has the price back
    RESOLVED = "resolved"  #: the price was split between the two
    EXPIRED = "expired"  #: it was not funded in time; what had come is back with the buyer
    CANCELLED = "cancelled"  #: called off before it was funded; what had come is back with the buyer


#: States that end an escrow. Money that comes to its address in one of them but EXPIRED is the buyer's to spend.
ENDED = frozenset({State.RELEASED, State.REFUNDED, State.RESOLVED, State.EXPIRED, State.CANCELLED})
