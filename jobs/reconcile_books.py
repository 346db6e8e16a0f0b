"""What the books say that a chain must hold, read at one moment, and where on the chain to look for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, select

from jobs import holdings, payment_books
from jobs.assets import on_chain
from jobs.payment_contents import OUTWARD
from jobs.services import chain_row
from ledger import balances
from ledger.db import Tx
from ledger.schema import address, balance, deposit, ledger_account, payment, payment_item, task

#: Indices of an asset that are looked at each time, those that hold most first. What lies on others is taken at the
#: books' word here, and named; the balance sync looks at each of them within a day.
INDICES_MAX = 2_000

_UNDERWAY = ("broadcast", "confirming", "bumping", "review", "releasing")


@dataclass(frozen=True)
class Underway:
    """A payment whose intent is booked and whose settlement is not, with all that may be in the chain of it."""

    payment: Row[Any]
    candidates: Sequence[Row[Any]]


@dataclass(frozen=True)
class AssetBooks:
    """One asset. `house` is credit-normal: what the treasury holds is negative there."""

    code: str
    contract: str | None
    house: Mapping[str, int]
    owed: int
    uncredited: Sequence[tuple[str, int]]  #: (key, units) of deposits that a block holds and the books do not
    suspect: int  #: units of deposits that a person must look at because the chain's stories about them differ
    indices: tuple[int, ...]  #: where the chain is asked
    unread: int  #: units on indices that it is not asked for
    followed: int  #: surplus that the balance sync has found and follows until it is final


@dataclass(frozen=True)
class Books:
    """A chain's assets, its own coin first, and the payments on their way."""

    assets: Sequence[AssetBooks]
    underway: Sequence[Underway]
    cursor: str | None

    def signature(self) -> tuple[Any, ...]:
        """What must be the same before and after the chain was asked."""
        payments = [(each.payment.id, each.payment.state, each.payment.candidates) for each in self.underway]
        return payments, [(a.house, a.owed, a.uncredited, a.indices, a.unread) for a in self.assets]


def read(tx: Tx, chain: str, *, apart: bool) -> Books:
    """All that is needed to compare a chain with the books. `apart`: its indices hold their own money."""
    p = payment.c
    rows = tx.all(select(payment).where(p.chain == chain, p.state.in_(_UNDERWAY)).order_by(p.id))
    underway = [
        Underway(row, payment_books.candidates(tx, row.id)) for row in rows if payment_books.intent_stands(tx, row.id)
    ]
    touched = _touched(tx, [each.payment.id for each in underway]) if apart else set()
    assets = [_asset(tx, chain, found, touched if apart else None) for found in on_chain(tx, chain)]
    return Books(assets, underway, chain_row(tx, chain).scan_cursor)


def _asset(tx: Tx, chain: str, found: Row[Any], touched: set[int] | None) -> AssetBooks:
    d = deposit.c
    here = (d.chain == chain) & (d.asset == found.code)
    coming = here & (d.credited == 0) & (d.seen == "confirmed")
    query = select(d.output_key, d.units, address.c.idx).outerjoin(address, address.c.id == d.address_id)
    uncredited = tx.all(query.where(coming).order_by(d.id))
    indices, unread = _indices(tx, chain, found.code, touched, uncredited)
    return AssetBooks(
        found.code,
        found.contract,
        balances.of_house(tx, found.code),
        _owed(tx, found.code),
        [(row.output_key, row.units) for row in uncredited],
        _suspect(tx, chain, found.code),
        indices,
        unread,
        _followed(tx, chain, found.code),
    )


def _indices(
    tx: Tx, chain: str, code: str, touched: set[int] | None, uncredited: Sequence[Row[Any]]
) -> tuple[tuple[int, ...], int]:
    if touched is None:
        return (), 0
    present = sorted(holdings.present(tx, chain, code), key=lambda row: -row.units)
    asked = {row.idx for row in present[:INDICES_MAX]} | touched
    asked |= {row.idx for row in uncredited if row.idx is not None}
    return tuple(sorted(asked)), sum(row.units for row in present if row.idx not in asked)


def _touched(tx: Tx, payment_ids: Sequence[int]) -> set[int]:
    i = payment_item.c
    rows = tx.all(select(i.source_idx, i.target_idx).where(i.payment_id.in_(payment_ids)))
    return {idx for row in rows for idx in (row.source_idx, row.target_idx) if idx is not None and idx >= 0}


def _suspect(tx: Tx, chain: str, code: str) -> int:
    """What undecided suspect deposits are booked with; the chain may hold less."""
    d = deposit.c
    odd = (d.chain == chain) & (d.asset == code) & (d.credited == 1) & d.suspect.is_not(None)
    suspense = select(ledger_account.c.id).where(ledger_account.c.kind == "suspense")
    return sum(row.units for row in tx.all(select(d.units).where(odd, d.credited_to.in_(suspense))))


def _followed(tx: Tx, chain: str, code: str) -> int:
    progress: Mapping[str, Any] = tx.value(select(task.c.progress).where(task.c.name == f"sync:{chain}")) or {}
    looks: Mapping[str, Any] = progress.get("surpluses", {})
    return sum(int(look["units"]) for key, look in looks.items() if key.partition(":")[0] == code)


def _owed(tx: Tx, code: str) -> int:
    a = ledger_account.c
    rows = tx.all(
        select(balance.c.units, a.kind).join(ledger_account, a.id == balance.c.ledger_account_id).where(a.asset == code)
    )
    return sum(row.units for row in rows if row.kind in ("available", "held", "escrow"))


def credited(tx: Tx, chain: str, keys: Sequence[str]) -> set[tuple[str, str]]:
    """(asset, key) of those deposits that the books have."""
    d = deposit.c
    found: set[tuple[str, str]] = set()
    for start in range(0, len(keys), 500):
        part = (d.chain == chain) & d.output_key.in_(keys[start : start + 500]) & (d.credited == 1)
        found |= {(row.asset, row.output_key) for row in tx.all(select(d.asset, d.output_key).where(part))}
    return found


def leaves(row: Row[Any], code: str) -> bool:
    """Whether this payment takes units of this asset out of what we hold hot."""
    return row.purpose in OUTWARD and row.asset == code
