"""Candidates that were made in the life that was lost, found again: a higher fee for a payment that the backup knows.

The signer's record has the hash of their bytes, the chain has the bytes: where both agree, the payment gets its
candidate back and settles by it like any other. Without it the chain would seem to have paid somebody else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, select, update

from jobs.payment import books as payment_books
from jobs.payment import resources, sealed
from jobs.payment.build import store
from jobs.resolve.payments import recheck_payment
from jobs.services import Services
from jobs.signer.record import Candidate, Record, digest_of
from ledger import audit
from ledger.db import Tx
from ledger.schema import outgoing, payment
from wallets.protocol import ChainWallet, SignedTransaction

_ACTOR = "engine:restore"


def adopt(services: Services, chain: str, records: Sequence[Record]) -> list[str]:
    """Give payments their lost candidates back; the transaction ids of those that were."""
    wallet, found = services.wallet(chain), []
    for record in records:
        for known in record.payments(chain):
            row, there = services.database.read(lambda tx, name=known.payment: _row(tx, name))  # type: ignore[misc]
            for each in known.candidates if row is not None and known.released is None else ():
                signed = None if each.txid in there else _signed(wallet, each)
                if row is not None and signed is not None:
                    kept = sealed.seal(services, row, signed)
                    services.database.run(lambda tx, k=kept, r=row: _store(tx, r, k), "adopt_candidate")  # type: ignore[misc]
                    found.append(each.txid)
    return found


def _row(tx: Tx, public_id: str) -> tuple[Row[Any] | None, set[str]]:
    """The payment, unless it has come to an end or was never signed here, and the candidates that it has."""
    row = tx.first(select(payment).where(payment.c.public_id == public_id))
    if row is None or row.candidates == 0 or row.state in ("final", "dead", "releasing"):
        return None, set()
    return row, {candidate.txid for candidate in payment_books.candidates(tx, row.id)}


def _signed(wallet: ChainWallet, each: Candidate) -> SignedTransaction | None:
    """The candidate with its bytes, as the chain has them and the signer's record proves them."""
    raw = wallet.bytes_of(each.txid)
    if raw is None or digest_of(each.txid, raw, each.draft) != each.digest:
        return None
    return SignedTransaction(each.txid, raw, each.fee_units, each.resources, each.draft)


def _store(tx: Tx, row: Row[Any], signed: SignedTransaction) -> None:
    newest = payment_books.candidates(tx, row.id)[0]
    if newest.number != row.candidates:
        return  # somebody else has just added one: the next comparison looks again
    number = newest.number + 1
    resources.claim(tx, row, resources.unknown(tx, row.chain, signed.resources))
    store(tx, row, signed, number, newest.rate)
    values = {"candidates": number, "version": payment.c.version + 1, "updated_at": tx.now}
    tx.execute(update(payment).where(payment.c.id == row.id).values(values))
    known = {"state": "accepted", "actor": _ACTOR, "note": f"a candidate of {row.public_id}, signed after the backup"}
    o = outgoing.c
    tx.execute(update(outgoing).where(o.chain == row.chain, o.name == signed.txid).values(known))
    audit.record(tx, _ACTOR, "payment.adopt", row.public_id, {"txid": signed.txid})
    if row.state == "review":  # it seemed that somebody else had used its resources
        recheck_payment(tx, row.public_id, _ACTOR)
    tx.wake("payment", row.id)
