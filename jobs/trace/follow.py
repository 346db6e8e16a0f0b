"""The way of a deposit's money: everything that it paid for, and where each part of it is now.

Each account is a queue (`jobs.trace.streams`). Money that repaid a debt, or stood in for another deposit that had left
the chain, paid for what that deposit had paid for. Through a swap the trace goes on in the other asset, in proportion.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from sqlalchemy import Row, select

from jobs.trace import owing, streams
from jobs.trace.streams import BOOKED, RECOVERED, REVERSAL, Lot, Move
from jobs.withdrawal import hold_key
from ledger.accounts import HOUSE_ACCOUNT
from ledger.db import Tx
from ledger.schema import frozen_part, hold, hold_end, transfer, withdrawal

#: Movements that one trace follows; what lies behind them is told as not followed.
STEPS_MAX = 2_000
#: Movements that one trace follows one behind the other. Money may go back and forth for ever, and each movement is
#: several calls deep, here and wherever the trace is read.
DEPTH_MAX = 150

#: What hands money on to somebody.
_PASSING = ("escrow", "transfer", "swap")

Ref = tuple[str, int]  #: (kind, row id)


@dataclass(slots=True)
class Step:
    """One movement of `units` of the deposit's money, which stand for `share` units of the deposit itself."""

    what: str  #: credited, passed, withdrawn, frozen, swapped, repaid, made_good, taken_back, fee or house
    ref: Ref  #: what moved it
    kind: str  #: the kind of the transfer
    at: int
    number: int  #: of the posting
    asset: str
    units: int
    share: int
    account_id: int  #: whose it was after it
    place: str  #: the kind of ledger account that it came to
    left: int = 0  #: units of it that are there now
    steps: list[Step] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Trace:
    """A deposit's money from one of its credits on. `whole`: all of it was followed."""

    root: Step
    whole: bool


@dataclass(frozen=True, slots=True)
class Leaf:
    """Money that lies somewhere now. `source`: what had passed it on to there, None for the first account's own."""

    step: Step
    source: Ref | None
    path: tuple[int, ...]

    @property
    def share(self) -> int:
        """Units of the deposit that it stands for."""
        return self.step.share * self.step.left // self.step.units


def trace(tx: Tx, paid: Row[Any], generation: int | None = None) -> Trace | None:
    """Follow a deposit from its last credit on, or from that of another `generation`. None for one that no customer's
    account was ever credited with."""
    follower = _Follower(tx, paid.id)
    root = follower.deposit(paid.id, int(generation or paid.credits))
    return None if root is None else Trace(root, follower.whole)


def leaves(root: Step) -> list[Leaf]:
    """All that lies somewhere now, what was spent last first."""
    return sorted(_leaves(root, None, ()), key=lambda leaf: leaf.path, reverse=True)


def _leaves(step: Step, source: Ref | None, path: tuple[int, ...]) -> Iterator[Leaf]:
    if step.left:
        yield Leaf(step, source, path)
    for after in step.steps:
        passed = after.ref if after.ref[0] in _PASSING else source
        yield from _leaves(after, passed, (*path, after.number))


def walk(step: Step) -> Iterator[Step]:
    """A step and all that follow from it."""
    yield step
    for after in step.steps:
        yield from walk(after)


def cut(steps: list[Step], share: int, *, last: bool) -> list[Step]:
    """The part of these steps that stands for at most `share`: of what was spent `last`, or first."""
    kept: list[Step] = []
    for step in reversed(steps) if last else steps:
        take = min(step.share, share)
        if take:
            kept.append(_cut_one(step, take, last))
        share -= take
    return kept[::-1] if last else kept


def _cut_one(step: Step, share: int, last: bool) -> Step:
    if share == step.share:
        return step
    units = -(-step.units * share // step.share)
    left = min(step.left, units)
    of_left = share * left // units
    return replace(step, units=units, share=share, left=left, steps=cut(step.steps, share - of_left, last=last))


class _Follower:
    """One walk, which ends: no deposit stands in for itself, and no more than `STEPS_MAX` movements are followed, nor
    more than `DEPTH_MAX` of them in a row."""

    def __init__(self, tx: Tx, deposit_id: int) -> None:
        self.tx = tx
        self.deposit_id = deposit_id
        self.budget = STEPS_MAX
        self.depth = 0
        self.whole = True
        self._under_way: list[tuple[int, int]] = []

    def deposit(self, deposit_id: int, generation: int) -> Step | None:
        credit = self._credit(deposit_id, generation)
        if credit is None or (deposit_id, generation) in self._under_way:
            return None
        self._under_way.append((deposit_id, generation))
        step = self._came("credited", Lot(credit, 0, credit.units), credit.units)
        self._under_way.pop()
        return step

    def _credit(self, deposit_id: int, generation: int) -> Move | None:
        """The posting that gave it to a customer; a person may have done so after it was booked to the house."""
        keys = [f"deposit:{deposit_id}:{word}:{generation}" for word in ("credit", "resolve")]
        found = [m for m in streams.moves(self.tx, transfer.c.transfer_key.in_(keys)) if m.kind in BOOKED]
        last = found[-1] if found else None
        return None if last is None or streams.owner(self.tx, last.credit_id).account_id == HOUSE_ACCOUNT else last

    def _came(self, what: str, lot: Lot, share: int) -> Step:
        """Money came to a customer's queue: what of it has gone on, and what is left."""
        step = self._step(what, lot, share)
        if self.budget <= 0 or self.depth >= DEPTH_MAX:
            self.whole = False
            return step
        gone = streams.spent(self.tx, lot, self.deposit_id)
        step.left = lot.units - sum(part.units for part in gone)
        before = 0
        for part in gone:
            until = before + part.units
            step.steps.append(self._went(part, share * until // lot.units - share * before // lot.units))
            before = until
        return step

    def _went(self, lot: Lot, share: int) -> Step:
        """Where a posting took it."""
        self.budget -= 1
        self.depth += 1
        step = self._way(lot)(lot, share)
        self.depth -= 1
        return step

    def _way(self, lot: Lot) -> Callable[[Lot, int], Step]:
        """What follows it there; handed back, not called, so that a long way needs less of the stack."""
        target, move = streams.owner(self.tx, lot.move.credit_id), lot.move
        if target.kind in ("available", "escrow", "swap"):
            return partial(self._came, "passed")
        if target.kind == "held":
            return self._held
        if target.kind == "receivable":
            return self._repaid
        if move.kind == REVERSAL:
            return self._taken_back
        if move.kind == "swap":
            return self._swapped
        return partial(self._step, "fee" if target.kind == "service_fees" else "house")

    def _step(self, what: str, lot: Lot, share: int) -> Step:
        move, target = lot.move, streams.owner(self.tx, lot.move.credit_id)
        rest = (move.at, move.id, move.asset, lot.units, share, target.account_id, target.kind)
        return Step(what, move.ref, move.kind, *rest)

    # Holds: one piece each

    def _held(self, lot: Lot, share: int) -> Step:
        key = lot.move.key.removeprefix("hold:")
        if key.startswith("frozen:"):
            return self._frozen(key, lot, share)
        step = self._step("withdrawn", lot, share)
        h = hold.c
        held = select(h.hold_key, hold_end.c.outcome).outerjoin(hold_end, hold_end.c.hold_id == h.id)
        last = self.tx.one(held.where(h.hold_key == self._last_hold(lot.move.ref[1], key)))
        if last.outcome == "voided":
            step.steps = [self._end(f"void:{last.hold_key}", lot, share)]
        step.left = lot.units if last.outcome is None else 0
        return step

    def _last_hold(self, withdrawal_id: int, key: str) -> str:
        """A settlement that a reorganisation undid has opened the next generation of the hold."""
        generation = self.tx.value(select(withdrawal.c.holds).where(withdrawal.c.id == withdrawal_id))
        return key if generation is None else hold_key(withdrawal_id, generation)

    def _frozen(self, key: str, lot: Lot, share: int) -> Step:
        step = self._step("frozen", lot, share)
        p = frozen_part.c
        part = self.tx.one(select(p.id, p.live).where(p.hold_key == key))
        step.ref, step.left = ("frozen", part.id), lot.units if part.live == 1 else 0
        if part.live is None:
            step.steps = self._ended(key, lot, share)
        return step

    def _ended(self, key: str, lot: Lot, share: int) -> list[Step]:
        """Thawed, or taken to pay the debt with."""
        taken = list(streams.moves(self.tx, transfer.c.transfer_key == f"{key}:taken"))
        if not taken:
            return [self._end(f"void:{key}", lot, share)]
        found, start = [], 0
        for move in taken:
            low, high = max(start, lot.offset), min(start + move.units, lot.offset + lot.units)
            if low < high:
                found.append(self._went(Lot(move, low - start, high - low), share * (high - low) // lot.units))
            start += move.units
        return found

    def _end(self, key: str, lot: Lot, share: int) -> Step:
        """A hold that was given back whole."""
        (move,) = streams.moves(self.tx, transfer.c.transfer_key == key)
        return self._went(Lot(move, lot.offset, lot.units), share)

    # What money stood in for

    def _taken_back(self, lot: Lot, share: int) -> Step:
        """For this deposit, or for another, which had been spent: then this one has paid for what that had paid for
        first, and its depositor owes for the rest."""
        deposit_id, generation = lot.move.ref[1], int(lot.move.key.rpartition(":")[2])
        if (deposit_id, generation) in self._under_way:
            return self._step("taken_back", lot, share)
        step = self._step("made_good", lot, share)
        root = self.deposit(deposit_id, generation)
        step.steps = [] if root is None else cut(_spent(root), share, last=False)
        return step

    def _repaid(self, lot: Lot, share: int) -> Step:
        """What had been bought on the debt that it was of."""
        step = self._step("repaid", lot, share)
        for part in owing.repaid(self.tx, lot.move.credit_id):
            if part.by.id != lot.move.id or part.debt.kind not in (REVERSAL, RECOVERED):
                continue
            covered = min(part.offset + part.units, lot.offset + lot.units) - max(part.offset, lot.offset)
            if covered > 0:
                root = self.deposit(part.debt.ref[1], int(part.debt.key.rpartition(":")[2]))
                step.steps += [] if root is None else cut(_spent(root), covered, last=True)
        return step

    def _swapped(self, lot: Lot, share: int) -> Step:
        """In proportion to what was sold, what was bought with it."""
        step = self._step("swapped", lot, share)
        swap_id, sold = lot.move.ref[1], lot.move.units
        for move in streams.moves(self.tx, transfer.c.transfer_key == f"swap:{swap_id}:buy"):
            if streams.owner(self.tx, move.credit_id).account_id == HOUSE_ACCOUNT:
                continue
            low, high = (move.units * edge // sold for edge in (lot.offset, lot.offset + lot.units))
            if low < high:
                step.steps.append(self._came("passed", Lot(move, low, high - low), share))
        return step


def _spent(root: Step) -> list[Step]:
    """What a deposit had paid for."""
    return [step for step in root.steps if step.what != "taken_back"]
