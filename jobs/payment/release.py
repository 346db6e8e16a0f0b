"""The step that lets a payment go: only one of which nothing can ever confirm.

Whatever brought the row here, the chain is asked again: a payment that was never meant to be sent must be nowhere, and
one that was must have lost its resources to another transaction, buried for good (FAULTS 2.3, rule 14).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import Row, select, update

from jobs import alarms, withdrawal
from jobs.payment import books as payment_books
from jobs.payment import sealed, second_line
from jobs.payment.build import SIGNED_BEFORE
from jobs.payment.contents import Contents, contents, sign_request, stored
from jobs.payment.send import is_final
from jobs.saga import SECOND, Outcome
from jobs.services import Services, require_healthy
from jobs.signer import SignerRefused
from jobs.signer.entries import Head
from jobs.signer.record import Known, digest_of
from jobs.signer.request import payload_of
from ledger import halts
from ledger.db import Tx
from ledger.schema import resource
from wallets.protocol import SignedTransaction, TxState, TxStatus

#: How long withdrawals rest after their payment was declined, by reason.
REST_SECONDS = {"outflow_cap": 300, "insufficient_hot_funds": 20, "hot_funds_locked": 60, "paused": 5}


#: Why a withdrawal is with a person that a restore left.
RESTORED = "restored"


class Released(Outcome):
    """Withdrawals and resources are free again."""


class StillAlive(Outcome):
    """A candidate can still confirm: nothing is let go, a person must look."""


def release(row: Row[Any], services: Services) -> Outcome:
    """Ask the chain, unlock the resources in the node, tell the signer, then let all go in one commit."""
    second_line.check(services, row.chain)
    if _signed_elsewhere(row, services):
        # The signer's record is told nothing: its entry has it refuse to pay the same again.
        return Released(due_us=None, reason=row.declined or row.status_reason, effect=_leave_aside)
    alive, proof = _judge(row, services)
    if alive is not None:
        return StillAlive(reason="still_alive", detail=alive, due_us=None, effect=partial(_for_review, alive))
    services.wallet(row.chain).free(services.database.read(lambda tx: _own_resources(tx, row.id)))
    head = services.require_signer().release(row.public_id, proof)  # others may sign what it was to pay
    told = row.status_detail if row.status_reason == row.declined else None
    return Released(
        due_us=None, reason=row.declined or row.status_reason, detail=told, effect=partial(_release, head=head)
    )


@dataclass(frozen=True)
class Facts:
    """What is known of a payment from both sides."""

    intended: bool  #: its bytes may have been sent, by the books or by the signer's record
    bytes: Sequence[SignedTransaction]  #: all that were ever signed for it
    odd: str | None  #: where the two sides contradict each other


def _judge(row: Row[Any], services: Services) -> tuple[str | None, str]:
    """Why this payment may not be let go, or None; and else by what proof it may."""
    facts = _facts(row, services)
    if facts.odd is not None:
        return facts.odd, ""
    wallet = services.wallet(row.chain)
    statuses = [(signed.txid, wallet.look_up(signed)) for signed in facts.bytes]
    dead = {txid for txid, status in statuses if _dead(row, services, status)}
    ended = any(_reverted(row, services, status) for _, status in statuses)  # its resources are used up for all others
    for txid, status in statuses:
        outrun = ended and status.state in (TxState.UNKNOWN, TxState.CONFLICTED)
        over = txid in dead or _unsent(status, facts.intended) or _reverted(row, services, status)
        if not over and not outrun:
            return f"{txid} is {status.state} at depth {status.depth} and may yet pay", ""
    if ended:
        return None, "reverted"
    return None, "dead" if statuses and len(dead) == len(statuses) else "unsent"


def _facts(row: Row[Any], services: Services) -> Facts:
    """The rows alone are never believed: whoever can write them could make a payment look unsent that is on its way."""

    def read(tx: Tx) -> tuple[bool, list[Row[Any]], Contents]:
        halts.check(tx, row.chain)  # rows that may not know what was sent let nothing go
        known = list(payment_books.candidates(tx, row.id))
        if known:
            require_healthy(tx, row.chain)
        return payment_books.intent_stands(tx, row.id), known, contents(tx, row)

    intended, rows, what = services.database.read(read)
    known = services.require_signer().known(row.public_id)
    ours = {found.txid: stored(found, row) for found in rows}
    if known is None:
        odd = "the signer does not know the bytes that were signed for it" if rows or intended else None
        return Facts(intended, (), odd)
    if known.candidates:
        services.database.read(lambda tx: require_healthy(tx, row.chain))
    lost = {
        c.txid: c.transaction for c in known.candidates if c.txid not in ours
    }  # a worker died before it stored them
    odd = _contradiction(row, what, known) or _strange_bytes(row, services, known, rows)
    return Facts(intended or known.left, (*ours.values(), *lost.values()), odd)


def _signed_elsewhere(row: Row[Any], services: Services) -> bool:
    """Whether the record knows bytes for a payment that this database never bound anything for: they were signed in a
    life that a restore has lost. All of its rows must say so; here is nothing then that could pay."""

    def bound_here(tx: Tx) -> bool:
        halts.check(tx, row.chain)
        own = tx.value(select(resource.c.id).where(resource.c.payment_id == row.id).limit(1)) is not None
        return own or bool(payment_books.candidates(tx, row.id)) or payment_books.intent_stands(tx, row.id)

    if row.proposal is not None or row.candidates or row.txid is not None:
        return False
    known = services.require_signer().known(row.public_id)
    return known is not None and not services.database.read(bound_here)


def _contradiction(row: Row[Any], what: Contents, known: Known) -> str | None:
    if known.payload != payload_of(sign_request(row, what)):
        return "the signer signed something else for it, which this database does not know and which may yet pay"
    return None


def _strange_bytes(row: Row[Any], services: Services, known: Known, rows: Sequence[Row[Any]]) -> str | None:
    """Rows that would have something else looked up than what was signed."""
    digests = {found.txid: found.digest for found in known.candidates}
    try:
        for found in rows:
            stands = sealed.opened(services, row, found)
            if digests.get(stands.txid) != digest_of(stands.txid, stands.raw, stands.payload):
                return f"the stored bytes of {stands.txid} are not what the signer signed"
    except SignerRefused as error:
        return str(error)
    return None


def _dead(row: Row[Any], services: Services, status: TxStatus) -> bool:
    """Another transaction has used its resources, for good."""
    return status.state is TxState.CONFLICTED and is_final(row, services, status)


def _unsent(status: TxStatus, intended: bool) -> bool:
    return not intended and status.state in (TxState.UNKNOWN, TxState.CONFLICTED)


def _reverted(row: Row[Any], services: Services, status: TxStatus) -> bool:
    """In the chain for good, where it paid nobody: by the chain's word, or by an operator's, who looked."""
    nobody = status.state is TxState.FAILED or (status.state is TxState.UNCLEAR and row.resolution is not None)
    return row.declined == payment_books.REVERTED and nobody and is_final(row, services, status)


def _for_review(detail: str, tx: Tx, row: Row[Any]) -> None:
    alarms.raise_(tx, "payment_still_alive", f"payment:{row.id}", detail)
    payment_books.project(tx, row.id, "review", reason="still_alive")


def _leave_aside(tx: Tx, row: Row[Any]) -> None:
    """Whatever an operator chose: its withdrawals stay with a person, who alone can tell whether they were paid."""
    halts.check(tx, row.chain)
    for member in payment_books.members(tx, row.id):
        if member.state != "review" or member.status_reason not in (*SIGNED_BEFORE, RESTORED):
            withdrawal.move(tx, member, "review", reason="signed_before", detail=f"it was signed in {row.public_id}")
    payment_books.let_go(tx, row, refund=False, reason=row.declined, not_before=tx.now, aside=True)


def _own_resources(tx: Tx, payment_id: int) -> list[str]:
    r = resource.c
    rows = tx.all(select(r.resource_key).where(r.payment_id == payment_id, r.live == 1))
    return [found.resource_key for found in rows]


def _release(tx: Tx, row: Row[Any], head: Head) -> None:
    second_line.note(tx, row.chain, head)
    tx.execute(update(resource).where(resource.c.payment_id == row.id).values(live=None))
    payment_books.undo_intent(tx, row)
    reason = row.declined or row.status_reason
    refund = row.resolution == "refund" or reason == "address_refused"
    rest_us = REST_SECONDS.get(reason or "", 0) * SECOND
    payment_books.let_go(tx, row, refund=refund, reason=reason, not_before=tx.now + rest_us)
