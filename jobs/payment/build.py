"""The steps of a payment before its bytes may leave: reserve, sign, commit the intent."""

from __future__ import annotations

from functools import partial
from typing import Any

from sqlalchemy import Row, insert

from jobs import alarms, halting
from jobs.escrow import frozen_parts
from jobs.payment import books as payment_books
from jobs.payment import promised, resources, sealed, second_line
from jobs.payment.contents import Contents, contents, flow_of, proposal_of, sign_request
from jobs.reconcile import outgoing
from jobs.reconcile.outgoing import Stranger
from jobs.saga import SECOND, Effect, Outcome
from jobs.services import Services, require_healthy
from jobs.signer import SignerRefused
from jobs.signer.entries import Head
from jobs.withdrawal import PAID_BEFORE
from ledger import halts, pauses
from ledger.db import Tx
from ledger.errors import (
    FundsLocked,
    InsufficientHotFunds,
    InvalidAddress,
    InvalidInput,
    SigningHalted,
    WalletBusy,
)
from ledger.schema import candidate
from wallets.protocol import Proposal, SignedTransaction

#: Why a withdrawal must not share its payment: the node refused an address of the last one.
ALONE = "retry_alone"

#: Refusals that say that a withdrawal may have been paid: its row keeps them for whoever decides about it.
SIGNED_BEFORE = ("order_signed_before", "signed_before")

#: Proposals for one payment before it waits: each round learns of coins that the books do not know yet.
PROPOSALS_MAX = 8


class Reserved(Outcome):
    """Resources are chosen, locked in the node and ours in the database."""


class Crowded(Outcome):
    """As many payments of this wallet are on their way as it allows; this one waits its turn."""


class Declined(Outcome):
    """It cannot be paid now, and nothing of it has left: let its withdrawals go."""


class Signed(Outcome):
    """The signed bytes are in the database."""


class Disputed(Outcome):
    """The signer signed something else for it before: this database is not the one that knows what was sent."""


class Committed(Outcome):
    """From here on the payment goes forward only."""


class Adjourned(Outcome):
    """Signed, but its asset is paused; looked at again soon."""


def declined(reason: str, detail: str = "", effect: Effect | None = None) -> Declined:
    """Why it is let go stands in a column of its own: `status_reason` may come to tell of a node that is down."""
    return Declined(values={"declined": reason}, reason=reason, detail=detail[:512] or None, effect=effect)


def reserve(row: Row[Any], services: Services) -> Outcome:
    """Have the node propose resources, lock them there, and claim them in our database."""
    wallet = services.wallet(row.chain)

    def read(tx: Tx) -> tuple[Contents, set[str], set[str], str | None]:
        require_healthy(tx, row.chain)
        halts.check(tx, row.chain)
        paused = pauses.reason(tx, row.asset, flow_of(row))
        return contents(tx, row), resources.live(tx, row.chain), resources.unspendable(tx, row.chain), paused

    second_line.check(services, row.chain)
    what, live, unripe, paused = services.database.read(read)
    if paused is not None:
        return declined("paused", paused)
    if what.frozen:
        return declined("account_frozen")
    try:
        services.require_signer().check(sign_request(row, what))  # some wallets sign while they choose
    except SignerRefused as error:
        return refused_by(error)
    wallet.free(wallet.held() - live)  # locks whose payment never came to own them
    try:
        proposal = _propose(row, services, what, live | unripe)
        promised.check(services, row, what.spend, proposal)
    except WalletBusy as error:
        return Crowded(reason="wallet_busy", detail=error.detail[:512], due_us=2 * SECOND)
    except FundsLocked as error:
        return declined("hot_funds_locked", f"{error.detail}; about {error.blocks} more blocks")
    except InsufficientHotFunds as error:
        return declined("insufficient_hot_funds", error.detail)
    except InvalidInput as error:
        return declined(ALONE if len(what.outputs) > 1 else "address_refused", error.detail)
    strange = services.database.read(lambda tx: resources.unknown(tx, row.chain, proposal.expects))
    if strange:
        detail = f"the chain shows {strange[0]} as used, which this database never owned: it is not the one that pays"
        unowned = [Stranger(name, (name,), None, False) for name in strange]
        services.database.run(lambda tx: outgoing.note(tx, row.chain, unowned), "halt")
        raise SigningHalted(detail)
    wallet.hold(proposal.resources)
    kept = sealed.seal_proposal(services, row, proposal)
    values = {"proposal": kept, "fee_units": proposal.fee_units, "fee_max_units": proposal.fee_max_units}
    return Reserved(values=values, effect=partial(_claim, proposal=proposal))


def _propose(row: Row[Any], services: Services, what: Contents, excluded: set[str]) -> Proposal:
    """A proposal on coins that our books know: credited deposits and our own change, nothing that came in since."""
    wallet = services.wallet(row.chain)
    for _ in range(PROPOSALS_MAX):
        proposal = wallet.propose(what.spend, row.rate, row.rate_max, excluded=excluded)
        # Change, which anyone can see: paid, it would be coins that no book explains.
        if proposal.own_payees and not what.spend.targets:
            raise InvalidAddress("/address", "is an address of this installation's own wallet")
        strangers = services.database.read(lambda tx, keys=proposal.spends: resources.strangers(tx, row.chain, keys))  # type: ignore[misc]
        if not strangers:
            return proposal
        excluded = excluded | strangers
    raise InsufficientHotFunds("the coins that the node proposes are not in the books yet")


def _claim(tx: Tx, row: Row[Any], proposal: Proposal) -> None:
    halts.check(tx, row.chain)  # it may have been halted since the step began
    resources.claim(tx, row, proposal.resources)


def sign(row: Row[Any], services: Services) -> Outcome:
    """The signer's own check against committed rows, then signed bytes, stored before anything else happens."""

    def read(tx: Tx) -> tuple[Contents, int | None]:
        halts.check(tx, row.chain)
        what = contents(tx, row)
        return what, payment_books.unbacked(tx, what.withdrawals)

    second_line.check(services, row.chain)
    what, unbacked = services.database.read(read)
    if what.frozen:
        return declined("account_frozen")
    if unbacked is not None:
        return refused_by(SignerRefused("hold_missing", "no money is held for the withdrawal", unbacked))
    refused = refusal(row, services, what)
    if refused is not None:
        return refused
    try:
        proposal = sealed.opened_proposal(services, row)
    except SignerRefused as error:
        return refused_by(error)
    if (proposal.fee_units, proposal.fee_max_units) != (row.fee_units, row.fee_max_units):  # these the signer counted
        return refused_by(SignerRefused("fee_mismatch", "the proposal may cost another fee than the payment says"))
    signed = services.wallet(row.chain).sign(proposal, what.spend)
    try:
        head = services.require_signer().note(sign_request(row, what), signed)
    except SignerRefused as error:
        return refused_by(error)
    values = {"txid": signed.txid, "fee_units": signed.fee_units, "candidates": 1}
    return Signed(values=values, effect=partial(_store_first, signed=sealed.seal(services, row, signed), head=head))


def refusal(row: Row[Any], services: Services, what: Contents) -> Declined | Disputed | None:
    try:
        services.require_signer().admit(sign_request(row, what))
    except SignerRefused as error:
        return refused_by(error)
    return None


def refused_by(error: SignerRefused) -> Declined | Disputed:
    reason, detail, effect = error.code, error.detail[:512], partial(_tampered, error=error)
    if error.code == "payload_changed":  # letting its withdrawals go would let them be paid again
        return Disputed(reason=reason, detail=detail, effect=effect, due_us=None)
    return declined(reason, detail, effect)


def _tampered(tx: Tx, row: Row[Any], error: SignerRefused) -> None:
    """Rows that are not what the API committed stop their asset; the cap only makes everyone wait."""
    detail, withdrawal_id = error.detail, error.withdrawal_id
    alarms.raise_(tx, payment_books.REFUSED, f"payment:{row.id}", detail)
    if error.code == "outflow_cap":
        return
    if error.code == "resource_bound":  # a coin or nonce was given away twice: these rows are not what was signed from
        halting.stop(tx, row.chain, "resource_moved", detail)
    from jobs.withdrawal import move

    reason = error.code if error.code in SIGNED_BEFORE else "signer_refused"
    for member in payment_books.members(tx, row.id):
        if member.id == withdrawal_id or error.code == "payload_changed":
            move(tx, member, "review", reason=reason, detail=detail[:512])
    if error.code == "order_signed_before":  # a shop repeats a call that a restored database has lost: only that waits
        return
    pauses.stop(tx, row.asset, "withdrawals", f"the signer refused a withdrawal: {detail}"[:255], "engine")


def _store_first(tx: Tx, row: Row[Any], signed: SignedTransaction, head: Head) -> None:
    halts.check(tx, row.chain)
    second_line.note(tx, row.chain, head)
    store(tx, row, signed, 1, row.rate)
    payment_books.project(tx, row.id, "signed", txid=signed.txid)


def store(tx: Tx, row: Row[Any], signed: SignedTransaction, number: int, rate: int) -> None:
    values = {"payment_id": row.id, "number": number, "chain": row.chain, "txid": signed.txid, "raw": signed.raw}
    values |= {"payload": signed.payload, "fee_units": signed.fee_units, "rate": rate, "created_at": tx.now}
    tx.execute(insert(candidate).values(values))


def commit_intent(row: Row[Any], services: Services) -> Outcome:
    """The pivot: commit that these bytes will be sent, and move the money in flight, before any node sees them. The
    signer's record learns of it first."""

    def read(tx: Tx) -> tuple[str | None, Contents, Row[Any]]:
        require_healthy(tx, row.chain)
        halts.check(tx, row.chain)
        paused = pauses.reason(tx, row.asset, flow_of(row))
        return paused, contents(tx, row), payment_books.candidates(tx, row.id)[0]

    second_line.check(services, row.chain)
    paused, what, newest = services.database.read(read)
    signer = services.require_signer()
    known = signer.known(row.public_id)
    left = known is not None and known.left  # a worker died just before it committed the intent
    doubt = None if left else _doubt(what)
    if doubt is not None:
        return Disputed(reason=doubt.status_reason, detail=doubt.status_detail, due_us=None)
    if what.frozen and not left:  # afterwards it goes forward only: nothing could let it go any more
        return declined("account_frozen")
    if paused is not None and not left and not proposal_of(row).spends:  # no coins: others queue behind its nonce
        return declined("paused", paused)
    if paused is not None:
        return Adjourned(reason="paused", detail=paused[:512], due_us=5 * SECOND)
    try:
        head = signer.leave(row.public_id, sealed.opened(services, row, newest))
    except SignerRefused as error:
        cause = second_line.halt_for(services, row.chain, error)
        detail = error.detail[:512]
        effect = partial(payment_books.contest, detail=detail, reason=cause)
        return Disputed(reason=cause, detail=detail, due_us=None, effect=effect)
    return Committed(effect=partial(_commit_intent, head=head))


def _doubt(what: Contents) -> Row[Any] | None:
    """A withdrawal of it that another payment may have paid in a life which a restore has lost."""
    waits = (each for each in what.withdrawals if each.state == "review")
    return next((each for each in waits if each.status_reason in PAID_BEFORE), None)


def _commit_intent(tx: Tx, row: Row[Any], head: Head) -> None:
    halts.check(tx, row.chain)
    second_line.note(tx, row.chain, head)
    payment_books.post_intent(tx, row)
    # What was frozen since the step looked goes all the same: the signer's record says that it has left.
    frozen_parts.gone(tx, [member.id for member in payment_books.members(tx, row.id)])
    payment_books.project(tx, row.id, "broadcast")
