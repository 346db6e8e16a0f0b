"""What was passed on from a deposit that has left the chain, and is not spent yet: kept still until it is known whose.

The depositor owes what is missing, and whoever got the money may not spend so much of it meanwhile. It is thawed when
the deposit is back or the debt is paid in another way (`jobs.debts`), or an operator takes it to pay the debt with.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, insert, select

from jobs import alarms, debts
from ledger import accounts, audit, balances, holds, postings
from ledger.accounts import Owner
from ledger.db import Tx
from ledger.errors import NotFound, StateConflict
from ledger.postings import Leg
from ledger.schema import deposit, frozen_part


def freeze(tx: Tx, paid: Row[Any], source: tuple[str, int], account_id: int, units: int) -> int:
    """Hold up to `units` of what the account can spend, because `source` (kind, row id) had passed it on from the
    deposit `paid`, whose block is gone; the units held."""
    row_id = accounts.find(tx, [(account_id, "available")], paid.asset)[account_id, "available"]
    there = min(units, accounts.lock_balances(tx, [row_id])[row_id])
    if there <= 0:
        return 0
    key = f"frozen:deposit:{paid.id}:{paid.credits}"
    values = {"deposit_id": paid.id, "kind": source[0], "row_id": source[1], "account_id": account_id}
    values |= {"asset": paid.asset, "units": there, "hold_key": key, "live": 1, "created_at": tx.now}
    part_id = tx.insert(insert(frozen_part).values(values))
    holds.place(tx, key, account_id, paid.asset, there, source)
    detail = f"deposit {paid.public_id} has left the chain; see `coffer escrows frozen`"
    alarms.raise_(tx, "money_frozen", debts.part_subject(part_id), detail)
    return there


def held(tx: Tx, source: tuple[str, int]) -> int:
    """Units that are frozen because of `source` now."""
    p = frozen_part.c
    rows = tx.all(select(p.units).where(p.kind == source[0], p.row_id == source[1], p.live == 1))
    return sum(row.units for row in rows)


def returned(tx: Tx, paid: Row[Any]) -> None:
    """The deposit is credited again: what was frozen for it is free, and what was taken in its place is given back."""
    p = frozen_part.c
    for part in tx.all(select(frozen_part).where(p.deposit_id == paid.id).order_by(p.id)):
        if part.live == 1:
            debts.thaw(tx, part)
        elif holds.ended(tx, part.hold_key) == "settled":
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
    part = _live(tx, part_id)
    debtor = _debtor(tx, part)
    owed = balances.get(tx, (debtor, "receivable"), part.asset)
    taken = min(owed, int(part.units))
    if taken == 0:
        raise StateConflict("nothing is owed any more: thaw it")
    source: Owner = (part.account_id, "held")
    legs = [Leg(source, (debtor, "receivable"), taken), Leg(source, (part.account_id, "available"), part.units - taken)]
    key = _take_key(part)
    transfer_id = postings.post(tx, key, "frozen_taken", part.asset, legs, (part.kind, part.row_id))
    if transfer_id is None or not debts.end_part(tx, part):
        raise StateConflict("it has been decided before")
    holds.settle(tx, part.hold_key, transfer_id, legs)
    debts.lift(tx, debtor)
    if taken == owed:
        debts.thaw_all(tx, debtor, part.asset)
    audit.record(tx, actor, "frozen.take", str(part_id), {"units": str(taken), "asset": part.asset})
    return taken


def _give_back(tx: Tx, paid: Row[Any], part: Row[Any]) -> None:
    """Once: from the depositor, who has the deposit again, to the account that paid the debt for it."""
    debtor = _debtor(tx, part)
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


def _debtor(tx: Tx, part: Row[Any]) -> int:
    return int(tx.value(select(deposit.c.account_id).where(deposit.c.id == part.deposit_id)))


def _live(tx: Tx, part_id: int) -> Row[Any]:
    p = frozen_part.c
    part = tx.first(select(frozen_part).where(p.id == part_id).with_for_update())
    if part is None:
        raise NotFound("no such frozen part")
    if part.live != 1:
        raise StateConflict("it has been decided before")
    return part


def open_parts(tx: Tx) -> list[Row[Any]]:
    """Those that are frozen now, the oldest first."""
    p = frozen_part.c
    query = select(frozen_part, deposit.c.public_id.label("deposit"), deposit.c.account_id.label("debtor_id"))
    query = query.join(deposit, deposit.c.id == p.deposit_id).where(p.live == 1)
    return list(tx.all(query.order_by(p.id).limit(200)))


def numbers(tx: Tx, source: tuple[str, int]) -> list[int]:
    """Those that are frozen because of `source`, as operators name them."""
    p = frozen_part.c
    query = select(p.id).where(p.kind == source[0], p.row_id == source[1], p.live == 1)
    return [row.id for row in tx.all(query.order_by(p.id))]
