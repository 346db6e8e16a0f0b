"""The journal: a transfer is a set of postings under one unique key, and a repeat of a key posts nothing.

A posting names one debit, one credit and an amount above zero, so every transfer balances by construction.
Balances are credit-normal: what a customer owns grows by credits; what the house has (treasury, in flight, receivable,
fees paid) shows as a debit balance.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError

from ledger import accounts
from ledger.accounts import Owner
from ledger.db import Tx
from ledger.errors import InsufficientFunds, LedgerBroken
from ledger.schema import balance, posting, transfer

#: Kinds whose balance row counts debits up: money that others owe to the house.
DEBIT_NORMAL = frozenset({"receivable"})

_TRANSFER, _POSTING = insert(transfer), insert(posting)
_BALANCE = update(balance).where(balance.c.ledger_account_id == bindparam("own_id")).values(units=bindparam("units"))


@dataclass(frozen=True, slots=True)
class Leg:
    """`units` move from `debit` to `credit`; both are (account id, kind) in the transfer's asset."""

    debit: Owner
    credit: Owner
    units: int


def post(tx: Tx, key: str, kind: str, asset: str, legs: Sequence[Leg], ref: tuple[str, int]) -> int | None:
    """Post `legs` as the transfer `key`; its id, or None when that key stood already with the same legs.

    Legs of zero units are left out; a transfer without any leg is refused. Raises `InsufficientFunds` when a
    customer's balance would turn negative, `LedgerBroken` when the key stands with other legs.
    """
    legs = [leg for leg in legs if leg.units != 0]
    if not legs or any(leg.units < 0 for leg in legs):
        raise LedgerBroken(f"{key}: a transfer needs postings above zero")
    ids = accounts.find(tx, {owner for leg in legs for owner in (leg.debit, leg.credit)}, asset)
    units = accounts.lock_balances(tx, ids.values())
    values = {"transfer_key": key, "kind": kind, "ref_kind": ref[0], "ref_id": ref[1], "created_at": tx.now}
    try:
        transfer_id = tx.insert(_TRANSFER, values)  # the unique key decides, not a look beforehand
    except IntegrityError:
        standing = tx.value(select(transfer.c.id).where(transfer.c.transfer_key == key))
        if standing is None:
            raise
        _check_same(tx, standing, key, legs, ids)
        return None
    _write_balances(tx, ids, units, legs)
    rows = [
        {
            "transfer_id": transfer_id,
            "asset": asset,
            "debit_id": ids[leg.debit],
            "credit_id": ids[leg.credit],
            "units": leg.units,
        }
        for leg in legs
    ]
    tx.execute(_POSTING, rows)
    return transfer_id


def _write_balances(tx: Tx, ids: dict[Owner, int], units: dict[int, int], legs: Sequence[Leg]) -> None:
    for owner, change in _changes(legs).items():
        row_id = ids[owner]
        if change == 0 or row_id not in units:
            continue
        after = units[row_id] + (-change if owner[1] in DEBIT_NORMAL else change)
        if after < 0:
            raise InsufficientFunds(f"the {owner[1]} balance does not cover this", missing_units=-after)
        tx.execute(_BALANCE, {"own_id": row_id, "units": after})


def _changes(legs: Sequence[Leg]) -> dict[Owner, int]:
    changes: dict[Owner, int] = defaultdict(int)
    for leg in legs:
        changes[leg.debit] -= leg.units
        changes[leg.credit] += leg.units
    return dict(sorted(changes.items()))


def _check_same(tx: Tx, transfer_id: int, key: str, legs: Sequence[Leg], ids: dict[Owner, int]) -> None:
    p = posting.c
    rows = tx.all(select(p.debit_id, p.credit_id, p.units).where(p.transfer_id == transfer_id))
    if sorted(map(tuple, rows)) != sorted((ids[leg.debit], ids[leg.credit], leg.units) for leg in legs):
        raise LedgerBroken(f"{key}: posted before with other legs")


def standing(tx: Tx, key: str) -> bool:
    """Whether the transfer `key` has been posted."""
    return tx.value(select(transfer.c.id).where(transfer.c.transfer_key == key)) is not None


def legs_of(tx: Tx, key: str) -> list[tuple[int, int, int]]:
    """(debit id, credit id, units) of a standing transfer, for its exact reversal. Raises `LedgerBroken` if absent."""
    p = posting.c
    query = select(p.debit_id, p.credit_id, p.units).join(transfer, transfer.c.id == p.transfer_id)
    rows = tx.all(query.where(transfer.c.transfer_key == key).order_by(p.id))
    if not rows:
        raise LedgerBroken(f"{key}: no such transfer to reverse")
    return [(row.debit_id, row.credit_id, row.units) for row in rows]
