"""The step that lets a payment go: only one of which nothing can ever confirm.

Whatever brought the row here, the chain is asked again: a payment that was never meant to be sent must be nowhere, and
one that was must have lost its resources to another transaction, buried for good (FAULTS 2.3, rule 14).
"""

from __future__ import annotations

from functools import partial
from typing import Any

from sqlalchemy import Row, select, update

from jobs import alarms
from jobs.payment import books as payment_books
from jobs.payment.contents import Contents, contents, sign_request, stored
from jobs.saga import SECOND, Outcome
from jobs.services import Services, require_healthy
from ledger import halts
from ledger.db import Tx
from ledger.policy import FINAL_DEPTH
from ledger.schema import resource
from wallets.protocol import TxState, TxStatus

#: How long withdrawals rest after their payment was declined, by reason.
REST_SECONDS = {"outflow_cap": 300, "insufficient_hot_funds": 20, "hot_funds_locked": 60, "paused": 5}


class Released(Outcome):
    """Withdrawals and resources are free again."""


class StillAlive(Outcome):
    """A candidate can still confirm: nothing is let go, a person must look."""


def release(row: Row[Any], services: Services) -> Outcome:
    """Ask the chain, unlock the resources in the node, tell the signer, then let all go in one commit."""
    alive = _alive(row, services)
    if alive is not None:
        return StillAlive(reason="still_alive", detail=alive, due_us=None, effect=partial(_for_review, alive))
    services.wallet(row.chain).free(services.database.read(lambda tx: _own_resources(tx, row.id)))
    services.require_signer().release(row.public_id)  # others may sign what it was to pay
    told = row.status_detail if row.status_reason == row.declined else None
    return Released(due_us=None, reason=row.declined or row.status_reason, detail=told, effect=_release)


def _alive(row: Row[Any], services: Services) -> str | None:
    """Why this payment may not be let go, or None."""

    def read(tx: Tx) -> tuple[bool, list[Row[Any]], Contents]:
        halts.check(tx, row.chain)  # rows that may not know what was sent let nothing go
        known = list(payment_books.candidates(tx, row.id))
        if known:
            require_healthy(tx, row.chain)
        return payment_books.intent_stands(tx, row.id), known, contents(tx, row)

    intended, known, what = services.database.read(read)
    if not intended and services.require_signer().contradicts(sign_request(row, what)):
        return "the signer signed something else for it, which this database does not know and which may yet pay"
    wallet = services.wallet(row.chain)
    statuses = [(candidate.txid, wallet.look_up(stored(candidate, row))) for candidate in known]
    ended = any(_reverted(row, status) for _, status in statuses)  # then its resources are used up for all others
    for txid, status in statuses:
        outrun = ended and status.state in (TxState.UNKNOWN, TxState.CONFLICTED)
        if not (_harmless(status, intended) or _reverted(row, status) or outrun):
            return f"{txid} is {status.state} at depth {status.depth} and may yet pay"
    return None


def _harmless(status: TxStatus, intended: bool) -> bool:
    if status.state is TxState.CONFLICTED and status.depth >= FINAL_DEPTH:
        return True
    return not intended and status.state in (TxState.UNKNOWN, TxState.CONFLICTED)


def _reverted(row: Row[Any], status: TxStatus) -> bool:
    """In the chain for good, where it paid nobody: by the chain's word, or by an operator's, who looked."""
    nobody = status.state is TxState.FAILED or (status.state is TxState.UNCLEAR and row.resolution is not None)
    return row.declined == payment_books.REVERTED and nobody


def _for_review(detail: str, tx: Tx, row: Row[Any]) -> None:
    alarms.raise_(tx, "payment_still_alive", f"payment:{row.id}", detail)
    payment_books.project(tx, row.id, "review", reason="still_alive")


def _own_resources(tx: Tx, payment_id: int) -> list[str]:
    r = resource.c
    rows = tx.all(select(r.resource_key).where(r.payment_id == payment_id, r.live == 1))
    return [found.resource_key for found in rows]


def _release(tx: Tx, row: Row[Any]) -> None:
    tx.execute(update(resource).where(resource.c.payment_id == row.id).values(live=None))
    payment_books.undo_intent(tx, row)
    reason = row.declined or row.status_reason
    refund = row.resolution == "refund" or reason == "address_refused"
    rest_us = REST_SECONDS.get(reason or "", 0) * SECOND
    payment_books.let_go(tx, row, refund=refund, reason=reason, not_before=tx.now + rest_us)
