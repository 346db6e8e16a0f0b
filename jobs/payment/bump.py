"""A further candidate of a payment: a higher fee on the same resources, or new bytes for impossible ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import Row, select

from jobs import alarms
from jobs.payment import books as payment_books
from jobs.payment import resources, sealed, second_line
from jobs.payment.build import refusal, refused_by, store
from jobs.payment.contents import Contents, contents, sign_request
from jobs.payment.send import BUMP_FAILED, FEE_TOO_LOW, fee_is_settled, in_block
from jobs.payment.waiting import HALTED
from jobs.saga import SECOND, Outcome
from jobs.services import Services
from jobs.signer import SignerRefused
from jobs.signer.entries import Head
from ledger import halts, policy
from ledger.db import Tx
from ledger.errors import InsufficientHotFunds, LedgerBroken, NodeProtocolError, ResourceTaken
from ledger.policy import AssetPolicy
from ledger.schema import resource
from wallets.protocol import Proposal, SignedTransaction

#: Bump periods (`payment_bump_after_seconds`) without a block before it is told that no higher fee can be offered.
WAITS_LONG = 3


class Bumped(Outcome):
    """A candidate with a higher fee is stored, to be sent next."""


class NotBumped(Outcome):
    """One of the candidates is in a block; or the ceiling, our change or the node does not bear a higher fee, and the
    candidates we have stay in the race."""


@dataclass(frozen=True)
class _Facts:
    """What the rows say of a payment that is to be bumped."""

    what: Contents
    known: Sequence[Row[Any]]  #: its candidates, the newest first
    rules: AssetPolicy
    dependent: str | None  #: an output of it that another payment spends
    halted: str | None

    @property
    def newest(self) -> Row[Any]:
        return self.known[0]


def bump(row: Row[Any], services: Services) -> Outcome:
    """A further candidate: same payees, same resources, higher fee at the house's cost, below the stored ceiling.

    None once a candidate is in a block, which settles the payment whatever may keep this step from making another."""
    torn = second_line.look(services, row.chain)  # first: takes note of what a worker signed before it died in here
    facts = services.database.read(lambda tx: _facts(tx, row))
    if facts.halted is not None or torn is not None:
        return NotBumped(reason=HALTED, detail=facts.halted or torn, values=_given_up(row))
    if in_block(row, services, facts.known):
        return NotBumped(reason="in_block", values=_given_up(row))
    refused = refusal(row, services, facts.what)
    if refused is not None:
        return NotBumped(reason=refused.reason, detail=refused.detail, values=_given_up(row), effect=refused.effect)
    if facts.dependent is not None:  # the node need not know of it yet, or any more
        return _stuck(row, services, facts, "change_in_use", f"another payment spends {facts.dependent}")
    try:
        return _higher(row, services, facts)
    except InsufficientHotFunds as error:
        return _stuck(row, services, facts, "fee_ceiling", error.detail)
    except ResourceTaken as error:
        return _stuck(row, services, facts, "change_in_use", error.detail)
    except NodeProtocolError as error:  # it may last: what is out is watched meanwhile
        effect = partial(_alarm, BUMP_FAILED, error.detail)
        return NotBumped(reason=error.code, detail=error.detail[:512], values=_given_up(row), effect=effect)


def _facts(tx: Tx, row: Row[Any]) -> _Facts:
    known = payment_books.candidates(tx, row.id)
    dependent, halted = resources.spent_by_another(tx, row, known), halts.reason(tx, row.chain)
    return _Facts(contents(tx, row), known, policy.of(tx, row.asset), dependent, halted)


def _given_up(row: Row[Any]) -> dict[str, Any]:
    return {"bump_rate": None, "sent_at": row.updated_at}  # the age that decides about a bump starts again


def _higher(row: Row[Any], services: Services, facts: _Facts) -> Outcome:
    """Raises `InsufficientHotFunds`, `ResourceTaken` and `NodeProtocolError` as the wallet does."""
    wallet, newest, what = services.wallet(row.chain), facts.newest, facts.what
    if wallet.replaces and newest.rate >= row.rate_max:
        raise InsufficientHotFunds(f"it offers {newest.rate} already, the most that was fixed when it was made")
    try:
        signed = sealed.opened(services, row, newest)
    except SignerRefused as error:  # what is out goes on as it is
        cause = second_line.halt_for(services, row.chain, error)
        return NotBumped(reason=cause, detail=error.detail[:512], values=_given_up(row))
    market = wallet.fee_market(2, facts.rules.payment_rate_fallback)
    rate = min(row.bump_rate or max(market.rate, newest.rate * 5 // 4), row.rate_max)
    proposal = wallet.reprice(signed, what.spend, rate, row.fee_max_units)
    if proposal.fee_units > row.fee_max_units:
        raise InsufficientHotFunds(f"a fee of {proposal.fee_units} units")
    wallet.hold(proposal.resources)
    signed = wallet.sign(proposal, what.spend)
    try:
        head = services.require_signer().note(sign_request(row, what), signed)
    except SignerRefused as error:
        refused = refused_by(error)
        return NotBumped(reason=refused.reason, detail=refused.detail, values=_given_up(row), effect=refused.effect)
    kept, number = sealed.seal(services, row, signed), newest.number + 1
    stored_as: dict[str, Any] = {"txid": signed.txid, "fee_units": signed.fee_units, "candidates": number}
    stored_as |= {"bump_rate": None, "sent_at": None}
    effect = partial(_store_bump, proposal=proposal, signed=kept, number=number, rate=rate, head=head)
    return Bumped(values=stored_as, reason="fee_bump", effect=effect)


def _stuck(row: Row[Any], services: Services, facts: _Facts, reason: str, detail: str) -> NotBumped:
    """No higher fee can be offered, and only the market can help: an operator is told once it has waited for long.
    What a pool does not replace is made anew for other reasons than its fee."""
    wait_us = WAITS_LONG * facts.rules.payment_bump_after_seconds * SECOND
    tell = partial(_tell, facts.newest, wait_us, f"{reason}: {detail}") if services.wallet(row.chain).replaces else None
    return NotBumped(reason=reason, detail=detail[:512], values=_given_up(row), effect=tell)


def _tell(newest: Row[Any], wait_us: int, why: str, tx: Tx, row: Row[Any]) -> None:
    if tx.now - newest.created_at >= wait_us:
        _alarm(FEE_TOO_LOW, f"{row.public_id} waits for a block at a rate of {newest.rate}; {why}", tx, row)


def _alarm(name: str, detail: str, tx: Tx, row: Row[Any]) -> None:
    alarms.raise_(tx, name, f"payment:{row.id}", detail)


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
    fee_is_settled(tx, row)
    payment_books.project(tx, row.id, "broadcast", reason="fee_bump", txid=signed.txid)
