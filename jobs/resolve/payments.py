"""Operators' acts on payments. Letting one go needs the chain's proof that it is dead, or that it never was sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row

from jobs import alarms
from jobs.payment import books as payment_books
from jobs.payment.contents import stored
from jobs.resolve import unclear as resolve_unclear
from jobs.resolve.by_hand import Busy, by_id, write
from jobs.resolve.unclear import Evidence, evidence
from jobs.services import Services, chain_row, is_final_status
from ledger import audit, halts, history
from ledger.db import Tx
from ledger.errors import InvalidInput, StateConflict
from ledger.policy import FINAL_DEPTH
from ledger.schema import payment
from wallets.protocol import TxState, TxStatus

#: A transaction in one of these states is in a block.
IN_BLOCK = (TxState.CONFIRMED, TxState.FAILED, TxState.UNCLEAR)


@dataclass(frozen=True)
class Proof:
    """What a healthy node said of a payment's candidates, and the version of the row that was asked about."""

    version: int
    sights: Mapping[str, TxStatus]  #: by txid
    evidence: Evidence | None = None  #: what one that did something else than it says has moved


def bump_payment(tx: Tx, public_id: str, rate: int | None, actor: str) -> int:
    """Ask for a candidate at a higher fee; the rate it will offer, in its chain's own unit. None: a quarter more, or
    the market's if that is higher."""
    row = by_id(tx, payment, public_id)
    if row.state not in ("broadcast", "confirming"):
        raise StateConflict(f"it is {row.state}; only a payment that waits for a block can be bumped", status=row.state)
    if row.height is not None:
        raise StateConflict("it is in a block already", status=row.state)
    halts.check(tx, row.chain)
    newest = payment_books.candidates(tx, row.id)[0].rate
    asked = rate or min(row.rate_max, max(newest * 5 // 4, chain_row(tx, row.chain).fee_rate or 0))
    if not newest < asked <= row.rate_max:
        raise InvalidInput("/rate", f"must be above {newest} and at most {row.rate_max}, in the unit of its chain")
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
        alarms.clear(tx, f"payment:{row.id}")  # what still stands is found, and told, again
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


def prove(services: Services, row: Row[Any], asked: Sequence[Row[Any]]) -> Proof:
    """Ask the node where the candidates stand, and what one has moved that did something else than it says."""
    wallet = services.wallet(row.chain) if asked else None
    sights = {found.txid: wallet.look_up(stored(found, row)) for found in asked} if wallet is not None else {}
    unclear = any(status.state is TxState.UNCLEAR for status in sights.values())
    return Proof(row.version, sights, evidence(services, row) if unclear else None)


def resolve_payment(tx: Tx, public_id: str, choice: str, proof: Proof, actor: str) -> None:
    """End a payment in review: `retry` (its withdrawals back to the queue), `refund`, `aside` (they stay in review, to
    be decided one by one), or `paid`.

    The first three only with the chain's proof that no candidate can ever confirm, that it reverted for good, or that
    it is in the chain for good and moved nothing; or when it never was sent. `paid` only for one that is in the chain
    for good, did something else than it says, and took all that it was to take.
    """
    row, asked = needs_proof(tx, public_id)
    if row.version != proof.version or {c.txid for c in asked} != proof.sights.keys():
        raise Busy("the payment changed while the node was asked", status=row.state)
    alarms.clear(tx, f"payment:{row.id}")  # it is decided; its withdrawals in review are listed by themselves
    mined = next((c for c in asked if proof.sights[c.txid].state in IN_BLOCK), None)
    if choice == "paid":
        _pay(tx, row, mined, proof, actor)
        return
    reason, values = _let_go(tx, row, asked, mined, proof)
    halts.check(tx, row.chain)  # it would wait in `releasing`, out of the operator's hands
    resolution = None if choice == "aside" else choice  # withdrawals in review stay there unless told otherwise
    values |= {"state": "releasing", "status_reason": reason, "resolution": resolution, "due_at": tx.now, "crashes": 0}
    write(tx, payment, row, values)
    history.note(tx, "payment", row.id, row.state, "releasing", reason, actor)
    told = {txid: {"state": str(s.state), "depth": s.depth} for txid, s in proof.sights.items()}
    audit.record(tx, actor, f"payment.{choice}", public_id, {"candidates": told})
    tx.wake("payment", row.id)


def _pay(tx: Tx, row: Row[Any], mined: Row[Any] | None, proof: Proof, actor: str) -> None:
    status = None if mined is None else proof.sights[mined.txid]
    if mined is None or status is None or status.state is not TxState.UNCLEAR or proof.evidence is None:
        detail = "only one that is in the chain and did something else than it says is decided to be paid; recheck it"
        raise StateConflict(detail, status=row.state)
    _check_final(tx, row, mined.txid, status)
    resolve_unclear.settle(tx, row, mined, status, proof.evidence, actor)


def _let_go(
    tx: Tx, row: Row[Any], asked: Sequence[Row[Any]], mined: Row[Any] | None, proof: Proof
) -> tuple[str, dict[str, Any]]:
    """Why it may be let go, and what its row is to say. Raises `StateConflict`."""
    if mined is None:
        for found in asked:
            check_dead(tx, row, found.txid, proof.sights[found.txid])
        return "payment_dead" if asked else "never_sent", {}
    status = proof.sights[mined.txid]
    if status.state is TxState.CONFIRMED:
        raise StateConflict(f"{mined.txid} is in the chain: recheck it", status=row.state)
    _check_final(tx, row, mined.txid, status)
    if status.state is TxState.UNCLEAR:
        if proof.evidence is None:
            raise StateConflict("the node was not asked what it moved", status=row.state)
        resolve_unclear.check_nothing_left(row, proof.evidence)
    fee = mined.fee_units if status.fee_units is None else status.fee_units
    return payment_books.REVERTED, {"declined": payment_books.REVERTED, "fee_units": fee, "txid": mined.txid}


def _check_final(tx: Tx, row: Row[Any], txid: str, status: TxStatus) -> None:
    if not is_final_status(chain_row(tx, row.chain), status):
        raise StateConflict(f"{txid} is {status.depth} blocks deep and not final: a reorganisation may change it")


def check_dead(tx: Tx, row: Row[Any], txid: str, status: TxStatus) -> None:
    """Raises `StateConflict` unless another transaction has used the candidate's resources for good."""
    known = chain_row(tx, row.chain)
    if status.state is not TxState.CONFLICTED or not is_final_status(known, status):
        depth = f", {status.depth} blocks deep" if status.depth else ""
        final = f"{FINAL_DEPTH} deep" if known.final_height is None else "in a block that the chain calls final"
        detail = (
            f"{txid} may still confirm: the node says {status.state}{depth}; dead is conflicted {final}. "
            "`coffer payments recheck` sends the same bytes again, which pays at most once"
        )
        raise StateConflict(detail)
