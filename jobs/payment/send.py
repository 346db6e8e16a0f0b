"""The steps of a payment once its bytes may be anywhere: send, watch, settle, and undo what a reorganisation took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from sqlalchemy import Row

from jobs import alarms
from jobs.payment import books as payment_books
from jobs.payment import leftover, sealed, second_line
from jobs.payment.contents import stored
from jobs.saga import SECOND, Outcome
from jobs.services import Services, chain_row, is_final_status, require_healthy
from jobs.signer import SignerRefused
from ledger import halts, policy
from ledger.db import Tx
from ledger.errors import SigningHalted, TransactionRefused
from ledger.policy import AssetPolicy
from wallets.protocol import TxState, TxStatus

#: New blocks wake these rows; this is only how long a lost wake-up may cost.
WATCH_US = 30 * SECOND
SETTLED_US = 600 * SECOND
#: Depth of a foreign conflict at which the chain has left a question for a person.
CONTESTED_DEPTH = 6
#: How long the node must call bytes impossible before others are made in their place.
INVALID_US = 20 * 60 * SECOND

#: Alarms of a payment that waits for a block at a fee that cannot be raised, or could not be.
FEE_TOO_LOW, BUMP_FAILED = "fee_too_low", "bump_failed"

_MINED = (TxState.CONFIRMED, TxState.FAILED, TxState.UNCLEAR)
_THERE = (TxState.POOL, *_MINED)


class Seen(Outcome):
    """A node has one of the candidates."""


class NotSeen(Outcome):
    """No node admits to any candidate; the stored bytes go out again."""


class Contested(Outcome):
    """Another transaction, none of this payment's, has spent its resources, and is deep; or its bytes are not what was
    signed for it."""


class StillWaiting(Outcome):
    """Nothing to do yet."""


class Settled(Outcome):
    """A candidate is deep enough."""


class Vanished(Outcome):
    """The node has forgotten every candidate."""


class BumpDue(Outcome):
    """Waiting too long at this fee, or an operator asked."""


class Reverted(Outcome):
    """The chain has it for good, took its fee and paid nobody."""


class Final(Outcome):
    """Too deep to be looked at again."""


class ReorgedOut(Outcome):
    """The settled candidate left the chain."""


@dataclass(frozen=True)
class Sight:
    """One candidate and where it stands."""

    candidate: Row[Any]
    status: TxStatus


def send_and_observe(row: Row[Any], services: Services) -> Outcome:
    """Send the newest stored bytes, again and again if need be; a refusal is judged by what the node knows."""
    known = services.database.read(lambda tx: _candidates(tx, row))
    wallet = services.wallet(row.chain)
    held_back = services.database.read(lambda tx: halts.nothing_leaves(tx, row.chain))
    if held_back is not None:
        return _held_back(row, services, known, held_back)
    refusal, invalid = None, False
    try:
        signed = sealed.opened(services, row, known[0])
        services.require_signer().check_sendable(row.public_id, signed)
    except SignerRefused as error:
        return _not_ours(row, services, error)
    try:
        wallet.broadcast(signed)
    except TransactionRefused as error:
        refusal, invalid = error.detail, error.invalid
    sights = _look(row, services, known)
    if any(s.status.state in _THERE for s in sights):
        return Seen(values={"sent_at": row.sent_at or services.database.now()}, due_us=0, effect=_seen)
    contested = _contested(sights)
    if contested is not None:
        return contested
    if invalid and _invalid_for_long(row, services):
        return BumpDue(reason="rebuild", detail=(refusal or "")[:512])
    if row.bump_rate is not None or (refusal is not None and _outbid(row, services, known[0])):
        return BumpDue(reason="fee_bump", detail=(refusal or "an operator asked")[:512])
    detail = refusal or "the node took it, and does not show it"
    since = row.sent_at or services.database.now() if invalid else row.sent_at  # or its age would begin at each look
    effect = partial(_alarm, "not_seen", detail)
    return NotSeen(values={"sent_at": since}, reason="not_seen", detail=detail[:512], due_us=10 * SECOND, effect=effect)


def _held_back(row: Row[Any], services: Services, known: Sequence[Row[Any]], why: str) -> Outcome:
    """After a restore: what is out already is followed, nothing is sent. Raises `SigningHalted` for what is not
    seen."""
    if any(s.status.state in _THERE for s in _look(row, services, known)):
        return Seen(values={"sent_at": row.sent_at or services.database.now()}, due_us=0, effect=_seen)
    raise SigningHalted(f"nothing is sent on {row.chain}: {why}")


def watch(row: Row[Any], services: Services) -> Outcome:
    """Where the payment stands: settle it, wait, send it again, or offer more."""

    def read(tx: Tx) -> tuple[Sequence[Row[Any]], AssetPolicy, int]:
        return _candidates(tx, row), policy.of(tx, row.asset), tx.now

    known, rules, now = services.database.read(read)
    sights = _look(row, services, known)
    mined = next((s for s in sights if s.status.state in _MINED), None)
    if mined is not None:
        return _no_longer_waits(row, _mined(row, services, mined, rules))
    outcome = _in_no_block(row, services, known, sights, rules, now)
    return replace(outcome, values={"height": None, **outcome.values})  # a block that had it is gone


def _in_no_block(
    row: Row[Any], services: Services, known: Sequence[Row[Any]], sights: Sequence[Sight], rules: AssetPolicy, now: int
) -> Outcome:
    if not any(s.status.state is TxState.POOL for s in sights):
        effect = partial(_show_broadcast, "not_in_pool")
        return _contested(sights) or Vanished(reason="not_in_pool", detail="sent again as stored", effect=effect)
    if row.bump_rate is not None or _bump_due(row, services, known[0], rules, now):
        return BumpDue(reason="fee_bump")
    values = {"sent_at": row.sent_at or now}
    back = partial(_show_broadcast, "reorganised") if row.height is not None else None
    return StillWaiting(values=values, due_us=WATCH_US, reason=row.status_reason, detail=row.status_detail, effect=back)


def _mined(row: Row[Any], services: Services, mined: Sight, rules: AssetPolicy) -> Outcome:
    fee = _fee_of(mined)
    values: dict[str, Any] = {"height": mined.status.height, "txid": mined.candidate.txid}
    values |= {"fee_units": fee, "bump_rate": None, "created": mined.status.contract}
    if mined.status.state is TxState.UNCLEAR:
        return _not_as_promised(mined, values)
    if mined.status.state is TxState.FAILED:
        return _failed(row, services, mined, values)
    if mined.status.depth >= rules.withdrawal_confirmations:
        settled = {"settled_candidate": mined.candidate.number, "settlements": row.settlements + 1}
        return Settled(
            values=values | settled,
            due_us=SETTLED_US,
            effect=lambda tx, r: payment_books.settle(tx, r, mined.candidate, fee),
        )
    shown = partial(payment_books.project, state="confirming", txid=mined.candidate.txid)
    return StillWaiting(values=values, due_us=WATCH_US, effect=lambda tx, r: shown(tx, r.id))


def _no_longer_waits(row: Row[Any], outcome: Outcome) -> Outcome:
    """In a block: what was said of its fee is over, at the latest when it is settled. Not asked again at each block."""
    if row.height is not None and isinstance(outcome, StillWaiting):
        return outcome

    def effect(tx: Tx, current: Row[Any]) -> None:
        fee_is_settled(tx, current)
        if outcome.effect is not None:
            outcome.effect(tx, current)

    return replace(outcome, effect=effect)


def fee_is_settled(tx: Tx, row: Row[Any]) -> None:
    """Close what was raised because its fee is too low and cannot be, or was not, raised."""
    for name in (FEE_TOO_LOW, BUMP_FAILED):
        alarms.clear(tx, f"payment:{row.id}", name)


def in_block(row: Row[Any], services: Services, known: Sequence[Row[Any]]) -> bool:
    """Whether the node has one of these candidates in a block now."""
    return any(s.status.state in _MINED for s in _look(row, services, known))


def _fee_of(mined: Sight) -> int:
    """What the network took: the signed fee, unless the chain tells better."""
    told = mined.status.fee_units
    return int(mined.candidate.fee_units if told is None else told)


def _failed(row: Row[Any], services: Services, mined: Sight, values: dict[str, Any]) -> Outcome:
    """Reverted: let go, with its fee booked, once no reorganisation can make it pay after all."""
    if is_final(row, services, mined.status):
        return Reverted(values=values | {"declined": payment_books.REVERTED}, reason=payment_books.REVERTED)
    shown = partial(payment_books.project, state="confirming", reason="reverting", txid=mined.candidate.txid)
    return StillWaiting(values=values, due_us=WATCH_US, reason="reverting", effect=lambda tx, r: shown(tx, r.id))


def _not_as_promised(mined: Sight, values: dict[str, Any]) -> Contested:
    """In the chain, and it did something else than it says (a token that moved less): a person must look."""
    detail = f"{mined.candidate.txid} is in the chain and did not do what it says"
    effect = partial(_for_review, detail, "not_as_promised")
    return Contested(values=values, reason="not_as_promised", detail=detail, due_us=None, effect=effect)


def is_final(row: Row[Any], services: Services, status: TxStatus) -> bool:
    return is_final_status(services.database.read(lambda tx: chain_row(tx, row.chain)), status)


def _invalid_for_long(row: Row[Any], services: Services) -> bool:
    """Whether bytes that can never confirm as the chain stands have been so for some blocks."""
    since = row.sent_at or row.updated_at
    return bool(services.database.now() - since >= INVALID_US)


def _show_broadcast(reason: str, tx: Tx, row: Row[Any]) -> None:
    payment_books.project(tx, row.id, "broadcast", reason=reason)


def _bump_due(row: Row[Any], services: Services, newest: Row[Any], rules: AssetPolicy, now: int) -> bool:
    if row.sent_at is None or now - row.sent_at < rules.payment_bump_after_seconds * SECOND:
        return False
    if not services.wallet(row.chain).replaces:
        return False
    market = services.wallet(row.chain).fee_market(rules.payment_blocks_target, rules.payment_rate_fallback)
    old = now - row.sent_at >= 2 * rules.payment_bump_after_seconds * SECOND  # at its ceiling too: `bump` tells of it
    return bool(old or newest.rate < min(market.rate, row.rate_max))


def _outbid(row: Row[Any], services: Services, newest: Row[Any]) -> bool:
    """Whether the pool refuses it for offering less than the market: then the same bytes are of no use for long. One
    that could not be bumped waits as long as any other before it is tried again."""
    if row.bump_rate is not None:
        return True
    rules, now = services.database.read(lambda tx: (policy.of(tx, row.asset), tx.now))
    if row.sent_at is not None and now - row.sent_at < rules.payment_bump_after_seconds * SECOND:
        return False
    market = services.wallet(row.chain).fee_market(rules.payment_blocks_target, rules.payment_rate_fallback)
    return bool(newest.rate < min(market.rate, row.rate_max))


def watch_settled(row: Row[Any], services: Services) -> Outcome:
    """Until it is final: does the candidate that settled it still stand in the chain, at the fee that was booked? Mined
    again in another block, the same bytes may have cost another."""
    known = services.database.read(lambda tx: _candidates(tx, row))
    settled = next(c for c in known if c.number == row.settled_candidate)
    status = services.wallet(row.chain).look_up(stored(settled, row))
    services.database.read(lambda tx: require_healthy(tx, row.chain))
    if status.state is TxState.CONFIRMED and _fee_of(Sight(settled, status)) == row.fee_units:
        if is_final(row, services, status):
            gone = leftover.let_go(row, services, settled)
            return Final(values={"height": status.height}, due_us=None, effect=gone)
        return StillWaiting(values={"height": status.height}, due_us=SETTLED_US)
    effect = lambda tx, r: payment_books.unsettle(tx, r, "reorganised")  # noqa: E731  one expression, named by its use
    return ReorgedOut(values={"height": None, "settled_candidate": None}, reason="reorganised", effect=effect)


def _candidates(tx: Tx, row: Row[Any]) -> Sequence[Row[Any]]:
    require_healthy(tx, row.chain)
    return payment_books.candidates(tx, row.id)


def _look(row: Row[Any], services: Services, known: Sequence[Row[Any]]) -> list[Sight]:
    wallet = services.wallet(row.chain)
    return [Sight(found, wallet.look_up(stored(found, row))) for found in known]


def _contested(sights: Sequence[Sight]) -> Contested | None:
    """Every candidate is conflicted by something deep that is not one of them: a person must look."""
    ours = {s.candidate.txid for s in sights}
    if any(s.status.state is not TxState.CONFLICTED for s in sights):
        return None
    depth = min(s.status.depth for s in sights)
    if depth < CONTESTED_DEPTH:
        return None
    foreign = sorted({txid for s in sights for txid in s.status.conflicting} - ours)
    named = ", ".join(foreign) or "a transaction that this wallet does not know"
    detail = f"its inputs were spent {depth} blocks deep by {named}"
    return Contested(
        reason="inputs_spent", detail=detail[:512], due_us=None, effect=partial(_for_review, detail, "inputs_spent")
    )


def _not_ours(row: Row[Any], services: Services, error: SignerRefused) -> Contested:
    """What the signer did not sign, or let go, is not sent: all of its chain waits, and this for a person. Where its
    record is not of one piece with the database, it says nothing of this payment: that comes first, and it waits."""
    second_line.check(services, row.chain)
    cause = second_line.halt_for(services, row.chain, error)
    effect = partial(_for_review, error.detail, cause)
    return Contested(reason=cause, detail=error.detail[:512], due_us=None, effect=effect)


def _for_review(detail: str, reason: str, tx: Tx, row: Row[Any]) -> None:
    fee_is_settled(tx, row)  # a person looks at it, and not for its fee
    payment_books.contest(tx, row, detail, reason)


def _seen(tx: Tx, row: Row[Any]) -> None:
    alarms.clear(tx, f"payment:{row.id}", "not_seen")


def _alarm(name: str, detail: str, tx: Tx, row: Row[Any]) -> None:
    alarms.raise_(tx, name, f"payment:{row.id}", detail)
