"""Rows of sweeps, and what of an index is spoken for; used by the sweep's saga, its planner and the payments' books."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, func, or_, select, update

from jobs.backup import quarantine
from ledger import policy
from ledger.db import Tx
from ledger.schema import address, deposit, ledger_account, payment, payment_item, sweep

#: States in which a payment moves nothing any more, or has moved it in the books.
ENDED = ("settled", "final", "dead")


def wake(tx: Tx, row: Row[Any]) -> None:
    """A payment was settled, undone or let go: have the sweeps that wait for it look again."""
    if row.purpose not in ("sweep", "gas"):
        return
    s = sweep.c
    mine = (s.live == 1) & or_(s.payment_id == row.id, s.gas_payment_id == row.id)
    for row_id in [found.id for found in tx.all(select(s.id).where(mine))]:
        tx.execute(update(sweep).where(s.id == row_id).values(due_at=tx.now, wakes=s.wakes + 1))
        tx.wake("sweep", row_id)


def paying(tx: Tx, chain: str, index: int | None = None) -> set[int]:
    """Indices (or whether this one is among them) from or to which a payment is under way: one that a reorganisation
    has brought back to life counts, whatever became of the sweep that asked for it."""
    i, p = payment_item.c, payment.c
    query = select(i.source_idx, i.target_idx).join(payment, p.id == i.payment_id)
    query = query.where(p.chain == chain, p.state.not_in(ENDED))
    if index is not None:
        query = query.where(or_(i.source_idx == index, i.target_idx == index))
    rows = tx.all(query.where(or_(i.source_idx.is_not(None), i.target_idx >= 0)))
    found = {idx for row in rows for idx in (row.source_idx, row.target_idx) if idx is not None and idx >= 0}
    return found if index is None else found & {index}


def arriving(tx: Tx, chain: str) -> set[int]:
    """Indices on which money lies that is credited to nobody yet."""
    return _places(tx, chain, _uncredited(tx, chain))


def awaited(tx: Tx, chain: str) -> set[int]:
    """Indices whose sweep waits for what arrives there. For less than the asset's minimum it does not: a wei every few
    blocks would keep an index from ever being swept. A sweep moves no more than is booked, whatever else lies there."""
    rows = _uncredited(tx, chain)
    least = {code: policy.of(tx, code).deposit_minimum_units for code in {row.asset for row in rows}}
    return _places(tx, chain, [row for row in rows if row.units >= least[row.asset]])


def _uncredited(tx: Tx, chain: str) -> Sequence[Row[Any]]:
    d = deposit.c
    query = select(d.asset, d.units, d.address, address.c.idx).outerjoin(address, d.address_id == address.c.id)
    return tx.all(query.where(d.chain == chain, d.credited == 0, d.seen.in_(("pool", "confirmed"))))


def _places(tx: Tx, chain: str, rows: Sequence[Row[Any]]) -> set[int]:
    places = {quarantine.lies_at(tx, chain, row.idx, row.address) for row in rows}
    return {index for index in places if index is not None}


def suspect(tx: Tx, chain: str) -> set[tuple[str, int]]:
    """(asset, index) where a deposit waits in suspense for a person because the chain's stories about it differ."""
    d = deposit.c
    query = select(d.asset, d.address, address.c.idx).outerjoin(address, address.c.id == d.address_id)
    odd = (d.chain == chain) & (d.state == "held") & d.suspect.is_not(None)
    undecided = d.credited_to.in_(select(ledger_account.c.id).where(ledger_account.c.kind == "suspense"))
    rows = tx.all(query.where(odd, undecided))
    places = {(row.asset, quarantine.lies_at(tx, chain, row.idx, row.address)) for row in rows}
    return {(code, index) for code, index in places if index is not None}


def dead_since(tx: Tx, row: Row[Any]) -> int:
    """How many payments of this sweep have come to nothing."""
    i, p = payment_item.c, payment.c
    mine = or_((p.purpose == "sweep") & (i.source_idx == row.idx), (p.purpose == "gas") & (i.target_idx == row.idx))
    query = select(func.count()).select_from(payment_item).join(payment, p.id == i.payment_id)
    query = query.where(p.chain == row.chain, p.state == "dead", p.created_at >= row.created_at, mine)
    return int(tx.value(query) or 0)
