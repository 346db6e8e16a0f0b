"""The brake: books and chain compared all the time; a difference that stands pauses withdrawals of its asset alone.

A difference may be timing for a moment: a block has come that the rows have not digested yet. So one look decides only
where nothing can be on the move; else two looks do, seconds apart, at rows that know the block; and what stands for
minutes pauses in any case. Only an operator lets the asset go on (`jobs.reconcile.differences`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Row, false, or_, select

from jobs import alarms, halting, tasks
from jobs.reconcile import differences, lost
from jobs.reconcile.chain import Look, Report, survey
from jobs.saga import SECOND
from jobs.services import Services, require_healthy
from jobs.tasks import Ran
from ledger import founding, pauses
from ledger.db import Tx
from ledger.schema import deposit, payment
from wallets.protocol import DepositStatus, Tip

#: Indices of an asset asked in each look; the balance sync looks at more.
INDICES_MAX = 200
#: A difference is looked at again after this.
AGAIN_US = 10 * SECOND
#: What came in and nobody explains is followed by the balance sync first; it harms nobody for so long.
SURPLUS_US = 60 * SECOND
#: A difference that stands for so long is one, whatever else is going on. While it stands it is looked at every
#: `AGAIN_US`; where nobody looked for longer than `UNSEEN_US`, it may be another one.
STANDS_US = 300 * SECOND
UNSEEN_US = 120 * SECOND


@dataclass(frozen=True)
class Moment:
    """How far the rows were when the chain was looked at."""

    digested: bool  #: they know this block, and nothing that it may have undone waits to be undone
    quiet: bool  #: nothing is on its way, and all that ever was is final: no difference can be timing


def task(row: Row[Any], services: Services) -> Ran:
    """Task step for `reconcile:<chain>`: keep the reports by asset; raise and pause where a difference stands."""
    chain = row.name.partition(":")[2]
    _check_owner(services, chain)
    found = survey(services, chain, most=INDICES_MAX)
    looks = found.looks
    last: Mapping[str, Any] = row.progress or {}
    moment, excused, now = services.database.read(
        lambda tx: (_moment(tx, chain, looks[0].balance.tip), _excused(tx, looks), tx.now)
    )
    kept = {
        code: _kept(report, last.get(code, {}), moment, now, excused=code in excused)
        for code, report in ((look.report.asset, look.report) for look in looks)
    }
    kept |= {code: dict(last[code]) for code in found.unread if code in last}  # with its age

    def effect(tx: Tx, _: Row[Any]) -> None:
        for look in looks:
            _judge(tx, look, kept[look.report.asset], moment, excused=look.report.asset in excused)
        for code, why in found.unread.items():
            alarms.raise_(tx, "reconciliation", _subject(code), f"{code} cannot be compared: {why}")
        if any(look.report.unexplained_units > 0 for look in looks):
            tasks.wake(tx, f"sync:{chain}")  # which knows where to look, and follows what it finds

    odd = any(look.report.unexplained_units for look in looks)
    return Ran(values={"progress": kept}, effect=effect, due_us=AGAIN_US if odd else None)


def _check_owner(services: Services, chain: str) -> None:
    """Another database that took the wallet over since this one was started on it: from then on that one pays."""
    owner, ours = services.wallet(chain).marked(), services.database.read(founding.public_id)
    if owner not in (None, ours):
        why = f"the wallet carries the mark of installation {owner}; this one is {ours}"
        services.database.run(lambda tx: halting.stop(tx, chain, "other_installation", why), "halt")


def _moment(tx: Tx, chain: str, tip: Tip) -> Moment:
    """Rows that undo what a reorganisation took are made due in the commit that writes the new tip; one whose step
    failed for its node is put off, and has not undone it; nor has a credit that is no longer seen in a block, whose
    row a clock that was set back makes wait. Raises `NodeNotReady`: what a node that is behind, or lost its last
    blocks, does not see is no proof of anything."""
    known = require_healthy(tx, chain)
    p, d = payment.c, deposit.c
    gone = (d.credited == 1) & (d.seen != str(DepositStatus.CONFIRMED))
    busy = [
        select(t.id)
        .where(t.chain == chain, state, or_(t.due_at <= tx.now, t.lease_until > tx.now, t.attempts > 0, waits))
        .limit(1)
        for t, state, waits in (
            (p, p.state == "settled", false()),
            (d, d.state.in_(("credited", "held", "ignored")), gone),
        )
    ]
    digested = known.tip_hash == tip.hash and all(tx.value(query) is None for query in busy)
    moving = [
        select(p.id).where(p.chain == chain, p.state.not_in(("final", "dead"))).limit(1),
        select(d.id).where(d.chain == chain, d.due_at.is_not(None)).limit(1),
    ]
    return Moment(digested, digested and all(tx.value(query) is None for query in moving))


def _excused(tx: Tx, looks: Sequence[Look]) -> set[str]:
    """Assets that have too little now, and no more too little than payments that the node has lost may explain."""
    explained = lost.may_explain(tx, looks[0].sights)
    found = set()
    for report in (look.report for look in looks):
        most = explained.get(report.asset, 0)
        if report.unexplained_units < 0 and (most is None or -report.unexplained_units <= most):
            found.add(report.asset)
    return found


def _kept(report: Report, before: Mapping[str, Any], moment: Moment, now: int, *, excused: bool) -> dict[str, Any]:
    """The report as text, with how long there has been such a difference, too much or too little (one that grows with
    every block is one), and how often this same one was seen at rows that know the block."""
    values = {name: value if name == "height" else str(value) for name, value in asdict(report).items()}
    units, was = report.unexplained_units, int(before.get("unexplained_units", 0))
    same_sign = "since" in before and _sign(was) == _sign(units) and not excused
    since = int(before["since"]) if same_sign and now - int(before["at"]) <= UNSEEN_US else now
    looks = (int(before["looks"]) if same_sign and was == units else 0) + int(moment.digested and not excused)
    return values | {"since": since, "looks": looks, "at": now}


def _sign(units: int) -> int:
    return (units > 0) - (units < 0)


def _judge(tx: Tx, look: Look, kept: Mapping[str, Any], moment: Moment, *, excused: bool) -> None:
    report = look.report
    subject = _subject(report.asset)
    if report.unexplained_units == 0:
        alarms.clear(tx, subject)
        differences.over(tx, report.asset)
        return
    detail = f"{report.asset}: {report.unexplained_units} units on chain are unexplained at height {report.height}"
    if excused:
        detail += "; payments that are in neither pool nor chain now may explain it"
    alarms.raise_(tx, "reconciliation", subject, detail)
    if (
        not excused
        and _stands(report, kept, moment)
        and differences.accepted(tx, report.asset) != report.unexplained_units
    ):
        pauses.stop(tx, report.asset, "withdrawals", detail[:255], "engine")


def _subject(code: str) -> str:
    return f"reconcile:{code}"


def _stands(report: Report, kept: Mapping[str, Any], moment: Moment) -> bool:
    age_us = kept["at"] - kept["since"]
    if age_us >= STANDS_US:
        return True
    if report.unexplained_units > 0:
        return moment.digested and kept["looks"] >= 2 and age_us >= SURPLUS_US
    return moment.quiet or (moment.digested and kept["looks"] >= 2)
