"""A withdrawal that was paid in a life which a restore has lost: booked as paid, by the transaction that did it.

Its row waits in review, since the signer's record, or nobody, knows that it was signed before. Paying it would pay it
twice, giving its money back would make the house lose it. The proof is the signer's own record, which says what the
transaction pays; where that was lost too, the chain still shows that these keys made it, and a person says the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, select

from jobs.backup import quarantine
from jobs.escrow import frozen_parts
from jobs.payment import books as payment_books
from jobs.resolve import by_hand
from jobs.services import Services
from jobs.signer.record import Candidate, Known, Record
from jobs.signer.request import order_of
from jobs.withdrawal import PAID_BEFORE, hold_key, move
from ledger import audit, holds, policy, postings
from ledger.accounts import house
from ledger.db import Tx
from ledger.errors import InvalidInput, StateConflict
from ledger.postings import Leg
from ledger.schema import candidate, outgoing, withdrawal
from wallets.protocol import TxState

#: As well where no record can tell.
_DOUBTFUL = (*PAID_BEFORE, "signer_refused")


def prove(services: Services, records: Sequence[Record], public_id: str, txid: str, *, by_word: bool) -> None:
    """That the transaction is deep in the chain and pays exactly this withdrawal, by the signer's record; or, `by_word`
    of an operator, at least that these keys made it. Raises `InvalidInput` and `StateConflict`."""
    row, confirmations = services.database.read(lambda tx: _row(tx, public_id))
    if by_word:
        services.database.read(lambda tx: _check_ours(tx, row.chain, txid))
        return
    for record in records:
        signed = _signed(record, row, txid)
        if signed is not None:
            status = services.wallet(row.chain).look_up(signed.transaction)
            if status.state is not TxState.CONFIRMED or status.depth < confirmations:
                told = f"is {status.state}, {status.depth} blocks deep; {confirmations} are asked"
                raise StateConflict(f"{txid} {told}", status=row.state)
            return
    raise InvalidInput("/paid", f"the signer's record does not say that {txid} pays {row.units} units to {row.address}")


def check_unsigned(services: Services, records: Sequence[Record], public_id: str, *, by_word: bool) -> None:
    """That no payment in a signer's record may have paid this withdrawal, before its money is given back. Raises
    `StateConflict`; for one that a restore left, also without `by_word` where there is no such record to ask."""
    row, _ = services.database.read(lambda tx: _row(tx, public_id))
    services.database.read(lambda tx: by_hand.check_unpaid(tx, row))  # one that the rows know is decided as a payment
    signed = _signed_in(records, row, None)
    if signed is not None:
        raise StateConflict(f"it was signed in {signed}, which may have paid it: see --paid", status=row.state)
    knows = services.database.read(lambda tx: _knows(tx, records, row.chain))
    if row.status_reason in _DOUBTFUL and not knows and not by_word:
        detail = "it may have been paid before the restore, and no signer's record can tell: look, then say --by-word"
        raise StateConflict(detail, status=row.state)


def check_payment(services: Services, records: Sequence[Record], of: Row[Any], choice: str) -> None:
    """As `check_unsigned` for all that a payment was to pay, before it is let go by `refund`; and by `retry`, where no
    record would have the signer refuse to pay again. What is known of this payment itself, the chain must prove dead.
    Raises `StateConflict`: then `--aside` is left, which decides nothing."""

    def read(tx: Tx) -> tuple[Sequence[Row[Any]], bool, int | None]:
        members = payment_books.members(tx, of.id)
        return members, _knows(tx, records, of.chain), quarantine.restored_at(tx)

    members, knows, restored_at = services.database.read(read)
    if choice not in ("refund", "retry") or (choice == "retry" and knows):
        return
    own = None if of.proposal is None else of.public_id  # without one, it was signed by the life that was lost
    for member in members:
        signed = _signed_in(records, member, own)
        if signed is not None:
            detail = f"{member.public_id} was signed in {signed}, which may have paid it: see --aside"
            raise StateConflict(detail, status=of.state)
        older = restored_at is not None and member.created_at <= restored_at
        if not knows and (older or member.status_reason in _DOUBTFUL):
            detail = f"{member.public_id} may have been paid before the restore, and no signer's record can tell"
            raise StateConflict(f"{detail}: see --aside", status=of.state)


def _signed_in(records: Sequence[Record], row: Row[Any], but: str | None) -> str | None:
    """A payment other than `but` that may have paid the withdrawal, or the shop's order for it."""
    for record in records:
        for known in record.payments(row.chain):
            if known.released is None and known.payment != but and _is_for(known, row):
                return known.payment
    return None


def _is_for(known: Known, row: Row[Any]) -> bool:
    return row.public_id in known.withdrawals or order_of(row) in known.orders


def _knows(tx: Tx, records: Sequence[Record], chain: str) -> bool:
    """Whether these records can tell all that was ever signed on the chain. One that is empty was lost, unless nothing
    was ever signed."""
    if not quarantine.record_knows(tx, chain):
        return False
    if any(record.since(0, chain) for record in records):
        return True
    signed = tx.value(select(candidate.c.id).where(candidate.c.chain == chain).limit(1))
    return bool(records) and signed is None and quarantine.restored_at(tx) is None


def settle(tx: Tx, public_id: str, txid: str, how: str, actor: str) -> None:
    """Book it. What the network took for the transaction is in no book: `coffer treasury loss` books that. Audited."""
    row = by_hand.in_review(tx, public_id)
    by_hand.check_unpaid(tx, row)
    w = withdrawal.c
    same = (w.chain == row.chain) & (w.txid == txid) & (w.address == row.address) & (w.id != row.id)
    other = tx.value(select(w.public_id).where(same))  # in whatever state: it may yet be booked by that transaction
    if other is not None:
        raise StateConflict(f"{txid} is the payment of {other}, to the same address", status=row.state)
    held, key = (row.account_id, "held"), hold_key(row.id, row.holds)
    legs = [Leg(held, house("treasury_hot"), row.units), Leg(held, house("service_fees"), row.fee_units)]
    legs = [leg for leg in legs if leg.units]
    own = f"withdrawal:{row.id}:paid-before:{row.holds}"
    posted = postings.post(tx, own, "payment_settlement", row.asset, legs, ("withdrawal", row.id))
    if posted is None:
        raise StateConflict("it was booked as paid already", status=row.state)
    holds.settle(tx, key, posted, legs)
    frozen_parts.gone(tx, [row.id])
    move(tx, row, "completed", reason="paid_before_restore", actor=actor, txid=txid, payment_id=None)
    payment_books.close_refusals(tx)
    audit.record(tx, actor, "withdrawal.paid", public_id, {"txid": txid, "proof": how})


def _row(tx: Tx, public_id: str) -> tuple[Row[Any], int]:
    row = by_hand.in_review(tx, public_id)
    return row, policy.of(tx, row.asset).withdrawal_confirmations


def _check_ours(tx: Tx, chain: str, txid: str) -> None:
    o = outgoing.c
    if tx.value(select(o.id).where(o.chain == chain, o.name == txid)) is None:
        raise InvalidInput("/paid", f"the chain does not show that this wallet's keys made {txid}")


def _signed(record: Record, row: Row[Any], txid: str) -> Candidate | None:
    """The candidate of this id, if the payment that it belongs to was to pay exactly this."""
    found = next(
        ((known, c) for known in record.payments(row.chain) for c in known.candidates if c.txid == txid),
        None,
    )
    if found is None:
        return None
    known, signed = found
    entries = record.since(0, row.chain)
    paid = next(e.body["paid"] for e in entries if e.kind == "signed" and e.payment == known.payment)
    fits = known.asset == row.asset and [row.address, str(row.units)] in paid
    return signed if fits and _is_for(known, row) else None
