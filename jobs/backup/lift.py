"""Letting a chain out of quarantine: compared once more, with every difference explained or taken upon by a person.

What waits in the rows is not simply paid then. Whatever the signer's record says was signed since goes to a person, and
where the record did not survive so does everything that waits: it may have been paid in the life that was lost, by
bytes that no pool shows now. Only payments whose intent to send was committed go on by themselves: they can pay only as
the candidates they have, or as others on the same resources.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, select, update

from jobs import halting, withdrawal
from jobs.backup import quarantine
from jobs.backup.compare import UNCOMMITTED, Comparison
from jobs.payment import books as payment_books
from jobs.payment import second_line
from jobs.reconcile import outgoing
from jobs.services import Services
from jobs.signer.record import Record
from ledger import audit, halts, history
from ledger.db import Tx
from ledger.errors import StateConflict
from ledger.schema import payment
from ledger.schema import withdrawal as withdrawals

#: Payments that were not committed to be sent: their withdrawals may have been paid by others since.
_UNCOMMITTED = ("building", "reserved", "signed")
REASON = "restored"


def lift(services: Services, found: Comparison, records: Sequence[Record], accept: str | None, actor: str) -> list[str]:
    """Let the chain go on as the comparison found it; the public ids of withdrawals that a person must decide about.

    Raises `StateConflict` while something is unexplained and `accept`, an operator's reason, is not given, and for
    whatever left since it was compared.
    """
    if found.unexplained and accept is None:
        first = found.unexplained[0]
        detail = f"{first.kind} {first.subject}: {first.detail}"
        raise StateConflict(f"{len(found.unexplained)} findings are unexplained on {found.chain}, the first: {detail}")

    def unit(tx: Tx) -> list[str]:
        row = quarantine.current(tx)
        quarantine.check_held(tx, found.chain)
        set_aside = _set_aside(tx, found, everything=not quarantine.knows_signed(row, found.chain))
        reason = accept or "explained by the comparison after a restore"
        _accept(tx, found, records, reason, actor)
        told = {"accepted": accept, "findings": [f"{f.kind} {f.subject}" for f in found.findings][:50]}
        quarantine.note(tx, found.chain, {"lifted": tx.now} | told)
        audit.record(tx, actor, "quarantine.lift", found.chain, told | {"to_review": set_aside[:50]})
        quarantine.end(tx, found.chain, actor, reason)
        return set_aside

    return services.database.run(unit, "quarantine_lift")


def _accept(tx: Tx, found: Comparison, records: Sequence[Record], reason: str, actor: str) -> None:
    """What was looked into is known from now on: it halts nothing again."""
    for record in records:
        head = record.head()
        if record.since(0, found.chain):
            second_line.accept(tx, found.chain, head)
    seen = {finding.subject for finding in found.findings if finding.kind == "left"}
    outgoing.accept(tx, found.chain, seen, reason, actor)
    for cause in outgoing.CAUSES:
        if halts.reason(tx, found.chain, (cause,)) is not None:
            halting.lift(tx, found.chain, cause, actor, reason)


def _set_aside(tx: Tx, found: Comparison, *, everything: bool) -> list[str]:
    """Put before a person what may have been paid: withdrawals to review; payments that were not committed let go."""
    w = withdrawals.c
    waiting = (w.chain == found.chain) & w.state.in_(UNCOMMITTED)
    if not everything:
        waiting &= w.public_id.in_(sorted(found.paid))
    ids = [row.id for row in tx.all(select(w.id).where(waiting).order_by(w.id))]
    rows = withdrawal.lock_all(tx, ids)
    for row in rows:
        detail = f"it may have been paid after the backup was made: see `coffer explain {row.public_id}` and its payee"
        withdrawal.move(tx, row, "review", reason=REASON, detail=detail)
    p = payment.c
    uncommitted = (p.chain == found.chain) & p.state.in_(_UNCOMMITTED)
    for row in tx.all(select(payment).where(uncommitted).order_by(p.id)):
        if everything or any(member.id in set(ids) for member in payment_books.members(tx, row.id)):
            _let_go(tx, row)
    return [row.public_id for row in rows]


def _let_go(tx: Tx, row: Row[Any]) -> None:
    """A payment that was not committed here may have been sent since all the same: one with bytes goes to a person."""
    state = "review" if row.candidates else "releasing"
    history.note(tx, "payment", row.id, row.state, state, REASON)
    changed = {"state": state, "status_reason": REASON, "declined": REASON, "version": row.version + 1}
    changed |= {"due_at": None if state == "review" else tx.now, "updated_at": tx.now}
    fenced = {"lease_token": None, "lease_until": 0}  # whoever runs a step of it finds its lease gone
    tx.execute(update(payment).where(payment.c.id == row.id).values(changed | fenced))
