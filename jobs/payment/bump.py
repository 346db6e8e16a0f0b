"""A further candidate of a payment: a higher fee on the same resources, or new bytes for impossible ones."""

from __future__ import annotations

from functools import partial
from typing import Any

from sqlalchemy import Row, select

from jobs.payment import books as payment_books
from jobs.payment import resources, sealed, second_line
from jobs.payment.build import refusal, refused_by, store
from jobs.payment.contents import Contents, contents, sign_request
from jobs.payment.waiting import HALTED
from jobs.saga import Outcome
from jobs.services import Services
from jobs.signer import SignerRefused
from jobs.signer.entries import Head
from ledger import halts, policy
from ledger.db import Tx
from ledger.errors import InsufficientHotFunds, LedgerBroken, ResourceTaken
from ledger.schema import resource
from wallets.protocol import Proposal, SignedTransaction


class Bumped(Outcome):
    """A candidate with a higher fee is stored, to be sent next."""


class NotBumped(Outcome):
    """The ceiling or our change does not bear a higher fee; the candidates we have stay in the race."""


def bump(row: Row[Any], services: Services) -> Outcome:
    """A further candidate: same payees, same resources, higher fee at the house's cost, below the stored ceiling."""

    def read(tx: Tx) -> tuple[Contents, Row[Any], int, str | None, str | None]:
        known = payment_books.candidates(tx, row.id)
        fallback = policy.of(tx, row.asset).payment_rate_fallback
        dependent, halted = resources.spent_by_another(tx, row, known), halts.reason(tx, row.chain)
        return contents(tx, row), known[0], fallback, dependent, halted

    torn = second_line.look(services, row.chain)
    what, newest, fallback, dependent, halted = services.database.read(read)
    wallet = services.wallet(row.chain)
    given_up = {"bump_rate": None, "sent_at": row.updated_at}  # the age that decides about a bump starts again
    if halted is not None or torn is not None:
        return NotBumped(reason=HALTED, detail=halted or torn, values=given_up)
    rate = min(row.bump_rate or max(wallet.fee_market(2, fallback).rate, newest.rate * 5 // 4), row.rate_max)
    refused = refusal(row, services, what)
    if refused is not None:
        return NotBumped(reason=refused.reason, detail=refused.detail, values=given_up, effect=refused.effect)
    if dependent is not None:  # the node need not know of it yet, or any more
        return NotBumped(reason="change_in_use", detail=f"another payment spends {dependent}", values=given_up)
    try:
        proposal = wallet.reprice(sealed.opened(services, row, newest), what.spend, rate, row.fee_max_units)
    except SignerRefused as error:  # what is out goes on as it is
        cause = second_line.halt_for(services, row.chain, error)
        return NotBumped(reason=cause, detail=error.detail[:512], values=given_up)
    except InsufficientHotFunds as error:
        return NotBumped(reason="fee_ceiling", detail=error.detail[:512], values=given_up)
    except ResourceTaken as error:
        return NotBumped(reason="change_in_use", detail=error.detail[:512], values=given_up)
    if proposal.fee_units > row.fee_max_units:
        return NotBumped(reason="fee_ceiling", detail=f"a fee of {proposal.fee_units} units", values=given_up)
    wallet.hold(proposal.resources)
    signed = wallet.sign(proposal, what.spend)
    try:
        head = services.require_signer().note(sign_request(row, what), signed)
    except SignerRefused as error:
        refused = refused_by(error)
        return NotBumped(reason=refused.reason, detail=refused.detail, values=given_up, effect=refused.effect)
    kept, number = sealed.seal(services, row, signed), newest.number + 1
    stored_as: dict[str, Any] = {"txid": signed.txid, "fee_units": signed.fee_units, "candidates": number}
    stored_as |= {"bump_rate": None, "sent_at": None}
    effect = partial(_store_bump, proposal=proposal, signed=kept, number=number, rate=rate, head=head)
    return Bumped(values=stored_as, reason="fee_bump", effect=effect)


def _store_bump(
    tx: Tx, row: Row[Any], proposal: Proposal, signed: SignedTransaction, number: int, rate: int, head: Head
) -> None:
    """Replacements stay on the same resources; one made anew for a chain that replaces nothing may need more."""
    halts.check(tx, row.chain)
    second_line.note(tx, row.chain, head)
    r = resource.c
    own = {found.resource_key for found in tx.all(select(r.resource_key).where(r.payment_id == row.id, r.live == 1))}
    if not own & set(proposal.resources):
        raise LedgerBroken(f"payment {row.id}: a candidate that shares no resource with it")
    resources.claim(tx, row, [key for key in proposal.resources if key not in own])
    store(tx, row, signed, number, rate)
    payment_books.project(tx, row.id, "broadcast", reason="fee_bump", txid=signed.txid)
