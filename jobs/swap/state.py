"""The states of a swap (SPEC, decision 16), apart from its steps for those who only read."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    AWAITING_DEPOSIT = "awaiting_deposit"  #: what it will give is reserved; the deposit may be on its way, or be short
    EXECUTED = "executed"  #: both legs are booked; what was bought is the account's, or held for the payout
    PAYING_OUT = "paying_out"  #: a withdrawal of its own carries what was bought
    COMPLETED = "completed"  #: exchanged, and paid out where a payout was asked for
    REFUNDING = "refunding"  #: it will not execute: what came in goes back
    REFUNDED = "refunded"  #: what came in was paid back, or stays in the account's balance; the reason says which
    EXPIRED = "expired"  #: nothing came in time; what comes later wakes it
    FAILED = "failed"  #: executed, but the payout was not made: what was bought stays in the account's balance


#: In these a credited deposit becomes the swap's own; in all others it is the account's to spend.
COLLECTING = (State.AWAITING_DEPOSIT, State.EXPIRED)

#: The reason of a swap whose deposit was undone by the chain.
FUNDING_REVERSED = "funding_reversed"
