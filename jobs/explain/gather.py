"""All of it together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Row, select

from jobs.explain.find import Found, find, related, rows
from jobs.explain.moments import Moment, moments
from jobs.explain.subject import subject
from jobs.next_steps import next_steps
from jobs.payment import books as payment_books
from jobs.reconcile import outgoing
from jobs.trace import tell as trace_tell
from ledger import halts
from ledger.db import Tx
from ledger.errors import NotFound
from ledger.schema import alarm

#: Deposits of one answer whose money is followed.
TRACED_MAX = 5


@dataclass
class Explanation:
    """What was found: the rows, what happened to them in order, open alarms, and the safe next steps of each."""

    subjects: list[dict[str, Any]] = field(default_factory=list)
    timeline: list[Moment] = field(default_factory=list)
    trace: list[str] = field(default_factory=list)  #: where the money of the deposits that were asked for went
    alarms: list[str] = field(default_factory=list)
    actions: list[str] = field(default_factory=list)
    candidates: list[Row[Any]] = field(default_factory=list)  #: what a node can be asked about


def explain(tx: Tx, text: str) -> Explanation:
    """Raises `NotFound` when nothing here has this id, txid, address or reference."""
    named = find(tx, text)
    shown = Explanation()
    _follow(tx, named, shown)
    found = related(tx, named)
    _strange(tx, text, shown)
    if not any(found.values()) and not shown.subjects:
        raise NotFound(f"nothing here is known as {text}")
    for kind, of_kind in found.items():
        for row in of_kind.values():
            shown.subjects.append(subject(tx, kind, row))
            shown.timeline += moments(tx, kind, row)
            shown.alarms += _alarms(tx, kind, row)
            shown.actions += next_steps(tx, kind, row)
    for row in found["payment"].values():
        shown.candidates += payment_books.candidates(tx, row.id)
    shown.timeline = sorted(set(shown.timeline))
    shown.actions = list(dict.fromkeys(shown.actions))
    return shown


def _strange(tx: Tx, text: str, shown: Explanation) -> None:
    """What left a wallet and no payment here made: by its txid, or by the nonce, input or key image that it used."""
    for row in outgoing.named(tx, text):
        fields = {"chain": row.chain, "state": row.state, "block": row.height, "uses": ", ".join(row.resources)}
        looked = {"accepted_by": row.actor, "because": row.note} if row.state == "accepted" else {}
        shown.subjects.append({"kind": "outgoing", "id": row.name} | fields | looked)
        shown.timeline.append(Moment(row.seen_at, 0, row.name, "seen on chain, made by no payment here"))
        if row.state == "unknown":
            shown.actions += [
                f"coffer lift-halt {row.chain} {cause} --reason ...   once you know who made it: {why}"
                for cause, why in halts.all_of(tx, row.chain)
                if cause in outgoing.CAUSES
            ]


def _follow(tx: Tx, named: Found, shown: Explanation) -> None:
    """Where the money of the deposits that a text names went; what they paid for is shown with them."""
    for paid in list(named["deposit"].values())[:TRACED_MAX]:
        lines, paid_for = trace_tell.told(tx, paid)
        shown.trace += lines
        for kind, row_id in sorted(paid_for):
            named[kind] |= rows(tx, kind, row_id)


def _alarms(tx: Tx, kind: str, row: Row[Any]) -> list[str]:
    subjects: Sequence[str] = (f"{kind}:{row.id}",)
    query = select(alarm).where(alarm.c.subject.in_(subjects), alarm.c.open == 1)
    return [f"{row.public_id}: {a.name}, {a.count} times: {a.detail}" for a in tx.all(query)]
