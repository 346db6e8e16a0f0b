"""What the mirror shows, as the database has it, and what of it is new since a cursor.

Keys, all hashes but the last (docs/mirrors.md):

    <chain>:order:account:map        order id -> index of its newest address on that chain
    <chain>:order:account:<order>    index -> {"address", "asset", "id"} of each of its newest addresses
    monero:tag:order                 order id -> `order_<reference>`, as the wallet's own books tag its index
    monero:tag:order_<reference>     order id -> index of its newest address (two projects may have one reference)
    ownership:history:<chain>        sorted set, by the rows' order, of the newest rows of ownership histories
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Row, Select, and_, func, select, union

from jobs.ownership import view as ownership_view
from ledger.db import Tx
from ledger.schema import account, address, asset, escrow, ownership

#: Rows of each kind that one look takes.
BATCH = 1_000
#: Addresses shown of one order and chain, the newest.
ADDRESSES_MAX = 50
#: Rows shown of each chain's ownership history, the newest. The whole of it is the database's.
HISTORY_MAX = 10_000
#: A row's id is given at its insert and seen after its commit: a missing id is looked for again for so long, and at
#: most so many of them.
GAP_US = 900 * 1_000_000
GAPS_MAX = 1_000

Hashes = dict[str, dict[str, str]]  #: key -> field -> value


@dataclass(frozen=True)
class Cursor:
    """Rows up to an id are known, but for those in `gaps` (id -> since when it is missed)."""

    last: int = 0
    gaps: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Order:
    """One order's part of the mirror. `own`: keys of it alone; `shared`: its fields in keys of many."""

    id: int
    public_id: str
    own: Hashes
    shared: Hashes


@dataclass(frozen=True)
class Look:
    """What is new. `pending`: addresses whose text is not known yet; `ready`: those of the ones asked for that are."""

    orders: Sequence[Order]
    history: Mapping[str, Mapping[str, int]]  #: key -> row as JSON -> its place
    addresses: Cursor
    ownership: Cursor
    pending: frozenset[int]
    ready: frozenset[int]
    more: bool


def look(tx: Tx, addresses: Cursor, owned: Cursor, waiting: Collection[int]) -> Look:
    """One bounded batch. `waiting`: address ids that were pending before."""
    a = address.c
    late = tx.all(_ADDRESSES.where(a.id.in_(waiting))) if waiting else []
    fresh, addresses_now = _following(tx, _ADDRESSES, a.id, addresses)
    rows, owned_now = _following(tx, select(ownership), ownership.c.id, owned)
    ready = {row.id for row in late if row.state == "ready"}
    touched = [*fresh, *(row for row in late if row.id in ready)]
    ids = {row.own_id for row in touched} | {row.escrows_id for row in touched}
    return Look(
        orders=orders(tx, ids - {None}),
        history=history(tx, rows),
        addresses=addresses_now,
        ownership=owned_now,
        pending=frozenset(row.id for row in touched if row.state != "ready" and (row.own_id or row.escrows_id)),
        ready=frozenset(ready),
        more=max(len(fresh), len(rows)) >= BATCH,
    )


def orders(tx: Tx, ids: Collection[int]) -> list[Order]:
    """These accounts' parts; accounts of other kinds than order have none and are left out."""
    c = account.c
    query = select(c.id, c.public_id, c.reference).where(c.id.in_(ids), c.kind == "order").order_by(c.id)
    rows = tx.all(query) if ids else []
    lying = _addresses(tx, [row.id for row in rows])
    return [_order(row, lying[row.id]) for row in rows]


def history(tx: Tx, rows: Sequence[Row[Any]]) -> dict[str, dict[str, int]]:
    """Rows of `ownership` by the key that shows them."""
    chains = {row.code: row.chain for row in tx.all(select(asset.c.code, asset.c.chain))} if rows else {}
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for row, view in zip(rows, ownership_view.rows(tx, rows), strict=True):
        found[history_key(chains[row.asset])][as_json(view)] = row.id
    return found


def newest(tx: Tx, chain: str) -> list[Row[Any]]:
    """The rows of `ownership` that the mirror shows of a chain."""
    codes = [row.code for row in tx.all(select(asset.c.code).where(asset.c.chain == chain))]
    o = ownership.c
    return list(tx.all(select(ownership).where(o.asset.in_(codes)).order_by(o.id.desc()).limit(HISTORY_MAX)))


def history_key(chain: str) -> str:
    return f"ownership:history:{chain}"


def map_key(chain: str) -> str:
    return f"{chain}:order:account:map"


def as_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _order(row: Row[Any], lying: Mapping[str, Sequence[Row[Any]]]) -> Order:
    own: Hashes = {}
    shared: Hashes = {}
    for chain, homes in lying.items():
        own[f"{chain}:order:account:{row.public_id}"] = {str(home.idx): _home(home) for home in homes}
        shared[map_key(chain)] = {row.public_id: str(homes[0].idx)}
    if "monero" in lying:
        tag = f"order_{row.reference}"
        shared["monero:tag:order"] = {row.public_id: tag}
        shared[f"monero:tag:{tag}"] = {row.public_id: str(lying["monero"][0].idx)}
    return Order(row.id, row.public_id, own, shared)


def _home(home: Row[Any]) -> str:
    text = home.address if home.state == "ready" else None  # before that the node does not watch it
    return as_json({"address": text, "asset": home.asset, "id": home.public_id})


def _addresses(tx: Tx, ids: Sequence[int]) -> dict[int, dict[str, list[Row[Any]]]]:
    """Order id -> chain -> its newest addresses, newest first: the order's own, and those of escrows for it."""
    found: dict[int, dict[str, list[Row[Any]]]] = defaultdict(lambda: defaultdict(list))
    if not ids:
        return found
    a = address.c
    shown = (a.id, a.chain, a.idx, a.address, a.state, a.asset, a.public_id)
    own = select(a.account_id.label("order_id"), *shown).where(a.account_id.in_(ids))
    of_escrows = select(escrow.c.order_id, *shown).join(address, a.id == escrow.c.address_id)
    both = union(own, of_escrows.where(escrow.c.order_id.in_(ids))).subquery()
    place = func.row_number().over(partition_by=(both.c.order_id, both.c.chain), order_by=both.c.id.desc())
    ranked = select(both, place.label("place")).subquery()
    for row in tx.all(select(ranked).where(ranked.c.place <= ADDRESSES_MAX).order_by(ranked.c.id.desc())):
        found[row.order_id][row.chain].append(row)
    return found


#: Addresses with the orders that show each, if any: its account, and that of the escrow that it funds.
_ADDRESSES = (
    select(
        address.c.id,
        address.c.state,
        address.c.created_at.label("at"),
        account.c.id.label("own_id"),
        escrow.c.order_id.label("escrows_id"),
    )
    .outerjoin(escrow, and_(address.c.purpose_kind == "escrow", escrow.c.id == address.c.purpose_id))
    .outerjoin(account, and_(account.c.id == address.c.account_id, account.c.kind == "order"))
)


def _following(tx: Tx, query: Select[Any], key: Any, cursor: Cursor) -> tuple[list[Row[Any]], Cursor]:
    """The rows after a cursor, and those missed before that are there now; the cursor that knows them."""
    rows = list(tx.all(query.where(key > cursor.last).order_by(key).limit(BATCH)))
    found = list(tx.all(query.where(key.in_(cursor.gaps)))) if cursor.gaps else []
    here = {row.id for row in found}
    gaps = {i: since for i, since in cursor.gaps.items() if i not in here and since > tx.now - GAP_US}
    gaps |= dict.fromkeys(_missed(cursor.last, rows, tx.now), tx.now)
    kept = dict(sorted(gaps.items())[-GAPS_MAX:])
    return rows + found, Cursor(rows[-1].id if rows else cursor.last, kept)


def _missed(last: int, rows: Iterable[Row[Any]], now: int) -> Iterable[int]:
    for row in rows:
        if row.at > now - GAP_US:
            yield from range(max(last + 1, row.id - GAPS_MAX), row.id)
        last = row.id
