"""Operators' acts on payments. Letting one go needs the chain's proof that it is dead, or that it never was sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row

from jobs import payment_books
from jobs.resolve import Busy, by_id, write
from jobs.services import chain_row
from ledger import audit, history
from ledger.db import Tx
from ledger.errors import InvalidInput, StateConflict
from ledger.policy import FINAL_DEPTH
from ledger.schema import payment
from wallets.protocol import TxState, TxStatus


@dataclass(frozen=True)
class Proof:
    """What a healthy node said of a payment's candidates, and the version of the row that was asked about."""

    version: int
    sights: Mapping[str, TxStatus]  #: by txid


def bump_payment(tx: Tx, public_id: str, rate: int | None, actor: str) -> int:
    """Ask for a candidate at a higher fee; the rate (sat per 1000 vB) it will offer. None: a quarter more, or the
    market's if that is higher."""
    row = by_id(tx, payment, public_id)
    if row.state not in ("broadcast", "confirming"):
        raise StateConflict(f"it is {row.state}; only a payment that waits for a block can be bumped", status=row.state)
    if row.height is not None:
        raise StateConflict("it is in a block already", status=row.state)
    newest = payment_books.candidates(tx, row.id)[0].rate
    asked = rate or min(row.rate_max, max(newest * 5 // 4, chain_row(tx, row.chain).fee_rate or 0))
    if not newest < asked <= row.rate_max:
        raise InvalidInput("/rate", f"must be above {newest} and at most {row.rate_max} (sat per 1000 vB)")
    write(tx, payment, row, {"bump_rate": asked, "due_at": tx.now})
    audit.record(tx, actor, "payment.bump", public_id, {"rate": asked, "rate_before": newest})
    tx.wake("payment", row.id)
    return int(asked)


def recheck_payment(tx: Tx, public_id: str, actor: str) -> str:
    """Look at a payment now; its state. One in review that may have been sent goes back to sending the same bytes."""
    row = by_id(tx, payment, public_id)
    values: dict[str, Any] = {"due_at": tx.now}
    if row.state in ("dead", "final"):
        raise StateConflict(f"it is {row.state}; there is nothing left to look at", status=row.state)
    if row.state == "review":
        back = _back_from_review(tx, row)
        values |= {"state": back, "status_reason": "rechecked", "status_detail": None, "crashes": 0}
        history.note(tx, "payment", row.id, row.state, back, "rechecked", actor)
        if back == "broadcast":
            payment_books.project(tx, row.id, back, reason="rechecked")
    write(tx, payment, row, values)
    audit.record(tx, actor, "payment.recheck", public_id, {"state": row.state})
    tx.wake("payment", row.id)
    return str(values.get("state", row.state))


def _back_from_review(tx: Tx, row: Row[Any]) -> str:
    """The state that a payment in review goes on from: each way forward sends the stored bytes and no others."""
    if row.settled_candidate is not None:
        return "settled"
    if payment_books.intent_stands(tx, row.id):
        return "broadcast"
    if row.candidates:
        return "signed"  # the intent is booked first, then the same bytes are sent
    raise StateConflict("it was never signed: resolve it with --retry or --refund", status=row.state)


def needs_proof(tx: Tx, public_id: str) -> tuple[Row[Any], Sequence[Row[Any]]]:
    """The payment in review and the candidates that the chain must be asked about: none when it was never sent."""
    row = by_id(tx, payment, public_id)
    if row.state != "review":
        raise StateConflict(f"it is {row.state}; only payments in review are decided by hand", status=row.state)
    if row.settled_candidate is not None:
        raise StateConflict("the ledger says that it was paid: recheck it", status=row.state)
    sent = payment_books.intent_stands(tx, row.id)
    return row, payment_books.candidates(tx, row.id) if sent else ()


def resolve_payment(tx: Tx, public_id: str, choice: str, proof: Proof, actor: str) -> None:
    """Let a dead payment's withdrawals go: `retry` (back to the queue) or `refund`.

    Only with the chain's proof that no candidate can ever confirm, or when it never was sent.
    """
    row, asked = needs_proof(tx, public_id)
    if row.version != proof.version or {c.txid for c in asked} != proof.sights.keys():
        raise Busy("the payment changed while the node was asked", status=row.state)
    for found in asked:
        check_dead(found.txid, proof.sights[found.txid])
    reason = "payment_dead" if asked else "never_sent"
    values = {"state": "releasing", "status_reason": reason, "resolution": choice, "due_at": tx.now, "crashes": 0}
    write(tx, payment, row, values)
    history.note(tx, "payment", row.id, row.state, "releasing", reason, actor)
    told = {txid: {"state": str(s.state), "depth": s.depth} for txid, s in proof.sights.items()}
    audit.record(tx, actor, f"payment.{choice}", public_id, {"candidates": told})
    tx.wake("payment", row.id)


def check_dead(txid: str, status: TxStatus) -> None:
    """Raises `StateConflict` unless another transaction has spent the candidate's inputs for good."""
    if status.state is not TxState.CONFLICTED or status.depth < FINAL_DEPTH:
        depth = f", {status.depth} blocks deep" if status.depth else ""
        detail = (
            f"{txid} may still confirm: the node says {status.state}{depth}; dead is conflicted {FINAL_DEPTH} deep. "
            "`coffer payments recheck` sends the same bytes again, which pays at most once"
        )
        raise StateConflict(detail)
