"""Whether the ownership histories are what was written: each chain whole, and its end what the ledger says.

Read in pages, each at one moment of its own: a chain only ever grows, so no two pages need the same moment.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, Table, select

from jobs.ownership.facts import FACTS
from ledger.db import Database, Tx
from ledger.errors import NotFound
from ledger.ownership import GENESIS, Subject, digest
from ledger.schema import account, deposit, escrow, ownership, ownership_head

#: Chains looked at in one page.
PAGE = 500
#: Faults that are told one by one; more of them tell nothing more.
FAULTS_MAX = 50

#: Where a subject's public id is. An order is an account of that kind.
TABLES: Mapping[str, Table] = {"deposit": deposit, "order": account, "escrow": escrow}


@dataclass
class Verdict:
    """What was looked at, and what is wrong with it: `SUBJECT: what`, the first broken row of each chain."""

    chains: int = 0
    rows: int = 0
    faults: tuple[str, ...] = ()


def verify(database: Database, tell: Callable[[Verdict], None] = lambda _: None) -> Verdict:
    """Every history. `tell` hears after each page how far it is."""
    verdict = Verdict()
    for kind in TABLES:
        last: int | None = 0
        while last is not None and len(verdict.faults) < FAULTS_MAX:
            last = database.read(lambda tx, k=kind, a=last: _page(tx, k, a, verdict), consistent=True)  # type: ignore[misc]
            tell(verdict)
    return verdict


def verify_one(tx: Tx, public_id: str) -> Verdict:
    """The history of one deposit, order or escrow. Raises `NotFound`."""
    for kind, table in TABLES.items():
        row_id = tx.value(select(table.c.id).where(table.c.public_id == public_id))
        if row_id is not None:
            verdict = Verdict()
            _judge(tx, kind, row_id - 1, row_id, verdict)
            return verdict
    raise NotFound(f"no deposit, order or escrow {public_id}")


def whole(tx: Tx, subject: Subject) -> bool:
    """Whether this chain is what was written, from its first row to its head."""
    o, h = ownership.c, ownership_head.c
    head = tx.first(select(ownership_head).where(h.subject_kind == subject[0], h.subject_id == subject[1]))
    rows = tx.execute(
        select(ownership).where(o.subject_kind == subject[0], o.subject_id == subject[1]).order_by(o.number)
    )
    found = list(rows)
    return not found if head is None else first_fault(found, head) is None


def first_fault(rows: Iterable[Row[Any]], head: Row[Any] | None) -> str | None:
    """What is wrong with a chain, given as its rows in order; None when nothing is."""
    number, before = 0, GENESIS
    for row in rows:
        number += 1
        if row.number != number:
            return f"row {number} is missing"
        if row.previous_hash != before:
            return f"row {number} does not follow from the one before"
        if digest(row._mapping) != row.hash:
            return f"row {number} is not what was written"
        before = row.hash
    if head is None:
        return f"row {number} is its last, and it has no head"
    if (head.number, head.hash) != (number, before):
        return f"row {number} is its last, its head is of row {head.number}"
    return None


def _page(tx: Tx, kind: str, after: int, verdict: Verdict) -> int | None:
    """Look at the next chains of a kind; the id to go on after, or None at the end."""
    h = ownership_head.c
    query = select(h.subject_id).where(h.subject_kind == kind, h.subject_id > after).order_by(h.subject_id)
    ids = tx.all(query.limit(PAGE))
    upto = int(ids[-1].subject_id) if len(ids) == PAGE else None
    _judge(tx, kind, after, upto, verdict)
    return upto


def _judge(tx: Tx, kind: str, after: int, upto: int | None, verdict: Verdict) -> None:
    """All subjects of a kind whose id lies in (after, upto]."""
    heads = {row.subject_id: row for row in tx.all(_within(ownership_head, kind, after, upto))}
    chains: dict[int, list[Row[Any]]] = defaultdict(list)
    o = ownership.c
    for row in tx.execute(_within(ownership, kind, after, upto).order_by(o.subject_id, o.number)):
        chains[row.subject_id].append(row)
    faults = {}
    for row_id in sorted(heads.keys() | chains.keys()):
        fault = first_fault(chains.get(row_id, ()), heads.get(row_id))
        if fault is not None:
            faults[row_id] = fault
    facts = FACTS[kind](tx, after, upto, chains) if kind in FACTS else {}
    faults = facts | faults  # a broken chain is told of before what does not follow from it
    verdict.chains += len(heads.keys() | chains.keys())
    verdict.rows += sum(map(len, chains.values()))
    verdict.faults += tuple(_named(tx, kind, faults))


def _within(table: Table, kind: str, after: int, upto: int | None) -> Any:
    t = table.c
    query = select(table).where(t.subject_kind == kind, t.subject_id > after)
    return query if upto is None else query.where(t.subject_id <= upto)


def _named(tx: Tx, kind: str, faults: Mapping[int, str]) -> list[str]:
    ids = sorted(faults)[:FAULTS_MAX]
    names = public_ids(tx, kind, ids)
    return [f"{kind} {names.get(row_id, row_id)}: {faults[row_id]}" for row_id in ids]


def public_ids(tx: Tx, kind: str, ids: Sequence[int]) -> dict[int, str]:
    """Public ids of subjects, as far as they exist."""
    t = TABLES[kind].c
    return {row.id: row.public_id for row in tx.all(select(t.id, t.public_id).where(t.id.in_(ids)))} if ids else {}
