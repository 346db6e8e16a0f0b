"""What a payment keeps from others no more once it is final.

What its settled bytes spent is gone for good. A payment that was made anew from some of its resources (Monero, FAULTS
E10) leaves the others over: good coins, which the signer's record has bound to it. The signer notes there first that
others may spend them; only then do the rows let go of them. A coin that the rows offered without that would be refused
as another payment's, and halt its chain, each time that it is chosen.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from sqlalchemy import Row, update

from jobs.payment import sealed, second_line
from jobs.saga import Effect
from jobs.services import Services
from jobs.signer import SignerRefused
from jobs.signer.entries import Head
from ledger import halts
from ledger.db import Tx
from ledger.schema import resource


def let_go(row: Row[Any], services: Services, settled: Row[Any]) -> Effect:
    """The effect that lets the resources of a payment go whose settled candidate is final. What no proof frees stays
    its own: excluded from every choice, and locked in the node. Raises `SigningHalted` where something is left over
    and nothing may be recorded now."""
    signer = services.require_signer()
    try:
        signed = sealed.opened(services, row, settled)
        left = signer.left_over(row.public_id, signed)
    except SignerRefused:  # a record, or rows, that do not know what was signed free nothing
        return _keep_all
    head = None
    if left.free:
        second_line.check(services, row.chain)  # or its head would hide entries that these rows have not led to
        services.database.read(lambda tx: halts.check(tx, row.chain))
        head = signer.spare(row.public_id, signed)
    return partial(_let_go, kept=left.kept, head=head)


def _keep_all(tx: Tx, row: Row[Any]) -> None:
    """Nothing is proven."""


def _let_go(tx: Tx, row: Row[Any], kept: frozenset[str], head: Head | None) -> None:
    if head is not None:
        second_line.note(tx, row.chain, head)
    r = resource.c
    tx.execute(update(resource).where(r.payment_id == row.id, r.resource_key.not_in(sorted(kept))).values(live=None))
