"""Whether this database and the signer's record are of one piece: asked before anything is signed or let go.

The database keeps the record's head as it last saw it (`signer_head`). A record that no longer has that head was lost,
rolled back or put in another's place. Entries after that head belong to steps that a worker died in, or is in at this
moment; an entry that no such step explains was made with another database, or with this one before it was restored.
Either way the chain is halted: only a person can tell which of the two is right (FAULTS C6 to C8).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Row, insert, select, update
from sqlalchemy.exc import IntegrityError

from jobs import claims, halting
from jobs.services import Services
from jobs.signer import Signer, SignerRefused
from jobs.signer.entries import Entry, Head
from ledger.db import Tx
from ledger.errors import SigningHalted
from ledger.schema import candidate, installation, payment, signer_head

#: A payment in one of these states may have entries in the record that its rows do not show yet.
_UNDERWAY = {
    "signed": frozenset({"reserved", "review"}),
    "candidate": frozenset({"reserved", "bumping", "releasing", "review"}),
    "left": frozenset({"signed", "review"}),
    "released": frozenset({"releasing", "review"}),
    "spared": frozenset({"settled", "review"}),
}
#: Entries of other chains after which a chain that sleeps takes note of the head, or every look would read them all.
_BEHIND_MAX = 500
#: States that an entry of a kind has led to, or that lie behind it.
_NOT_YET = {"left": frozenset({"building", "reserved"})}
#: The one state that an entry of a kind has led to, for good.
_ENDS = {"released": "dead", "spared": "final"}


def check(services: Services, chain: str) -> None:
    """Compare, and take note of what the record says by now. Raises `SigningHalted` after halting the chain."""
    found = look(services, chain)
    if found is not None:
        raise SigningHalted(f"nothing is signed on {chain}: {found}")


def look(services: Services, chain: str) -> str | None:
    """As `check`, but tells the reason of the halt instead of raising; None when both are of one piece."""
    found = _compare(services, services.require_signer(), chain)
    if found is None:
        return None
    services.database.run(lambda tx: halting.stop(tx, chain, *found), "signer_halt")
    return f"{found[0]}: {found[1]}"


def halt_for(services: Services, chain: str, error: SignerRefused) -> str:
    """Halt the chain, whatever becomes of the step; the cause. These rows would have something sent that the signer did
    not sign, or that was let go: nothing more is signed until a person has looked. The step itself puts its payment
    where a lifted halt does not come back. Raises `LeaseLost` where the rows that it read are not of now: what they say
    was overtaken, and nothing is wrong."""
    claims.check(services.database)
    cause = _cause(error)
    services.database.run(lambda tx: halting.stop(tx, chain, cause, error.detail), "signer_halt")
    return cause


def _cause(error: SignerRefused) -> str:
    return "restored" if error.code == "let_go" else "signer_record"


def note(tx: Tx, chain: str, head: Head) -> None:
    """Keep the head up to which the record is known here; it never goes back."""
    h = signer_head.c
    newer = (h.chain == chain) & (h.entries < head.count)
    tx.execute(update(signer_head).where(newer).values(entries=head.count, hash=head.hash, at=tx.now))


def heads(tx: Tx) -> Mapping[str, Head]:
    """How far the record is known here, by chain."""
    return {row.chain: Head(row.entries, row.hash) for row in tx.all(select(signer_head))}


def accept(tx: Tx, chain: str, head: Head) -> None:
    """Take the record as it stands for the right one, whatever this database knew of it: an operator's word."""
    values = {"entries": head.count, "hash": head.hash, "at": tx.now}
    if tx.execute(update(signer_head).where(signer_head.c.chain == chain).values(values)).rowcount == 0:
        tx.execute(insert(signer_head).values(values | {"chain": chain}))


def _compare(services: Services, signer: Signer, chain: str) -> tuple[str, str] | None:
    ours, known, signed_here = services.database.read(lambda tx: _known(tx, chain))
    seen = signer.look(known, chain)  # before the rows are read that are to explain what it has ahead of them
    if seen.installation is not None and seen.installation != ours:
        return (
            "other_installation",
            f"the signer's record belongs to the installation {seen.installation}, this one is {ours}",
        )
    if seen.faults:
        return "signer_record", seen.faults[0]
    if not seen.continues:
        gone = f"entry {known.count} is not there any more, the last is {seen.head.count}"
        return "signer_record", f"it was lost or rolled back: {gone}"
    if known.count == 0 and not seen.ahead and signed_here:
        return "signer_record", "it is empty, and payments were signed on this chain"
    if seen.installation is None:
        signer.found(ours)
    strange = services.database.read(lambda tx: _unexplained(tx, seen.ahead))
    if strange is not None:
        detail = f"the signer's record is ahead: {strange.kind} of {strange.payment} is nothing that it knows"
        return "restored", f"the database is older than what was signed. {detail}"
    if seen.ahead or known == Head() or seen.head.count - known.count > _BEHIND_MAX:
        _catch_up(services, chain, seen.head)
    return None


def _known(tx: Tx, chain: str) -> tuple[str, Head, bool]:
    """This installation's public id, the head that it last saw, and whether it ever signed on this chain."""
    ours = str(tx.value(select(installation.c.public_id)))
    row = tx.first(select(signer_head).where(signer_head.c.chain == chain))
    if row is not None and row.entries:
        return ours, Head(row.entries, row.hash), True
    signed = tx.value(select(candidate.c.id).where(candidate.c.chain == chain).limit(1))
    return ours, Head(), signed is not None


def _catch_up(services: Services, chain: str, head: Head) -> None:
    def write(tx: Tx) -> None:
        if tx.first(select(signer_head.c.chain).where(signer_head.c.chain == chain)) is None:
            tx.execute(insert(signer_head).values(chain=chain, entries=head.count, hash=head.hash, at=tx.now))
        note(tx, chain, head)

    try:
        services.database.run(write, "signer_head")
    except IntegrityError:  # another worker was first
        services.database.run(write, "signer_head")


def _unexplained(tx: Tx, entries: Sequence[Entry]) -> Entry | None:
    """The first entry that this database cannot have led to."""
    if not entries:
        return None
    ids = sorted({entry.payment for entry in entries})
    p, c = payment.c, candidate.c
    rows: dict[str, Row[Any]] = {}
    for start in range(0, len(ids), 500):
        rows |= {row.public_id: row for row in tx.all(select(payment).where(p.public_id.in_(ids[start : start + 500])))}
    for entry in entries:
        row = rows.get(entry.payment)
        if row is None or row.proposal is None:
            return entry
        if row.state in _UNDERWAY[entry.kind]:
            continue
        if entry.kind == "signed" and sorted(row.proposal["resources"]) != entry.body["resources"]:
            return entry
        if entry.kind == "candidate":
            same = (c.payment_id == row.id) & (c.txid == entry.body["txid"])
            if tx.value(select(c.id).where(same)) is None:
                return entry
        if row.state in _NOT_YET.get(entry.kind, ()) or row.state != _ENDS.get(entry.kind, row.state):
            return entry
    return None
