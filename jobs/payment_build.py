"""The steps of a payment before its bytes may leave: reserve, sign, commit the intent; and bump."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from sqlalchemy import Row, insert, or_, select

from jobs import alarms, payment_books, promised
from jobs.assets import on_chain
from jobs.payment_contents import Contents, contents, flow_of, proposal_of, sign_request, stored
from jobs.saga import SECOND, Effect, Outcome
from jobs.services import Services, require_healthy
from jobs.signer import SignerRefused
from ledger import pauses, policy
from ledger.db import Tx
from ledger.errors import (
    FundsLocked,
    InsufficientHotFunds,
    InvalidAddress,
    InvalidInput,
    LedgerBroken,
    ResourceTaken,
    WalletBusy,
)
from ledger.schema import candidate, deposit, payment, resource
from wallets.protocol import Proposal, SignedTransaction

#: Why a withdrawal must not share its payment: the node refused an address of the last one.
ALONE = "retry_alone"

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


class Bumped(Outcome):
    """A candidate with a higher fee is stored, to be sent next."""


class NotBumped(Outcome):
    """The ceiling or our change does not bear a higher fee; the candidates we have stay in the race."""


def declined(reason: str, detail: str = "", effect: Effect | None = None) -> Declined:
    """Why it is let go stands in a column of its own: `status_reason` may come to tell of a node that is down."""
    return Declined(values={"declined": reason}, reason=reason, detail=detail[:512] or None, effect=effect)


def reserve(row: Row[Any], services: Services) -> Outcome:
    """Have the node propose resources, lock them there, and claim them in our database."""
    wallet = services.wallet(row.chain)

    def read(tx: Tx) -> tuple[Contents, set[str], set[str], str | None]:
        require_healthy(tx, row.chain)
        paused = pauses.reason(tx, row.asset, flow_of(row))
        return contents(tx, row), live_resources(tx, row.chain), unspendable(tx, row.chain), paused

    what, live, unripe, paused = services.database.read(read)
    if paused is not None:
        return declined("paused", paused)
    if what.frozen:
        return declined("account_frozen")
    try:
        services.require_signer().check(sign_request(row, what))  # some wallets sign while they choose
    except SignerRefused as error:
        return _refused(error)
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
    strange = services.database.read(lambda tx: _unknown_resources(tx, row.chain, proposal.expects))
    if strange:
        detail = f"the chain shows {strange[0]} as used, which this database never owned: it is not the one that pays"
        return declined("chain_ahead", detail, partial(_halt, detail=detail))
    wallet.hold(proposal.resources)
    values = {"proposal": asdict(proposal), "fee_units": proposal.fee_units, "fee_max_units": proposal.fee_max_units}
    return Reserved(values=values, effect=partial(_claim_resources, proposal=proposal))


def _propose(row: Row[Any], services: Services, what: Contents, excluded: set[str]) -> Proposal:
    """A proposal on coins that our books know: credited deposits and our own change, nothing that came in since."""
    wallet = services.wallet(row.chain)
    for _ in range(PROPOSALS_MAX):
        proposal = wallet.propose(what.spend, row.rate, row.rate_max, excluded=excluded)
        if (
            proposal.own_payees and not what.spend.targets
        ):  # change, which anyone can see: paid, it would be coins that no book explains
            raise InvalidAddress("/address", "is an address of this installation's own wallet")
        strangers = services.database.read(lambda tx, keys=proposal.spends: _strangers(tx, row.chain, keys))  # type: ignore[misc]
        if not strangers:
            return proposal
        excluded = excluded | strangers
    raise InsufficientHotFunds("the coins that the node proposes are not in the books yet")


def _strangers(tx: Tx, chain: str, keys: Sequence[str]) -> set[str]:
    """Which of these coins are neither a credited deposit nor change that is sure to stay: of several candidates of one
    payment any may confirm, and whoever spends the change of another is lost."""
    d, c, p = deposit.c, candidate.c, payment.c
    booked = tx.all(select(d.output_key).where(d.chain == chain, d.output_key.in_(keys), d.credited == 1))
    txids = {key.partition(":")[0] for key in keys}
    sure = (p.candidates == 1) | (p.height.is_not(None) & (p.txid == c.txid))
    change = select(c.txid).join(payment, p.id == c.payment_id).where(c.chain == chain, c.txid.in_(txids), sure)
    own = {row.txid for row in tx.all(change)}
    known = {row.output_key for row in booked}
    return {key for key in keys if key not in known and key.partition(":")[0] not in own}


def _claim_resources(tx: Tx, row: Row[Any], proposal: Proposal) -> None:
    _claim(tx, row, proposal.resources)


def _claim(tx: Tx, row: Row[Any], keys: Sequence[str]) -> None:
    claims = [
        {"chain": row.chain, "resource_key": key, "payment_id": row.id, "live": 1, "created_at": tx.now} for key in keys
    ]
    if claims:
        tx.execute(insert(resource), claims)  # a second owner fails here, at the unique key


def _unknown_resources(tx: Tx, chain: str, keys: Sequence[str]) -> list[str]:
    r = resource.c
    known = {
        row.resource_key for row in tx.all(select(r.resource_key).where(r.chain == chain, r.resource_key.in_(keys)))
    }
    return [key for key in keys if key not in known]


def _halt(tx: Tx, row: Row[Any], detail: str) -> None:
    """The key was used elsewhere, or this database was restored: nothing more is signed on this chain."""
    alarms.raise_(tx, "chain_ahead", f"chain:{row.chain}", detail)
    for found in on_chain(tx, row.chain):
        for flow in ("withdrawals", "sweeps"):
            pauses.stop(tx, found.code, flow, detail[:255], "engine")


def live_resources(tx: Tx, chain: str) -> set[str]:
    """The resources of a chain that payments own now."""
    r = resource.c
    return {row.resource_key for row in tx.all(select(r.resource_key).where(r.chain == chain, r.live == 1))}


def unspendable(tx: Tx, chain: str) -> set[str]:
    """Coins that are on their way to us but credited to nobody yet: not the house's to spend."""
    d = deposit.c
    pending = (d.chain == chain) & (d.credited == 0) & d.seen.in_(("pool", "confirmed"))
    return {row.output_key for row in tx.all(select(d.output_key).where(pending))}


def sign(row: Row[Any], services: Services) -> Outcome:
    """The signer's own check against committed rows, then signed bytes, stored before anything else happens."""

    def read(tx: Tx) -> tuple[Contents, int | None]:
        what = contents(tx, row)
        return what, payment_books.unbacked(tx, what.withdrawals)

    what, unbacked = services.database.read(read)
    if what.frozen:
        return declined("account_frozen")
    if unbacked is not None:
        return _refused(SignerRefused("hold_missing", "no money is held for the withdrawal", unbacked))
    proposal = proposal_of(row)
    refused = _refusal(row, services, what)
    if refused is not None:
        return refused
    if (proposal.fee_units, proposal.fee_max_units) != (row.fee_units, row.fee_max_units):  # these the signer counted
        return _refused(SignerRefused("fee_mismatch", "the proposal may cost another fee than the payment says"))
    signed = services.wallet(row.chain).sign(proposal, what.spend)
    values = {"txid": signed.txid, "fee_units": signed.fee_units, "candidates": 1}
    return Signed(values=values, effect=partial(_store_first, signed=signed))


def _refusal(row: Row[Any], services: Services, what: Contents) -> Declined | Disputed | None:
    try:
        services.require_signer().admit(sign_request(row, what))
    except SignerRefused as error:
        return _refused(error)
    return None


def _refused(error: SignerRefused) -> Declined | Disputed:
    reason, detail, effect = error.code, error.detail[:512], partial(_tampered, error=error)
    if error.code == "payload_changed":  # letting its withdrawals go would let them be paid again
        return Disputed(reason=reason, detail=detail, effect=effect, due_us=None)
    return declined(reason, detail, effect)


def _tampered(tx: Tx, row: Row[Any], error: SignerRefused) -> None:
    """Rows that are not what the API committed stop their asset; the cap only makes everyone wait."""
    detail, withdrawal_id = error.detail, error.withdrawal_id
    alarms.raise_(tx, "signer_refused", f"payment:{row.id}", detail)
    if error.code == "outflow_cap":
        return
    from jobs.withdrawal import move

    for member in payment_books.members(tx, row.id):
        if member.id == withdrawal_id or error.code == "payload_changed":
            move(tx, member, "review", reason="signer_refused", detail=detail[:512])
    pauses.stop(tx, row.asset, "withdrawals", f"the signer refused a withdrawal: {detail}"[:255], "engine")


def _store_first(tx: Tx, row: Row[Any], signed: SignedTransaction) -> None:
    _store(tx, row, signed, 1, row.rate)
    payment_books.project(tx, row.id, "signed", txid=signed.txid)


def _store(tx: Tx, row: Row[Any], signed: SignedTransaction, number: int, rate: int) -> None:
    values = {"payment_id": row.id, "number": number, "chain": row.chain, "txid": signed.txid, "raw": signed.raw}
    values |= {"payload": signed.payload, "fee_units": signed.fee_units, "rate": rate, "created_at": tx.now}
    tx.execute(insert(candidate).values(values))


def commit_intent(row: Row[Any], services: Services) -> Outcome:
    """The pivot: commit that these bytes will be sent, and move the money in flight, before any node sees them."""

    def read(tx: Tx) -> tuple[str | None, tuple[int, ...]]:
        require_healthy(tx, row.chain)
        return pauses.reason(tx, row.asset, flow_of(row)), contents(tx, row).frozen

    paused, frozen = services.database.read(read)
    if frozen:
        return declined("account_frozen")
    if paused is not None and not proposal_of(row).spends:  # no coins: others queue behind its nonce
        return declined("paused", paused)
    if paused is not None:
        return Adjourned(reason="paused", detail=paused[:512], due_us=5 * SECOND)
    return Committed(effect=_commit_intent)


def _commit_intent(tx: Tx, row: Row[Any]) -> None:
    payment_books.post_intent(tx, row)
    payment_books.project(tx, row.id, "broadcast")


def bump(row: Row[Any], services: Services) -> Outcome:
    """A further candidate: same payees, same resources, higher fee at the house's cost, below the stored ceiling."""

    def read(tx: Tx) -> tuple[Contents, Row[Any], int, str | None]:
        known = payment_books.candidates(tx, row.id)
        fallback = policy.of(tx, row.asset).payment_rate_fallback
        return contents(tx, row), known[0], fallback, _spent_by_another(tx, row, known)

    what, newest, fallback, dependent = services.database.read(read)
    wallet = services.wallet(row.chain)
    rate = min(row.bump_rate or max(wallet.fee_market(2, fallback).rate, newest.rate * 5 // 4), row.rate_max)
    given_up = {"bump_rate": None, "sent_at": row.updated_at}  # the age that decides about a bump starts again
    refused = _refusal(row, services, what)
    if refused is not None:
        return NotBumped(reason=refused.reason, detail=refused.detail, values=given_up, effect=refused.effect)
    if dependent is not None:  # the node need not know of it yet, or any more
        return NotBumped(reason="change_in_use", detail=f"another payment spends {dependent}", values=given_up)
    try:
        proposal = wallet.reprice(stored(newest, row), what.spend, rate, row.fee_max_units)
    except InsufficientHotFunds as error:
        return NotBumped(reason="fee_ceiling", detail=error.detail[:512], values=given_up)
    except ResourceTaken as error:
        return NotBumped(reason="change_in_use", detail=error.detail[:512], values=given_up)
    if proposal.fee_units > row.fee_max_units:
        return NotBumped(reason="fee_ceiling", detail=f"a fee of {proposal.fee_units} units", values=given_up)
    wallet.hold(proposal.resources)
    signed = wallet.sign(proposal, what.spend)
    number = newest.number + 1
    stored_as: dict[str, Any] = {"txid": signed.txid, "fee_units": signed.fee_units, "candidates": number}
    stored_as |= {"bump_rate": None, "sent_at": None}
    effect = partial(_store_bump, proposal=proposal, signed=signed, number=number, rate=rate)
    return Bumped(values=stored_as, reason="fee_bump", effect=effect)


def _spent_by_another(tx: Tx, row: Row[Any], known: Sequence[Row[Any]]) -> str | None:
    """An output of this payment that another live payment is to spend: replacing this one would kill that one."""
    r = resource.c
    outputs = or_(*(r.resource_key.startswith(f"{found.txid}:") for found in known))
    key = tx.value(select(r.resource_key).where(r.chain == row.chain, r.live == 1, outputs, r.payment_id != row.id))
    return None if key is None else str(key)


def _store_bump(tx: Tx, row: Row[Any], proposal: Proposal, signed: SignedTransaction, number: int, rate: int) -> None:
    """Replacements stay on the same resources; one made anew for a chain that replaces nothing may need more."""
    r = resource.c
    own = {found.resource_key for found in tx.all(select(r.resource_key).where(r.payment_id == row.id, r.live == 1))}
    if not own & set(proposal.resources):
        raise LedgerBroken(f"payment {row.id}: a candidate that shares no resource with it")
    _claim(tx, row, [key for key in proposal.resources if key not in own])
    _store(tx, row, signed, number, rate)
    payment_books.project(tx, row.id, "broadcast", reason="fee_bump", txid=signed.txid)
