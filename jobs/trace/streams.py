"""One ledger account as a queue of money: what came first is spent first.

A withdrawal, a transfer or an escrow does not say which of an account's coins it spends, so this rule does, for every
account alike and whatever the money came from. What cannot mix is not mixed: each escrow and each swap is a queue of
its own, and each hold is one piece. Two debits name their money and do not ask the queue: a deposit that left the chain
is taken from its own money first, and so is what is frozen for a deposit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import ColumnElement, Row, or_, select

from ledger.db import Tx
from ledger.schema import address, balance, deposit, escrow, ledger_account, posting, swap, transfer
from ledger.types import total

#: Kinds of transfers that bring a deposit's money in.
BOOKED = ("deposit", "deposit_resolution")
REVERSAL = "deposit_reversal"
#: The kind of a transfer by which a debt that was written off is owed again, numbered as the reversal that had left it.
RECOVERED = "recovered"


@dataclass(frozen=True, slots=True)
class Move:
    """One posting, with the transfer that it is part of."""

    id: int
    key: str
    kind: str
    ref: tuple[str, int]
    at: int
    asset: str
    debit_id: int
    credit_id: int
    units: int


@dataclass(frozen=True, slots=True)
class Lot:
    """`units` of what the posting `move` brought, from `offset` of it on."""

    move: Move
    offset: int
    units: int


@dataclass(frozen=True, slots=True)
class Owner:
    """A ledger account: whose, and of which kind."""

    account_id: int
    kind: str


@dataclass(slots=True)
class _Segment:
    units: int
    ours: bool = False
    deposit_id: int | None = None  #: that brought it


def owner(tx: Tx, ledger_id: int) -> Owner:
    key, a = (owner, ledger_id), ledger_account.c
    if key not in tx.memo:
        row = tx.one(select(a.account_id, a.kind).where(a.id == ledger_id))
        tx.memo[key] = Owner(row.account_id, row.kind)
    return cast(Owner, tx.memo[key])


def moves(tx: Tx, condition: ColumnElement[bool]) -> Iterator[Move]:
    """Postings that a condition on `posting` and `transfer` names, in their order."""
    t, p = transfer.c, posting.c
    shown = (p.id, t.transfer_key, t.kind, t.ref_kind, t.ref_id, t.created_at)
    query = select(*shown, p.asset, p.debit_id, p.credit_id, p.units).join(transfer, t.id == p.transfer_id)
    for row in tx.execute(query.where(condition).order_by(p.id)):
        yield _move(row)


def of_posting(number: int) -> ColumnElement[bool]:
    """The condition that names one posting."""
    return posting.c.id == number


def _move(row: Row[Any]) -> Move:
    ref = (row.ref_kind, row.ref_id)
    rest = (row.created_at, row.asset, row.debit_id, row.credit_id, row.units)
    return Move(row.id, row.transfer_key, row.kind, ref, *rest)


def spent(tx: Tx, lot: Lot, deposit_id: int) -> list[Lot]:
    """What of a lot has left the account that it came to, as lots of the postings that took it, in their order.

    `deposit_id`: whose money it is.
    """
    ledger_id = lot.move.credit_id
    kind = owner(tx, ledger_id).kind
    if kind == "available":
        front, flow = _before(tx, ledger_id, lot.move.id), _from(tx, ledger_id, lot.move.id)
    else:
        front, flow = 0, _part(tx, ledger_id, kind, lot.move)
    return list(_pass(flow, lot, front, deposit_id))


def _pass(flow: Iterable[Move], lot: Lot, front: int, deposit_id: int) -> Iterator[Lot]:
    """Let the account's movements pass, and tell which of its debits take of the lot."""
    ledger_id, left = lot.move.credit_id, lot.units
    queue = deque([_Segment(front)])
    for move in flow:
        if move.credit_id == ledger_id:
            queue.extend(_arrived(move, lot))
            continue
        offset = 0
        for part in _take(queue, move, deposit_id):
            if part.ours:
                yield Lot(move, offset, part.units)
                left -= part.units
            offset += part.units
        if left == 0:
            return


def _arrived(move: Move, lot: Lot) -> list[_Segment]:
    brought = move.ref[1] if move.kind in BOOKED else None
    if move.id != lot.move.id:
        return [_Segment(move.units, deposit_id=brought)]
    rest = move.units - lot.offset - lot.units
    parts = ((lot.offset, False), (lot.units, True), (rest, False))
    return [_Segment(units, ours, brought) for units, ours in parts]


def _take(queue: deque[_Segment], move: Move, deposit_id: int) -> list[_Segment]:
    """Remove what a debit takes: what it names first, then from the front."""
    taken: list[_Segment] = []
    wanted = move.units
    named = [segment for segment in queue if _is_named(segment, move, deposit_id)]
    for segment in (*named, *queue):
        units = min(wanted, segment.units)
        if units:
            taken.append(_Segment(units, segment.ours, segment.deposit_id))
            segment.units -= units
            wanted -= units
        if not wanted:
            break
    while queue and queue[0].units == 0:
        queue.popleft()
    return taken


def _is_named(segment: _Segment, move: Move, deposit_id: int) -> bool:
    if move.kind == REVERSAL:
        return segment.deposit_id == move.ref[1]
    return segment.ours and move.key.startswith(f"hold:{frozen_prefix(deposit_id)}")


def frozen_prefix(deposit_id: int) -> str:
    """How the keys of holds begin that freeze what a deposit had paid for."""
    return f"frozen:deposit:{deposit_id}:"


def _before(tx: Tx, ledger_id: int, move_id: int) -> int:
    """What lay in a guarded account before a posting."""
    p = posting.c
    units = int(tx.value(select(balance.c.units).where(balance.c.ledger_account_id == ledger_id)) or 0)
    for column, sign in ((p.credit_id, -1), (p.debit_id, 1)):
        units += sign * int(tx.value(select(total(p.units)).where(column == ledger_id, p.id >= move_id)) or 0)
    return units


def _from(tx: Tx, ledger_id: int, move_id: int) -> Iterator[Move]:
    p = posting.c
    return moves(tx, (p.id >= move_id) & or_(p.debit_id == ledger_id, p.credit_id == ledger_id))


def _part(tx: Tx, ledger_id: int, kind: str, move: Move) -> Iterator[Move]:
    """The movements of the one escrow or swap, of those that lie in this account, that a posting is of."""
    p, t, d = posting.c, transfer.c, deposit.c
    row_id, homes = part_of(tx, kind, move)
    paid = select(d.id).where(d.address_id.in_(homes))
    own = (t.ref_kind == kind) & (t.ref_id == row_id)
    mine = or_(own, (t.ref_kind == "deposit") & t.ref_id.in_(paid))
    return moves(tx, or_(p.debit_id == ledger_id, p.credit_id == ledger_id) & mine)


def part_of(tx: Tx, kind: str, move: Move) -> tuple[int, list[int]]:
    """(row id, address ids) of the escrow or swap in whose part of an account a posting put money."""
    table = {"escrow": escrow, "swap": swap}[kind]
    row_id = move.ref[1]
    if move.ref[0] == "deposit":
        query = select(address.c.purpose_id).join(deposit, deposit.c.address_id == address.c.id)
        row_id = int(tx.value(query.where(deposit.c.id == move.ref[1])))
    home = tx.value(select(table.c.address_id).where(table.c.id == row_id))
    return row_id, [] if home is None else [int(home)]
