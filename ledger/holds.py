"""Two-phase money: available -> held, then settled or voided, exactly once.

A hold's end is a row whose primary key is the hold, so the database itself refuses a second end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from ledger.db import Tx
from ledger.errors import LedgerBroken
from ledger.postings import Leg, post
from ledger.schema import hold, hold_end, transfer


def place(tx: Tx, key: str, account_id: int, asset: str, units: int, ref: tuple[str, int]) -> None:
    """Move `units` of the account from available to held. Raises `InsufficientFunds`. A repeated key does nothing."""
    leg = Leg((account_id, "available"), (account_id, "held"), units)
    transfer_id = post(tx, f"hold:{key}", "hold", asset, [leg], ref)
    if transfer_id is not None:
        _open(tx, key, account_id, asset, units, transfer_id)


def reopen(tx: Tx, key: str, account_id: int, asset: str, units: int, transfer_key: str) -> None:
    """Record a hold whose money a standing transfer (a reversal of a settlement) has put back into `held`."""
    transfer_id = tx.value(select(transfer.c.id).where(transfer.c.transfer_key == transfer_key))
    if transfer_id is None:
        raise LedgerBroken(f"{key}: no transfer {transfer_key} to reopen a hold with")
    if tx.value(select(hold.c.id).where(hold.c.hold_key == key)) is None:
        _open(tx, key, account_id, asset, units, transfer_id)


def _open(tx: Tx, key: str, account_id: int, asset: str, units: int, transfer_id: int) -> None:
    values = {"hold_key": key, "account_id": account_id, "asset": asset, "units": units}
    tx.execute(insert(hold).values(values | {"transfer_id": transfer_id, "created_at": tx.now}))


def void(tx: Tx, key: str, ref: tuple[str, int]) -> None:
    """Give the held money back to available. A repeat does nothing; a settled hold raises `LedgerBroken`."""
    row = _get(tx, key)
    leg = Leg((row.account_id, "held"), (row.account_id, "available"), row.units)
    transfer_id = post(tx, f"void:{key}", "void", row.asset, [leg], ref)
    if transfer_id is not None:
        _end(tx, {row.id: key}, "voided", transfer_id)


def settle(tx: Tx, key: str, transfer_id: int, legs: Sequence[Leg]) -> None:
    """Record that `transfer_id`, whose `legs` were just posted, has spent this hold whole.

    Raises `LedgerBroken` when the legs take another sum from the owner's held account, or the hold has ended.
    """
    settle_all(tx, {key: legs}, transfer_id)


def settle_all(tx: Tx, legs: Mapping[str, Sequence[Leg]], transfer_id: int) -> None:
    """As `settle`, for many holds that one transfer has spent: hold key -> its own legs of that transfer."""
    if not legs:
        return
    rows = {row.hold_key: row for row in tx.all(select(hold).where(hold.c.hold_key.in_(sorted(legs))))}
    for key, own in legs.items():
        row = rows.get(key)
        if row is None:
            raise LedgerBroken(f"{key}: no such hold")
        taken = sum(leg.units for leg in own if leg.debit == (row.account_id, "held"))
        if taken != row.units:
            raise LedgerBroken(f"{key}: holds {row.units} units, the settlement takes {taken}")
    _end(tx, {row.id: key for key, row in rows.items()}, "settled", transfer_id)


def ended(tx: Tx, key: str) -> str | None:
    """`settled`, `voided` or None while the hold is open."""
    query = select(hold_end.c.outcome).join(hold, hold.c.id == hold_end.c.hold_id).where(hold.c.hold_key == key)
    outcome = tx.value(query)
    return None if outcome is None else str(outcome)


def open_units(tx: Tx, keys: Sequence[str]) -> dict[str, int]:
    """The units of those of these holds that have not ended, by key."""
    query = select(hold.c.hold_key, hold.c.units).outerjoin(hold_end, hold_end.c.hold_id == hold.c.id)
    rows = tx.all(query.where(hold.c.hold_key.in_(keys), hold_end.c.hold_id.is_(None)))
    return {row.hold_key: row.units for row in rows}


def _get(tx: Tx, key: str):  # type: ignore[no-untyped-def]  # a Row
    row = tx.first(select(hold.c.id, hold.c.account_id, hold.c.asset, hold.c.units).where(hold.c.hold_key == key))
    if row is None:
        raise LedgerBroken(f"{key}: no such hold")
    return row


def _end(tx: Tx, keys: Mapping[int, str], outcome: str, transfer_id: int) -> None:
    """End these holds (id -> key); the primary key of `hold_end` refuses one that has ended before."""
    rest = {"outcome": outcome, "transfer_id": transfer_id, "created_at": tx.now}
    try:
        with tx.savepoint():
            tx.execute(insert(hold_end), [rest | {"hold_id": hold_id} for hold_id in keys])
    except IntegrityError:
        raise LedgerBroken(f"{', '.join(keys.values())[:400]}: a hold has ended before") from None
