"""Why queued withdrawals wait while their asset is paused or their chain is halted, written on each of them."""

from __future__ import annotations

from sqlalchemy import false, or_, select

from jobs import withdrawal
from jobs.assets import on_chain
from ledger import halts, pauses
from ledger.db import Tx
from ledger.schema import withdrawal as table

HALTED = "signing_halted"
PAUSED = "paused"
#: Withdrawals written in one go; more follow with the next.
MARK_MAX = 1_000


def mark(tx: Tx, chain: str) -> None:
    """Show the reason on those that wait, and take it away from those that do not any more."""
    halted = halts.reason(tx, chain)
    for found in on_chain(tx, chain):
        paused = pauses.reason(tx, found.code, "withdrawals")
        if halted is not None:
            _show(tx, chain, found.code, HALTED, halted)
        elif paused is not None:
            _show(tx, chain, found.code, PAUSED, paused)
        else:
            _show(tx, chain, found.code, None, None)


def _show(tx: Tx, chain: str, code: str, reason: str | None, detail: str | None) -> None:
    """A reason that decides about the next payment (`retry_alone`) is left alone. The detail is cut to its column."""
    w = table.c
    waits = (w.chain == chain) & (w.asset == code) & (w.state == "queued") & w.payment_id.is_(None)
    ours = [word for word in (HALTED, PAUSED) if word != reason]
    other = or_(w.status_reason.in_(ours), w.status_reason.is_(None) if reason is not None else false())
    ids = [row.id for row in tx.all(select(w.id).where(waits, other).order_by(w.id).limit(MARK_MAX))]
    rows = [row for row in withdrawal.lock_all(tx, ids) if row.state == "queued" and row.payment_id is None]
    if rows:
        withdrawal.move_all(tx, rows, "queued", reason=reason, detail=None if detail is None else detail[:512])
