"""Payment: the only way out to a chain.

Resources are stored before signing, signed bytes before the intent, the intent before sending. Once the intent stands
no path leads back to releasing the money, except through `review`, and from there only with the chain's proof that no
candidate can ever confirm.
"""

from __future__ import annotations

from enum import StrEnum

from jobs.payment import build, send
from jobs.payment import bump as payment_bump
from jobs.payment.build import Adjourned, Committed, Crowded, Declined, Disputed, Reserved, Signed
from jobs.payment.bump import Bumped, NotBumped
from jobs.payment.release import Released, StillAlive, release
from jobs.payment.send import (
    BumpDue,
    Contested,
    Final,
    NotSeen,
    ReorgedOut,
    Reverted,
    Seen,
    Settled,
    StillWaiting,
    Vanished,
)
from jobs.saga import Saga, Step
from ledger.schema import payment


class State(StrEnum):
    BUILDING = "building"  #: its withdrawals are chosen; no resource is bound, nothing is signed
    RESERVED = "reserved"  #: its resources are ours in the database and locked in the node; nothing is signed
    SIGNED = "signed"  #: signed bytes and txid are stored; nothing is sent
    BROADCAST = "broadcast"  #: the intent to send is committed; a node may have it; never back
    CONFIRMING = "confirming"  #: a node has a candidate in its pool or in a block
    BUMPING = "bumping"  #: a candidate with a higher fee on the same resources is being made
    SETTLED = "settled"  #: a candidate is deep enough and the ledger says paid; a reorganisation can undo it
    FINAL = "final"  #: buried too deep to be looked at again
    RELEASING = "releasing"  #: nothing of it can reach the chain; withdrawals and resources are being let go
    DEAD = "dead"  #: let go
    REVIEW = "review"  #: the chain left a question that a person must answer; `status_detail` says which


PAYMENT = Saga(
    "payment",
    payment,
    start=State.BUILDING,
    final=frozenset({State.FINAL, State.DEAD}),
    resting=frozenset({State.REVIEW}),
    review=State.REVIEW,
    steps={
        State.BUILDING: Step(
            build.reserve,
            {Reserved: State.RESERVED, Crowded: State.BUILDING, Declined: State.RELEASING, Disputed: State.REVIEW},
            exclusive=True,
        ),
        State.RESERVED: Step(
            build.sign,
            {Signed: State.SIGNED, Declined: State.RELEASING, Disputed: State.REVIEW},
            exclusive=True,
        ),
        State.SIGNED: Step(
            build.commit_intent,
            {
                Committed: State.BROADCAST,
                Adjourned: State.SIGNED,
                Declined: State.RELEASING,
                Disputed: State.REVIEW,
            },
        ),
        State.BROADCAST: Step(
            send.send_and_observe,
            {Seen: State.CONFIRMING, NotSeen: State.BROADCAST, BumpDue: State.BUMPING, Contested: State.REVIEW},
        ),
        State.CONFIRMING: Step(
            send.watch,
            {
                StillWaiting: State.CONFIRMING,
                Settled: State.SETTLED,
                Vanished: State.BROADCAST,
                BumpDue: State.BUMPING,
                Reverted: State.RELEASING,
                Contested: State.REVIEW,
            },
        ),
        State.BUMPING: Step(payment_bump.bump, {Bumped: State.BROADCAST, NotBumped: State.CONFIRMING}, exclusive=True),
        State.SETTLED: Step(
            send.watch_settled,
            {StillWaiting: State.SETTLED, Final: State.FINAL, ReorgedOut: State.BROADCAST},
        ),
        State.RELEASING: Step(release, {Released: State.DEAD, StillAlive: State.REVIEW}, exclusive=True),
    },
)
