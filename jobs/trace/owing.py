"""Which debt of an account each repayment was of, from the journal alone.

What comes from one deposit, its own credit or what was taken for it from whoever had its money, is of the debt that
this deposit had left, for as long as that is open: it answers for itself first. Everything else, and what is over, is
of the oldest debt. So what stays open, and the house may come to bear, is of a deposit that has not come back.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import or_

from jobs.trace import streams
from jobs.trace.streams import Move
from ledger.db import Tx
from ledger.schema import posting

#: The keys under which a deposit's own money repays: what it was credited with, and what had been frozen for it.
_OF_DEPOSIT = re.compile(r"(?:repay|frozen):deposit:(\d+):")


@dataclass(frozen=True, slots=True)
class Repaid:
    """`units` of the posting `by`, from `offset` of it on, were of the debt that the posting `debt` had left."""

    by: Move
    debt: Move
    offset: int
    units: int


@dataclass(slots=True)
class _Debt:
    move: Move
    left: int


def repaid(tx: Tx, ledger_id: int) -> Iterator[Repaid]:
    """All that was ever repaid, or written off, of what an account owes in its ledger account `ledger_id`."""
    p = posting.c
    open_: list[_Debt] = []
    for move in streams.moves(tx, or_(p.debit_id == ledger_id, p.credit_id == ledger_id)):
        if move.debit_id == ledger_id:
            open_.append(_Debt(move, move.units))
            continue
        yield from _pay(open_, move)
        open_ = [debt for debt in open_ if debt.left]


def _pay(open_: list[_Debt], move: Move) -> Iterator[Repaid]:
    found = _OF_DEPOSIT.match(move.key)
    own = ("deposit", int(found[1])) if found else None
    offset = 0
    for debt in (*(each for each in open_ if each.move.ref == own), *open_):
        units = min(move.units - offset, debt.left)
        if units:
            yield Repaid(move, debt.move, offset, units)
            debt.left -= units
            offset += units
