"""A restored database against its chain: all that happened in the life that was lost, as far as anybody can tell.

Three witnesses remain. The chain shows what confirmed, or waits in the node's pool. The signer's record, where it
survived, knows what was signed, for whom. And the rows know what they had under way. What none of them knows may still
have happened: bytes that were signed, sent, and are in no pool that we see. `jobs.backup.lift` takes care of that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Row, select

from jobs import tasks
from jobs.backup import quarantine
from jobs.backup.adopt import adopt
from jobs.payment import books as payment_books
from jobs.payment.contents import stored
from jobs.reconcile import chain as reconciliation
from jobs.reconcile.chain import Report
from jobs.runtime import Runtime
from jobs.services import Services, chain_row
from jobs.signer.record import Candidate, Known, Record
from ledger.db import Tx
from ledger.errors import CofferError, NodeNotReady, NodeProtocolError
from ledger.schema import deposit, index_counter, outgoing, payment, task, withdrawal
from wallets.protocol import ChainWallet, Tip, TxState

#: Blocks before the backup's tip from which a wallet that was put back reads again: what reorganisations may change.
OVERLAP = 100
#: Looks at the chain before we say that it is longer than can be read at once.
SCANS_MAX = 10_000
#: Withdrawals that nothing was signed for here.
OPEN = ("pending_approval", "queued")
#: With those whose payment was signed here, and not committed to be sent.
UNCOMMITTED = (*OPEN, "signed")


@dataclass(frozen=True)
class Finding:
    """One thing that the lost life left. `open`: it needs a person's word before anything is signed."""

    kind: str
    subject: str  #: an id, a txid, an address, or the chain
    detail: str
    open: bool


@dataclass(frozen=True)
class Comparison:
    """What the comparison of one chain found."""

    chain: str
    tip: Tip
    knows_signed: bool  #: the signer's record is of now
    findings: Sequence[Finding]
    reports: Sequence[Report]
    paid: frozenset[str] = field(default_factory=frozenset)  #: public ids of open withdrawals that were signed since

    @property
    def unexplained(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.open]


def compare(services: Services, runtime: Runtime, chain: str, records: Sequence[Record]) -> Comparison:
    """Look at everything. Raises `NodeNotReady` while the node is not to be relied on or knows less than the backup."""
    row = services.database.read(quarantine.current)
    wallet = services.wallet(chain)
    tip = _require_caught_up(wallet, row, chain)
    _recover(services, wallet, row)
    _scan(services, runtime, chain)
    adopt(services, chain, records)
    lost = [known for record in records for known in record.payments(chain)]
    lost = services.database.read(lambda tx: _unknown(tx, lost))
    surveyed = reconciliation.survey(services, chain)
    reports = [look.report for look in surveyed.looks]
    findings = [
        *services.database.read(lambda tx: _left(tx, chain, lost)),
        *_signed_since(services, wallet, lost),
        *_contested(services, wallet, chain),
        *services.database.read(lambda tx: _deposits(tx, row, chain)),
        *_differences(reports),
        *(Finding("books", code, f"cannot be compared: {why}", True) for code, why in surveyed.unread.items()),
    ]
    members = frozenset(member for known in lost if known.left for member in known.withdrawals)
    paid = services.database.read(lambda tx: _still_open(tx, chain, members))
    if not quarantine.knows_signed(row, chain):
        findings += services.database.read(lambda tx: _doubtful(tx, chain))
    return Comparison(chain, tip, quarantine.knows_signed(row, chain), findings, reports, paid)


def _require_caught_up(wallet: ChainWallet, row: Row[Any], chain: str) -> Tip:
    health = wallet.health()
    if not health.ok or health.tip is None:
        raise NodeNotReady(f"the {chain} node cannot be relied on now: {health.reason}: {health.detail}")
    read_up_to = row.marks["chains"][chain]["tip_height"]
    if read_up_to is not None and health.tip.height < read_up_to:
        detail = f"the node is at block {health.tip.height}, the backup was made at {read_up_to}"
        raise NodeNotReady(f"{detail}: nothing can be compared before it has caught up")
    return health.tip


def _recover(services: Services, wallet: ChainWallet, row: Row[Any]) -> None:
    """Once: a wallet that came from the backup, or from another one, has not seen what came to addresses made since."""
    if (row.report or {}).get(wallet.chain, {}).get("recovered"):
        return
    c = index_counter.c
    count = services.database.read(lambda tx: tx.value(select(c.next_index).where(c.chain == wallet.chain)))
    read_up_to = row.marks["chains"][wallet.chain]["tip_height"] or 0
    wallet.recover(int(count), max(0, read_up_to - OVERLAP))
    services.database.run(lambda tx: quarantine.note(tx, wallet.chain, {"recovered": True}), "recovered")


def _scan(services: Services, runtime: Runtime, chain: str) -> None:
    """Have the rows read the chain up to now, as a worker would."""
    names = (f"watch:{chain}", f"scan:{chain}")
    found = {row.name: row.id for row in services.database.read(lambda tx: tx.all(select(task.c.name, task.c.id)))}
    for _ in range(SCANS_MAX):
        for name in names:
            services.database.run(lambda tx, n=name: tasks.run_now(tx, n), "compare_scan")  # type: ignore[misc]
            runtime.advance("task", found[name], woken=True)
        known = services.database.read(lambda tx: chain_row(tx, chain))
        if known.health_reason is not None:
            raise NodeNotReady(f"{known.health_reason}: {known.health_detail or ''}")
        health = services.wallet(chain).health()
        if health.tip is not None and known.tip_hash == health.tip.hash:
            return
    raise NodeNotReady(f"the {chain} chain grows faster than it can be read")


def _unknown(tx: Tx, signed: Iterable[Known]) -> list[Known]:
    """Of the payments in the signer's record those that no row here knows, or that nothing was bound for here."""
    bound = payment.c.fee_max_units.is_not(None)  # set with the proposal, which is long
    known = {row.public_id for row in tx.all(select(payment.c.public_id).where(bound))}
    return [each for each in signed if each.payment not in known]


def _left(tx: Tx, chain: str, lost: Sequence[Known]) -> list[Finding]:
    """What left the wallet and no row made: whose it was, where the signer's record says so."""
    o = outgoing.c
    owner = {candidate.txid: known for known in lost for candidate in known.candidates}
    found = []
    for row in tx.all(select(outgoing).where(o.chain == chain, o.state == "unknown").order_by(o.id)):
        known = owner.get(row.name)
        told = "neither rows nor signer's record know it" if known is None else f"signed as {_told(known)}"
        found.append(Finding("left", row.name, f"at block {row.height}: {told}", True))
    return found


def _signed_since(services: Services, wallet: ChainWallet, lost: Sequence[Known]) -> list[Finding]:
    found = []
    for known in lost:
        where = [_whereabouts(wallet, each) for each in known.candidates]
        if known.released is not None:
            told = f"{known.released}; let go"
        else:
            told = ", ".join(where) or "no bytes of it were kept"
        gone = known.released in ("dead", "reverted") or (known.released is not None and not known.candidates)
        found.append(Finding("signed", known.payment, f"{_told(known)}: {told}", not gone))
    return found


def _told(known: Known) -> str:
    who = ", ".join(f"{row} ({order})" for row, order in zip(known.withdrawals, known.orders, strict=True))
    return f"{known.payment}, {known.purpose} of {known.asset}" + (f" for {who}" if who else "")


def _whereabouts(wallet: ChainWallet, signed: Candidate) -> str:
    try:
        status = wallet.look_up(signed.transaction)
    except CofferError as error:
        return f"{signed.txid} cannot be looked up: {error.detail}"
    if status.state is TxState.UNKNOWN:
        return f"{signed.txid} is in neither pool nor chain, and may yet come"
    return f"{signed.txid} is {status.state}" + (f" {status.depth} deep" if status.depth else "")


def _contested(services: Services, wallet: ChainWallet, chain: str) -> list[Finding]:
    """Payments that the rows have under way, and whose resources something else has used."""
    p = payment.c
    states = ("signed", "broadcast", "confirming", "bumping", "settled", "review")
    query = select(payment).where(p.chain == chain, p.state.in_(states), p.candidates > 0).order_by(p.id)
    found = []
    for row in services.database.read(lambda tx: tx.all(query)):
        candidates = services.database.read(lambda tx, r=row: payment_books.candidates(tx, r.id))  # type: ignore[misc]
        try:
            sights = [wallet.look_up(stored(each, row)) for each in candidates]
        except NodeProtocolError as error:
            found.append(Finding("contested", row.public_id, f"cannot be looked up: {error.detail}", True))
            continue
        if all(status.state is TxState.CONFLICTED for status in sights):
            rivals = sorted({txid for status in sights for txid in status.conflicting}) or ["a transaction"]
            detail = f"its resources were used by {', '.join(rivals)}: a candidate made since, or another payment"
            found.append(Finding("contested", row.public_id, detail, True))
    return found


def _deposits(tx: Tx, row: Row[Any], chain: str) -> list[Finding]:
    """What came to indices that were given out since, whose owners are not known here."""
    d = deposit.c
    nobodys = (d.chain == chain) & d.address_id.is_(None) & d.account_id.is_(None)
    query = select(deposit).where(nobodys, d.created_at >= row.restored_at)
    told = "came to an address that was given out after the backup; `coffer quarantine give` says whose it is"
    return [
        Finding("deposit", found.address, f"{found.public_id}: {found.units} units of {found.asset} {told}", False)
        for found in tx.all(query.order_by(d.id))
    ]


def _differences(reports: Sequence[Report]) -> list[Finding]:
    return [
        Finding("books", report.asset, f"{report.unexplained_units} units on chain are in no book", True)
        for report in reports
        if report.unexplained_units != 0
    ]


def _still_open(tx: Tx, chain: str, members: frozenset[str]) -> frozenset[str]:
    w = withdrawal.c
    query = select(w.public_id).where(w.chain == chain, w.state.in_(UNCOMMITTED), w.public_id.in_(sorted(members)))
    return frozenset(row.public_id for row in tx.all(query))


def _doubtful(tx: Tx, chain: str) -> list[Finding]:
    """Without the record of what was signed since, whatever waits may have been paid."""
    w = withdrawal.c
    query = select(w.public_id, w.units, w.asset).where(w.chain == chain, w.state.in_(OPEN)).order_by(w.id)
    told = "may have been paid since: it goes to a person (review) when the quarantine is lifted"
    return [
        Finding("doubtful", row.public_id, f"{row.units} units of {row.asset}: {told}", False) for row in tx.all(query)
    ]
