"""Swap: one asset for another at a quoted rate, from a balance or from a deposit to an address of its own.

A balance swap is executed by the request that makes it and only pays out here. A deposit swap collects what comes to
its address (`jobs.swap.deposit`), is judged (`jobs.swap.judge`), and ends in a payout or in a refund. No step asks a
node.
"""

from __future__ import annotations

from jobs.saga import Saga, Step
from jobs.swap import judge as swap_judge
from jobs.swap import payout as swap_payout
from jobs.swap import refund as swap_refund
from jobs.swap.outcomes import (
    Completed,
    Executed,
    Expired,
    Failed,
    PaidOut,
    Refunded,
    StillWaiting,
    Unwanted,
)
from jobs.swap.state import State
from ledger.schema import swap

SWAP = Saga(
    "swap",
    swap,
    start=State.AWAITING_DEPOSIT,
    final=frozenset({State.COMPLETED, State.REFUNDED, State.FAILED}),
    steps={
        State.AWAITING_DEPOSIT: Step(
            swap_judge.awaiting_deposit,
            {
                StillWaiting: State.AWAITING_DEPOSIT,
                Executed: State.EXECUTED,
                Unwanted: State.REFUNDING,
                Expired: State.EXPIRED,
            },
        ),
        State.EXPIRED: Step(
            swap_judge.expired,
            {StillWaiting: State.EXPIRED, Executed: State.EXECUTED, Unwanted: State.REFUNDING},
        ),
        State.EXECUTED: Step(
            swap_payout.executed,
            {
                StillWaiting: State.EXECUTED,
                PaidOut: State.PAYING_OUT,
                Completed: State.COMPLETED,
                Failed: State.FAILED,
            },
        ),
        State.PAYING_OUT: Step(
            swap_payout.paying_out,
            {StillWaiting: State.PAYING_OUT, Completed: State.COMPLETED, Failed: State.FAILED},
        ),
        State.REFUNDING: Step(swap_refund.refunding, {StillWaiting: State.REFUNDING, Refunded: State.REFUNDED}),
    },
    asked={  # by operators: see jobs.swap.resolve
        State.AWAITING_DEPOSIT: frozenset({State.REFUNDING}),
        State.EXPIRED: frozenset({State.REFUNDING}),
        State.EXECUTED: frozenset({State.FAILED}),
    },
)
