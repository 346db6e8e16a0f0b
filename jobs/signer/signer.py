"""The signer: whatever is asked of it is held against committed rows, and against its own record of what it signed.

The record lies outside the database. The daily cap is counted from there, and a database that was restored or altered
cannot have a withdrawal, or a shop's order, signed a second time in another payment, a coin or nonce bound to two
payments, or other bytes sent than those that were signed (FAULTS 2.3, rule 19).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any

from jobs.row_mac import RowMac
from jobs.signer.entries import Entry, Head
from jobs.signer.record import Known, Record, View, Writer, digest_of
from jobs.signer.request import SignerRefused, SignRequest, order_of, outflow_of, payload_of
from jobs.signer.rules import Rules
from wallets.protocol import SignedTransaction

DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Learnt:
    """A payment as the database knows it: what was asked, all bytes that were signed for it, all that it has bound."""

    request: SignRequest
    signed: Sequence[SignedTransaction]  #: the oldest first
    resources: Collection[str]
    left: bool
    made_at: int  #: when its newest bytes were made, in seconds since 1970 by the database's clock
    vague: Collection[str] = ()  #: txids of bytes that may spend something else than is said here
    spared: Collection[str] = ()  #: what it was bound to and keeps from others no more, being in the chain for good


@dataclass(frozen=True, slots=True)
class Leftover:
    """What bytes that are in the chain for good do not spend of all that was ever bound to their payment."""

    free: frozenset[str]  #: others may spend it, once that is recorded (`Signer.spare`)
    kept: frozenset[str]  #: nothing here proves that no other bytes of the payment will spend it


@dataclass(frozen=True, slots=True)
class Look:
    """The record as seen from a head that somebody knows of it."""

    head: Head
    installation: str | None
    faults: list[str]
    continues: bool  #: the known head is still one of its entries
    ahead: Sequence[Entry]  #: what follows that head on the chain that was asked for


class Signer:
    """Checks every signature request. `caps_units` is asset -> the most that may leave in 24 hours, fees included;
    `cold` is chain -> the only address that moves to cold may pay. Neither comes from the database."""

    def __init__(
        self,
        folder: Path,
        mac: RowMac,
        caps_units: Mapping[str, int],
        cold: Mapping[str, str] | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.record = Record.make(folder, clock)
        self._rules = Rules(mac, cold or {})
        self._caps = dict(caps_units)
        self._whole: Head | None = None

    def found(self, installation: str) -> None:
        """Make an empty record this installation's own; one that belongs to somebody stays as it is."""
        with self.record.writing() as record:
            if record.head() == Head():
                record.append("founded", "", "", {"installation": installation, "id": token_hex(16)})

    def faults(self) -> list[str]:
        """What is wrong with the record. The first look reads all of it, later ones what came since."""
        return self.look(Head(), "").faults

    def look(self, known: Head, chain: str) -> Look:
        """The record at this moment, as it continues what is `known` of it."""
        try:
            with self.record.reading() as view:
                found = ["not looked at yet"] if self._whole is None else view.faults(self._whole)
                if found:  # what was put in its place may be whole; whether it is the right one is not said here
                    found = view.faults()
                head = view.head()
                self._whole = None if found else head
                same = view.hash_at(known.count) == known.hash
                return Look(head, view.installation(), found, same, view.since(known.count, chain))
        except sqlite3.DatabaseError as error:
            return Look(Head(), None, [f"the record cannot be read: {error}"], False, ())

    # Before the bytes

    def check(self, request: SignRequest) -> None:
        """Whether the rows are what was committed and may be paid at all, whatever the wallet comes to choose: asked
        before it chooses. Raises `SignerRefused`; records nothing."""
        self._rules.check(request)
        with self.record.reading() as view:
            known = view.known(request.payment_id)
            if known is not None:
                raise SignerRefused("payload_changed", "this payment was signed before; its resources are chosen")
            _check_first(view, request)

    def admit(self, request: SignRequest) -> None:
        """Record that this payment is to be signed, once. Raises `SignerRefused` and records nothing otherwise."""
        self._rules.check(request)
        if request.fee_units > request.fee_max_units:
            raise SignerRefused("fee_above_ceiling", f"a fee of {request.fee_units} is above {request.fee_max_units}")
        outflow = outflow_of(request)
        for asset, _, _ in outflow:
            if asset not in self._caps:
                raise SignerRefused("outflow_cap", f"the signer has no daily cap for {asset}")
        with self.record.writing() as record:
            known = record.known(request.payment_id)
            if known is not None:
                _check_same(known, request)
                return
            _check_first(record, request)
            _check_free(record, request, request.resources)
            _check_token(record, request)
            for asset in dict.fromkeys(asset for asset, _, _ in outflow):
                self._check_cap(record, asset, sum(units for code, _, units in outflow if code == asset))
            if request.token is not None and _contract(record, request.asset) is None:
                record.append("token", "", "", {"asset": request.asset, "contract": request.token})
            record.append("signed", request.chain, request.payment_id, _signed(request, outflow))

    # With the bytes

    def note(self, request: SignRequest, signed: SignedTransaction) -> Head:
        """Record bytes that were signed for an admitted payment, before anything is done with them; the new head.

        The same bytes again change nothing. Raises `SignerRefused` for a payment that is not as it was admitted or was
        let go, and for bytes that would spend what belongs to another payment, or nothing of its own: they are thrown
        away.
        """
        with self.record.writing() as record:
            known = record.known(request.payment_id)
            if known is None:
                raise SignerRefused("not_admitted", "bytes for a payment that was never admitted")
            _check_same(known, request)
            body = _bytes(signed, {resource for (resource,) in record.all(_BOUND, request.payment_id)})
            same = [found for found in known.candidates if found.txid == signed.txid]
            if same and same[0].digest != body["digest"]:
                raise SignerRefused("payload_changed", f"{signed.txid} was signed before as other bytes")
            if same:
                return record.head()
            if record.spared(request.payment_id):
                raise SignerRefused(
                    "settled_for_good", "bytes of it are in the chain for good, and others may use the rest"
                )
            if not set(signed.resources) & set(known.resources):
                raise SignerRefused("resource_mismatch", "a candidate shares a resource with its payment")
            _check_free(record, request, signed.resources)
            return record.append("candidate", request.chain, request.payment_id, body)

    def leave(self, payment_id: str, signed: SignedTransaction) -> Head:
        """Record that the payment's bytes may be sent from now on. A repeat changes nothing."""
        with self.record.writing() as record:
            known = _check_sendable(record, payment_id, signed)
            return record.head() if known.left else record.append("left", known.chain, payment_id, {})

    def check_sendable(self, payment_id: str, signed: SignedTransaction) -> None:
        """Raises `SignerRefused` unless these very bytes were signed for the payment and it was not let go."""
        with self.record.reading() as view:
            _check_sendable(view, payment_id, signed)

    # Afterwards

    def known(self, payment_id: str) -> Known | None:
        """What the record knows of a payment."""
        return self.record.payment(payment_id)

    def release(self, payment_id: str, proof: str) -> Head:
        """Record that a payment was let go, so that its withdrawals may be signed in another one, and why: `unsent`,
        never left, or by the chain's word `dead` or `reverted`. A repeat, or a payment that it never saw, changes
        nothing. Raises `SignerRefused` for `unsent` when it knows that the payment may have left."""
        with self.record.writing() as record:
            known = record.known(payment_id)
            if known is None or known.released in (proof, "dead", "reverted"):
                return record.head()
            if proof == "unsent" and known.left:
                raise SignerRefused("still_alive", "its bytes may have been sent, and nothing proves them dead")
            return record.append("released", known.chain, payment_id, {"proof": proof})

    def left_over(self, payment_id: str, settled: SignedTransaction) -> Leftover:
        """What a payment need not keep from others any more, now that these bytes of it are in the chain for good, and
        what it must. Records nothing. Raises `SignerRefused` for bytes that were not signed for it."""
        with self.record.reading() as view:
            return _left_over(view, _check_sendable(view, payment_id, settled), settled)

    def spare(self, payment_id: str, settled: SignedTransaction) -> Head:
        """Record that these bytes are in the chain for good, by the chain's word, so that what they leave over may be
        signed away in other payments. A repeat, or bytes that leave nothing, change nothing. Raises `SignerRefused` for
        bytes that were not signed for it."""
        with self.record.writing() as record:
            known = _check_sendable(record, payment_id, settled)
            free = _left_over(record, known, settled).free
            if not free:
                return record.head()
            return record.append("spared", known.chain, payment_id, {"txid": settled.txid, "resources": sorted(free)})

    def learn(self, many: Iterable[Learnt]) -> int:
        """Take over what a database knows of payments, and this record does not: those that it has never seen, and of
        those that it has seen with the same contents the bytes since; of how many. What it let go stays let go, what it
        spared stays spared. Only for a record that an operator puts in the place of a lost one."""
        with self.record.writing() as record:
            return sum(_learn(record, each) for each in many)

    def _check_cap(self, record: Writer, asset: str, units: int) -> None:
        """What was let go counts no more, but for the fee that a reverted payment took."""
        rows = record.all(_SPENT, asset, record.now - DAY_SECONDS)
        spent, cap = sum(int(row[0]) for row in rows), self._caps[asset]
        if spent + units > cap:
            raise SignerRefused(
                "outflow_cap", f"the signer let out {spent} of {cap} units of {asset} in the last 24 hours"
            )


def _signed(request: SignRequest, outflow: list[tuple[str, str, int]]) -> dict[str, Any]:
    return {
        "purpose": request.purpose,
        "asset": request.asset,
        "payload": payload_of(request),
        "resources": sorted(request.resources),
        "claims": sorted(request.resources),
        "withdrawals": [[row.public_id, order_of(row)] for row in request.withdrawals],
        "paid": sorted([address, str(units)] for address, units in request.outputs),
        "outflow": [[asset, part, str(units)] for asset, part, units in outflow],
    }


def _learn(record: Writer, each: Learnt) -> bool:
    """Whether anything of the payment was new. One that the record knows otherwise is nothing to go on with."""
    request, before = each.request, record.head()
    known = record.known(request.payment_id)
    if known is not None and (known.payload != payload_of(request) or known.released is not None):
        return False
    if record.spared(request.payment_id):
        return False
    if known is None:
        outflow = outflow_of(request) if each.made_at > record.now - DAY_SECONDS else []  # the cap is of one day
        claims = sorted({*request.resources, *each.resources})
        record.append("signed", request.chain, request.payment_id, _signed(request, outflow) | {"claims": claims})
    there = {found.txid for found in record.candidates(request.payment_id)}
    for signed in each.signed:
        if signed.txid not in there:
            bound = {resource for (resource,) in record.all(_BOUND, request.payment_id)}
            vague = {"vague": True} if signed.txid in each.vague else {}
            record.append("candidate", request.chain, request.payment_id, _bytes(signed, bound) | vague)
    if each.left and (known is None or not known.left):
        record.append("left", request.chain, request.payment_id, {})
    if each.spared:
        record.append("spared", request.chain, request.payment_id, {"txid": "", "resources": sorted(each.spared)})
    return record.head() != before


def _bytes(signed: SignedTransaction, bound: set[str]) -> dict[str, Any]:
    """What the record keeps of signed bytes. A draft that holds them, too, is not needed to find them again."""
    return {
        "txid": signed.txid,
        "digest": digest_of(signed.txid, signed.raw, signed.payload),
        "draft": "" if signed.raw in signed.payload else signed.payload,
        "fee": str(signed.fee_units),
        "resources": sorted(signed.resources),
        "claims": sorted(set(signed.resources) - bound),
    }


def _check_same(known: Known, request: SignRequest) -> None:
    if known.payload != payload_of(request):
        raise SignerRefused("payload_changed", "this payment was signed before with other contents")
    if known.released is not None:
        raise SignerRefused("payload_changed", "this payment was let go, and others may have been paid in its place")


def _check_first(view: View, request: SignRequest) -> None:
    """No withdrawal, and no order of a shop under whatever id, is in a payment that may yet pay."""
    for row in request.withdrawals:
        before = view.first(_LIVE, row.public_id, request.payment_id)
        if before is not None:
            raise SignerRefused("signed_before", f"the withdrawal was signed in {before[0]}, which may yet pay", row.id)
        before = view.first(_LIVE_ORDER, order_of(row), request.payment_id)
        if before is not None:
            detail = f"the same order of the shop was signed as {before[1]} in {before[0]}, which this database lost"
            raise SignerRefused("order_signed_before", detail, row.id)


def _check_free(view: View, request: SignRequest, resources: Any) -> None:
    """A coin or nonce serves one payment, until that one is let go, or is in the chain for good without it."""
    for resource in resources:
        other = view.first(_OWNER, request.chain, resource, request.payment_id)
        if other is not None:
            raise SignerRefused("resource_bound", f"{resource} was signed away in {other[0]}")


def _check_token(view: View, request: SignRequest) -> None:
    """An asset stands for the contract that it stood for when it was first signed, whatever its row says today."""
    known = _contract(view, request.asset)
    if request.token is not None and known is not None and known != request.token:
        raise SignerRefused("token_changed", f"{request.asset} stood for the contract {known} before")


def _contract(view: View, asset: str) -> str | None:
    found = view.first("SELECT contract FROM token WHERE asset = ?", asset)
    return None if found is None else str(found[0])


def _check_sendable(view: View, payment_id: str, signed: SignedTransaction) -> Known:
    known = view.known(payment_id)
    if known is None:
        raise SignerRefused("not_signed_here", "the signer does not know this payment")
    if known.released is not None:
        raise SignerRefused("let_go", "this payment was let go, and others may have been paid in its place")
    digest = digest_of(signed.txid, signed.raw, signed.payload)
    if all(digest != found.digest for found in known.candidates):
        raise SignerRefused("bytes_changed", f"the stored bytes of {signed.txid} are not what was signed")
    return known


def _left_over(view: View, known: Known, settled: SignedTransaction) -> Leftover:
    """Other bytes of the payment that spend what these spend are dead. What only such bytes were to spend is free."""
    used = next(set(each.resources) for each in known.candidates if each.txid == settled.txid)
    bound = {resource for (resource,) in view.all(_BOUND, known.payment)}
    vague = {each.txid for each in known.candidates if each.vague}
    if vague:  # of none can be said what it leaves, or whether it is dead
        return Leftover(frozenset(), frozenset(bound if settled.txid in vague else bound - used))
    alive = {resource for each in known.candidates if used.isdisjoint(each.resources) for resource in each.resources}
    rest = bound - used - view.spared(known.payment)
    return Leftover(frozenset(rest - alive), frozenset(rest & alive))


_LIVE = """
SELECT m.payment FROM member m WHERE m.withdrawal = ? AND m.payment <> ?
AND NOT EXISTS (SELECT 1 FROM released r WHERE r.payment = m.payment) LIMIT 1
"""
_LIVE_ORDER = """
SELECT m.payment, m.withdrawal FROM member m WHERE m."order" = ? AND m.payment <> ?
AND NOT EXISTS (SELECT 1 FROM released r WHERE r.payment = m.payment) LIMIT 1
"""
_OWNER = """
SELECT b.payment FROM bound b WHERE b.chain = ? AND b.resource = ? AND b.payment <> ?
AND NOT EXISTS (SELECT 1 FROM released r WHERE r.payment = b.payment)
AND NOT EXISTS (SELECT 1 FROM spared s WHERE s.chain = b.chain AND s.resource = b.resource AND s.payment = b.payment)
LIMIT 1
"""
_BOUND = "SELECT resource FROM bound WHERE payment = ?"
_SPENT = """
SELECT o.units FROM outflow o WHERE o.asset = ? AND o.at > ? AND NOT EXISTS (
    SELECT 1 FROM released r WHERE r.payment = o.payment AND (r.proof <> 'reverted' OR o.part = 'out'))
"""
