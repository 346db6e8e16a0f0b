"""A new signer's record in the place of one that was lost: it learns what the database knows, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from sqlalchemy import Row, select

from jobs.payment import books as payment_books
from jobs.payment import sealed, second_line
from jobs.payment.contents import contents, sign_request
from jobs.saga import SECOND
from jobs.services import Services
from jobs.signer import SignerRefused
from jobs.signer.entries import Head
from jobs.signer.signer import Learnt
from ledger import audit
from ledger.db import Tx
from ledger.errors import StateConflict
from ledger.schema import installation, payment, resource
from wallets.protocol import SignedTransaction

_AT_ONCE = 200


def accept(services: Services, chain: str, reason: str, actor: str) -> Head:
    """Take the record as it stands for this chain's, filled up from the database; the head that is known from now on.

    What another, lost record knew and this database does not is then known to nobody but the chain: compare first.
    Raises `StateConflict` for a record that is broken, or another installation's.
    """
    signer = services.require_signer()
    ours = str(services.database.read(lambda tx: tx.value(select(installation.c.public_id))))
    signer.found(ours)
    theirs = signer.record.installation()
    if theirs != ours:
        raise StateConflict(f"the record belongs to the installation {theirs}, this one is {ours}")
    faults = signer.faults()
    if faults:
        raise StateConflict(f"the record is broken ({faults[0]}): move it away, and accept an empty one")
    learnt = signer.learn(_payments(services, chain))
    head = signer.record.head()
    told = {"reason": reason, "entries": head.count, "hash": head.hash, "learnt": learnt}

    def write(tx: Tx) -> None:
        second_line.accept(tx, chain, head)
        audit.record(tx, actor, "signer.accept", chain, told)

    services.database.run(write, "accept_record")
    return head


def _payments(services: Services, chain: str) -> Iterator[Learnt]:
    """Every payment that was signed and not let go. What is only reserved is signed anew."""
    last = 0
    while True:
        found = services.database.read(lambda tx, after=last: _some(services, tx, chain, after))  # type: ignore[misc]
        if not found:
            return
        yield from (learnt for _, learnt in found)
        last = found[-1][0]


def _some(services: Services, tx: Tx, chain: str, after: int) -> list[tuple[int, Learnt]]:
    p, r = payment.c, resource.c
    signed = (p.chain == chain) & (p.candidates > 0) & (p.state != "dead") & (p.id > after)
    found = []
    for row in tx.all(select(payment).where(signed).order_by(p.id).limit(_AT_ONCE)):
        newest_first = payment_books.candidates(tx, row.id)
        bytes_ = [*_readable(services, row, reversed(newest_first))]
        bound = [each.resource_key for each in tx.all(select(r.resource_key).where(r.payment_id == row.id))]
        left = payment_books.intent_stands(tx, row.id)
        made_at = newest_first[0].created_at // SECOND
        # Rows keep the resources of the first bytes alone: those that were made anew may spend fewer, or others.
        vague = [each.txid for each in newest_first if each.number > 1]
        spared = _spared(tx, row) if vague else []
        request = sign_request(row, contents(tx, row))
        found.append((row.id, Learnt(request, bytes_, bound, left, made_at, vague, spared)))
    return found


def _spared(tx: Tx, row: Row[Any]) -> list[str]:
    """What a final payment keeps from others no more: spent for good, or recorded as left over before."""
    r = resource.c
    gone = (r.payment_id == row.id) & r.live.is_(None)
    return [each.resource_key for each in tx.all(select(r.resource_key).where(gone))] if row.state == "final" else []


def _readable(services: Services, row: Row[Any], candidates: Iterable[Row[Any]]) -> Iterator[SignedTransaction]:
    """Bytes that were changed are left out, and so never sent; whom their payment was to pay is learnt all the same."""
    for each in candidates:
        with suppress(SignerRefused):
            yield sealed.opened(services, row, each)
