"""What the books say that a chain must hold, read at one moment, and where on the chain to look for it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, select

from jobs import holdings
from jobs.assets import on_chain
from jobs.backup import quarantine
from jobs.payment import books as payment_books
from jobs.payment.contents import OUTWARD
from jobs.services import chain_row
from ledger import balances
from ledger.db import Tx
from ledger.schema import OWED_KINDS, address, balance, deposit, ledger_account, payment, payment_item, task
from ledger.types import total

#: Indices of an asset that are looked at each time, those that hold most first. What lies on others is taken at the
#: books' word here, and named; the balance sync looks at each of them within a day.
INDICES_MAX = 2_000

_UNDERWAY = ("broadcast", "confirming", "bumping", "review", "releasing")


@dataclass(frozen=True)
class Underway:
    """A payment whose intent is booked and whose settlement is not, with all that may be in the chain of it."""

    payment: Row[Any]
    candidates: Sequence[Row[Any]]
    items: Sequence[Row[Any]]


@dataclass(frozen=True)
class AssetBooks:
    """One asset. `house` is credit-normal: what the treasury holds is negative there."""

    code: str
    contract: str | None
    house: Mapping[str, int]
    owed: int
    uncredited: Sequence[tuple[str, int, int | None]]  #: key, units, index of what a block holds and the books do not
    suspect: Mapping[int | None, int]  #: by index, what undecided suspect deposits are booked with
    indices: tuple[int, ...]  #: where the chain is asked
    holdings: Mapping[int, int]  #: what these should hold
    unread: int  #: units on indices that it is not asked for
    followed: int  #: surplus that the balance sync has found and follows until it is final


@dataclass(frozen=True)
class Books:
    """A chain's assets, its own coin first, and the payments on their way."""

    assets: Sequence[AssetBooks]
    underway: Sequence[Underway]
    cursor: str | None
    hot_index: int | None

    def signature(self) -> tuple[Any, ...]:
        """What must be the same before and after the chain was asked."""
        payments = [(each.payment.id, each.payment.state, each.payment.candidates) for each in self.underway]
        return payments, [(a.house, a.uncredited, a.holdings, a.unread) for a in self.assets]


def read(tx: Tx, chain: str, *, apart: bool, more: Collection[int] = (), most: int = INDICES_MAX) -> Books:
    """All that is needed to compare a chain with the books. `apart`: its indices hold their own money; of these, `more`
    are to be looked at besides the `most` that hold most."""
    p, i = payment.c, payment_item.c
    rows = tx.all(select(payment).where(p.chain == chain, p.state.in_(_UNDERWAY)).order_by(p.id))
    underway = [
        Underway(row, payment_books.candidates(tx, row.id), tx.all(select(payment_item).where(i.payment_id == row.id)))
        for row in rows
        if payment_books.intent_stands(tx, row.id)
    ]
    asked = {*more, *_touched(underway)} if apart else None
    assets = [_asset(tx, chain, found, asked, most) for found in on_chain(tx, chain)]
    known = chain_row(tx, chain)
    return Books(assets, underway, known.scan_cursor, known.hot_index)


def _asset(tx: Tx, chain: str, found: Row[Any], asked: set[int] | None, most: int) -> AssetBooks:
    uncredited = _uncredited(tx, chain, found.code)
    placed: dict[int, int] = {}
    unread = 0
    if asked is not None:
        present = sorted(holdings.present(tx, chain, found.code), key=lambda row: -row.units)
        wanted = asked | {row.idx for row in present[:most]} | {at for _, _, at in uncredited if at is not None}
        placed = dict.fromkeys(wanted, 0) | {row.idx: row.units for row in present if row.idx in wanted}
        unread = sum(row.units for row in present if row.idx not in wanted)
    return AssetBooks(
        found.code,
        found.contract,
        balances.of_house(tx, found.code),
        _owed(tx, found.code),
        uncredited,
        _suspect(tx, chain, found.code),
        tuple(sorted(placed)),
        placed,
        unread,
        _followed(tx, chain, found.code),
    )


def _uncredited(tx: Tx, chain: str, code: str) -> list[tuple[str, int, int | None]]:
    d = deposit.c
    coming = (d.chain == chain) & (d.asset == code) & (d.credited == 0) & (d.seen == "confirmed")
    query = select(d.output_key, d.units, d.address, address.c.idx).outerjoin(address, address.c.id == d.address_id)
    rows = tx.all(query.where(coming).order_by(d.id))
    return [(row.output_key, row.units, quarantine.lies_at(tx, chain, row.idx, row.address)) for row in rows]


def _touched(underway: Sequence[Underway]) -> set[int]:
    found = {idx for each in underway for item in each.items for idx in (item.source_idx, item.target_idx)}
    return {idx for idx in found if idx is not None and idx >= 0}


def _suspect(tx: Tx, chain: str, code: str) -> dict[int | None, int]:
    """The chain may hold less than these deposits said, until a person has decided about them."""
    d = deposit.c
    odd = (d.chain == chain) & (d.asset == code) & (d.credited == 1) & d.suspect.is_not(None)
    suspense = select(ledger_account.c.id).where(ledger_account.c.kind == "suspense")
    query = select(d.units, d.address, address.c.idx).outerjoin(address, address.c.id == d.address_id)
    found: dict[int | None, int] = {}
    for row in tx.all(query.where(odd, d.credited_to.in_(suspense))):
        place = quarantine.lies_at(tx, chain, row.idx, row.address)
        found[place] = found.get(place, 0) + row.units
    return found


def _followed(tx: Tx, chain: str, code: str) -> int:
    progress: Mapping[str, Any] = tx.value(select(task.c.progress).where(task.c.name == f"sync:{chain}")) or {}
    looks: Mapping[str, Any] = progress.get("surpluses", {})
    return sum(int(look["units"]) for key, look in looks.items() if key.partition(":")[0] == code)


def _owed(tx: Tx, code: str) -> int:
    a = ledger_account.c
    query = select(total(balance.c.units)).join(ledger_account, a.id == balance.c.ledger_account_id)
    return int(tx.value(query.where(a.asset == code, a.kind.in_(OWED_KINDS))) or 0)


def credited(tx: Tx, chain: str, keys: Sequence[str]) -> set[tuple[str, str]]:
    """(asset, key) of those deposits that the books have."""
    d = deposit.c
    found: set[tuple[str, str]] = set()
    for start in range(0, len(keys), 500):
        part = (d.chain == chain) & d.output_key.in_(keys[start : start + 500]) & (d.credited == 1)
        found |= {(row.asset, row.output_key) for row in tx.all(select(d.asset, d.output_key).where(part))}
    return found


def places_of(tx: Tx, chain: str, texts: Collection[str]) -> dict[str, int]:
    """The index of each of these addresses that is ours, those that a restore set aside included."""
    wanted = sorted(texts)
    found: dict[str, int] = {}
    for start in range(0, len(wanted), 500):
        part = (address.c.chain == chain) & address.c.address.in_(wanted[start : start + 500])
        found |= {row.address: row.idx for row in tx.all(select(address.c.address, address.c.idx).where(part))}
    for text in wanted:
        if text not in found and (aside := quarantine.place_of(tx, chain, text)) is not None:
            found[text] = aside
    return found


def leaves(row: Row[Any], code: str) -> bool:
    """Whether this payment takes units of this asset out of what we hold hot."""
    return row.purpose in OUTWARD and row.asset == code
