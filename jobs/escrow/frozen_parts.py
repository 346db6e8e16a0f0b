"""What was passed on from a deposit that has left the chain, and is not spent yet: kept still until it is known whose.

The depositor owes what is missing, and whoever got the money may not spend so much of it meanwhile
(`jobs.trace.dependants` finds it). It is thawed when the deposit is back or the debt is paid in another way
(`jobs.debts`), or an operator takes it to pay the debt with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, func, insert, select

from jobs import alarms, debts
from jobs.trace.streams import frozen_prefix
from ledger import accounts, audit, holds, postings
from ledger.accounts import Owner
from ledger.db import Tx
from ledger.errors import NotFound, StateConflict
from ledger.postings import Leg
from ledger.schema import deposit, frozen_part

Ref = tuple[str, int]  #: (kind, row id)


@dataclass(frozen=True, slots=True)
class Cause:
    """The deposit whose block is gone, who owes for it, and what had passed its money on."""

    paid: Row[Any]
    debtor_id: int
    source: Ref


def freeze(tx: Tx, cause: Cause, account_id: int, asset: str, units: int) -> int:
    """Hold up to `units` of what the account can spend; the units held."""
    row_id = accounts.find(tx, [(account_id, "available")], asset)[account_id, "available"]
    there = min(units, accounts.lock_balances(tx, [row_id])[row_id])
    if there <= 0:
        return 0
    key = _insert(tx, cause, account_id, asset, there, ("balance", None))
    holds.place(tx, key, account_id, asset, there, cause.source)
    return there


def mark(tx: Tx, cause: Cause, account_id: int, asset: str, units: int, place: Ref) -> None:
    """Money that lies in an escrow or a withdrawal stays there: it is neither released nor paid meanwhile."""
    _insert(tx, cause, account_id, asset, units, place)


def _insert(tx: Tx, cause: Cause, account_id: int, asset: str, units: int, place: tuple[str, int | None]) -> str:
    paid, p = cause.paid, frozen_part.c
    tx.one(select(deposit.c.id).where(deposit.c.id == paid.id).with_for_update())  # numbers its parts
    number = int(tx.value(select(func.count()).select_from(frozen_part).where(p.deposit_id == paid.id))) + 1
    key = f"{frozen_prefix(paid.id)}{number}"
    values = {"deposit_id": paid.id, "debtor_id": cause.debtor_id, "kind": cause.source[0], "row_id": cause.source[1]}
    values |= {"account_id": account_id, "asset": asset, "units": units, "place": place[0], "place_id": place[1]}
    values |= {"hold_key": key, "live": 1, "created_at": tx.now}
    part_id = tx.insert(insert(frozen_part).values(values))
    detail = f"deposit {paid.public_id} has left the chain; see `coffer escrows frozen`"
    alarms.raise_(tx, "money_frozen", debts.part_subject(part_id), detail)
    return key


def in_place(tx: Tx, place: Ref) -> list[Row[Any]]:
    """The live parts that lie in an escrow or a withdrawal."""
    p = frozen_part.c
    query = select(frozen_part).where(p.place == place[0], p.place_id == place[1], p.live == 1)
    return list(tx.all(query.order_by(p.id)))


def follow(tx: Tx, place: Ref, got: Sequence[tuple[int, int]], *, left: int = 0) -> None:
    """Money has left an escrow or a withdrawal for the balances of `got`, (account id, units) each, and `left` units
    are still there: what of it is frozen stays frozen."""
    free = dict(got)
    for part in in_place(tx, place):
        debts.end_part(tx, part)
        paid = tx.one(select(deposit).where(deposit.c.id == part.deposit_id))
        cause, rest = Cause(paid, part.debtor_id, (part.kind, part.row_id)), int(part.units)
        for account_id, units in list(free.items()):
            taken = min(rest, units)
            freeze(tx, cause, account_id, part.asset, taken)
            free[account_id] -= taken
            rest -= taken
        if min(rest, left):
            mark(tx, cause, part.account_id, part.asset, min(rest, left), place)


def gone(tx: Tx, withdrawal_ids: Sequence[int]) -> None:
    """The money has left in these withdrawals, whose rows are locked: nothing of it can be kept still any more."""
    p = frozen_part.c
    query = select(frozen_part).where(p.place == "withdrawal", p.place_id.in_(withdrawal_ids), p.live == 1)
    for part in tx.all(query.order_by(p.id)):
        debts.end_part(tx, part)


def returned(tx: Tx, paid: Row[Any]) -> None:
    """The deposit is credited again: what was frozen for it is free, and what was taken in its place is given back."""
    p = frozen_part.c
    for part in tx.all(select(frozen_part).where(p.deposit_id == paid.id).order_by(p.id)):
        if part.live == 1:
            debts.thaw(tx, part)
        elif postings.standing(tx, _take_key(part)):
            _give_back(tx, paid, part)


def thaw(tx: Tx, part_id: int, actor: str) -> None:
    """An operator lets the account spend it; the depositor owes the house all the same. Audited."""
    part = _live(tx, part_id)
    debts.thaw(tx, part)
    audit.record(tx, actor, "frozen.thaw", str(part_id), {"units": str(part.units), "asset": part.asset})


def take(tx: Tx, part_id: int, actor: str) -> int:
    """An operator pays the depositor's debt with it; the units. What the debt does not need is thawed. Audited.

    Should the deposit come back all the same, the account gets them back from it.
    """
    part = _read(tx, part_id)
    _check_takable(tx, part)
    owed = _owed(tx, part)
    part = _live(tx, part_id)  # behind the balances, as whoever thaws it because the debt is paid
    taken = min(owed, int(part.units))
    if taken == 0:
        raise StateConflict("nothing is owed any more: thaw it")
    source: Owner = (part.account_id, "held")
    debt, rest = (part.debtor_id, "receivable"), part.units - taken
    legs = [Leg(source, debt, taken), Leg(source, (part.account_id, "available"), rest)]
    transfer_id = postings.post(tx, _take_key(part), "frozen_taken", part.asset, legs, (part.kind, part.row_id))
    if transfer_id is None or not debts.end_part(tx, part):
        raise StateConflict("it has been decided before")
    holds.settle(tx, part.hold_key, transfer_id, legs)
    if taken == owed:
        debts.thaw_all(tx, part.debtor_id, part.asset)
    debts.lift(tx, part.debtor_id)
    audit.record(tx, actor, "frozen.take", str(part_id), {"units": str(taken), "asset": part.asset})
    return taken


def _owed(tx: Tx, part: Row[Any]) -> int:
    """What the depositor owes, with all balances locked that the part is taken by: another deposit of his that is just
    leaving the chain adds to it before, or after."""
    debt = (part.debtor_id, "receivable")
    holder = [(part.account_id, "held"), (part.account_id, "available")]
    ids = accounts.find(tx, [debt, (part.debtor_id, "available"), *holder], part.asset)
    return accounts.lock_balances(tx, ids.values())[ids[debt]]


def _check_takable(tx: Tx, part: Row[Any]) -> None:
    owed = str(tx.value(select(deposit.c.asset).where(deposit.c.id == part.deposit_id)))
    if part.asset != owed:
        raise StateConflict(f"the debt is {owed}, and this was bought with it: it can only be thawed")
    if part.place != "balance":
        raise StateConflict(f"it lies in the {part.place}: end that one first, or thaw it")


def _give_back(tx: Tx, paid: Row[Any], part: Row[Any]) -> None:
    """Once: from the depositor, who has the deposit again, to the account that paid the debt for it."""
    debtor = part.debtor_id
    ids = accounts.find(tx, [(debtor, "receivable"), (debtor, "available")], part.asset)
    moved = postings.legs_of(tx, _take_key(part))
    taken = sum(units for _, credit, units in moved if credit == ids[debtor, "receivable"])
    key = f"{part.hold_key}:back"
    if taken == 0 or postings.standing(tx, key):
        return
    available = accounts.lock_balances(tx, [ids[debtor, "available"]])[ids[debtor, "available"]]
    now, taker = min(available, taken), (part.account_id, "available")
    legs = [Leg((debtor, "available"), taker, now), Leg((debtor, "receivable"), taker, taken - now)]
    postings.post(tx, key, "frozen_returned", part.asset, legs, ("deposit", paid.id))
    if now < taken:
        accounts.freeze(tx, debtor, debts.REORG_FREEZE)
    debts.collect(tx, part.account_id, part.asset, key)


def _take_key(part: Row[Any]) -> str:
    return f"{part.hold_key}:taken"


def _read(tx: Tx, part_id: int) -> Row[Any]:
    return _open(tx.first(select(frozen_part).where(frozen_part.c.id == part_id)))


def _live(tx: Tx, part_id: int) -> Row[Any]:
    return _open(tx.first(select(frozen_part).where(frozen_part.c.id == part_id).with_for_update()))


def _open(part: Row[Any] | None) -> Row[Any]:
    if part is None:
        raise NotFound("no such frozen part")
    if part.live != 1:
        raise StateConflict("it has been decided before")
    return part


def open_parts(tx: Tx) -> list[Row[Any]]:
    """Those that are frozen now, the oldest first."""
    p = frozen_part.c
    query = select(frozen_part, deposit.c.public_id.label("deposit")).join(deposit, deposit.c.id == p.deposit_id)
    return list(tx.all(query.where(p.live == 1).order_by(p.id).limit(200)))


def of_deposit(tx: Tx, deposit_id: int) -> list[Row[Any]]:
    """All that was ever frozen because a deposit left, the oldest first."""
    p = frozen_part.c
    return list(tx.all(select(frozen_part).where(p.deposit_id == deposit_id).order_by(p.id)))


def numbers(tx: Tx, source: Ref) -> list[int]:
    """Those that are frozen because of `source`, or lie in it, as operators name them."""
    p = frozen_part.c
    because = (p.kind == source[0]) & (p.row_id == source[1])
    there = (p.place == source[0]) & (p.place_id == source[1])
    query = select(p.id).where(because | there, p.live == 1)
    return [row.id for row in tx.all(query.order_by(p.id))]
