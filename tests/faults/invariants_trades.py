"""What must hold of escrows, swaps, quotes, ownership histories and deliveries, whatever died. Each function returns
sentences; none means that it holds.

`standing` is true at every commit, so also of what a dead process left. `ended` is true once nothing moves any more.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

from sqlalchemy import select

from ledger import ownership
from ledger.accounts import HOUSE_ACCOUNT
from ledger.db import Database, Tx
from ledger.schema import (
    balance,
    escrow,
    frozen_part,
    hold,
    hold_end,
    ledger_account,
    ownership_head,
    posting,
    quote,
    swap,
    transfer,
    webhook_delivery,
)
from ledger.schema import ownership as ownership_rows

ESCROW_ENDED = {"released", "refunded", "resolved", "expired", "cancelled"}
SWAP_ENDED = {"completed", "refunded", "expired", "failed"}
#: Before these a swap has given nothing.
UNEXECUTED = {"awaiting_deposit", "expired", "refunding", "refunded"}

Owners = Mapping[tuple[int, str, str], int]


def standing(database: Database) -> list[str]:
    return database.read(_standing, consistent=True)


def ended(database: Database) -> list[str]:
    return database.read(_ended, consistent=True)


def _standing(tx: Tx) -> list[str]:
    owned = _balances(tx)
    found = [*_parts(tx, owned), *_quotes(tx), *_legs(tx), *_frozen(tx), *_histories(tx), *_deliveries(tx)]
    return found + [f"I2: {owner} has {units} units" for owner, units in owned.items() if units < 0]


def _balances(tx: Tx) -> Owners:
    """(account, kind, asset) -> units, of all guarded ledger accounts."""
    a = ledger_account.c
    query = select(a.account_id, a.kind, a.asset, balance.c.units)
    rows = tx.all(query.join(balance, balance.c.ledger_account_id == a.id))
    return {(row.account_id, row.kind, row.asset): row.units for row in rows}


def _parts(tx: Tx, owned: Owners) -> list[str]:
    """What rows say that they hold is what lies in the ledger accounts that they share."""
    told: Counter[tuple[int, str, str]] = Counter()
    for row in tx.all(select(escrow)):
        told[row.buyer_id, "escrow", row.asset] += row.held_units
    for row in tx.all(select(swap)):
        told[row.account_id, "swap", row.sell_asset] += row.held_units
        told[HOUSE_ACCOUNT, "reserved", row.buy_asset] += row.reserved_units
    there = {owner: units for owner, units in owned.items() if owner[1] in ("escrow", "swap", "reserved")}
    return [
        f"I2: account {owner[0]} has {there.get(owner, 0)} {owner[2]} in {owner[1]}, its rows say {told[owner]}"
        for owner in sorted(there.keys() | told.keys())
        if there.get(owner, 0) != told[owner]
    ]


def _quotes(tx: Tx) -> list[str]:
    """A quote is accepted by exactly one swap."""
    used = Counter(row.quote_id for row in tx.all(select(swap.c.quote_id)))
    return [
        f"quote {row.public_id} is {row.state} and has {used[row.id]} swaps"
        for row in tx.all(select(quote))
        if used[row.id] != (1 if row.state == "accepted" else 0)
    ]


def _legs(tx: Tx) -> list[str]:
    """A13: a swap has both legs or none, each to the unit what its row says."""
    posted = _posted(tx)
    found = []
    for row in tx.all(select(swap)):
        out = row.buy_units + row.service_fee_units + row.network_fee_units + row.rounding_units
        legs = {f"swap:{row.id}:sell": row.sell_units, f"swap:{row.id}:buy": out}
        there = {key: posted[key] for key in legs if key in posted}
        wanted = legs if row.executed_at is not None else {}
        if there != wanted:
            found.append(f"A13: swap {row.public_id} ({row.state}) has posted {there}, should have {wanted}")
        if (row.executed_at is None) != (row.state in UNEXECUTED):
            found.append(f"A13: swap {row.public_id} is {row.state}, executed at {row.executed_at}")
    return found


def _posted(tx: Tx) -> dict[str, int]:
    """Units that each transfer of a swap's took out of inventory (`buy`) or put into it (`sell`)."""
    free = select(ledger_account.c.id).where(ledger_account.c.kind == "inventory")
    ids = {row.id for row in tx.all(free)}
    keys = {row.id: row.transfer_key for row in tx.all(select(transfer).where(transfer.c.transfer_key.like("swap:%")))}
    found = dict.fromkeys(keys.values(), 0)
    for row in tx.all(select(posting).where(posting.c.transfer_id.in_(sorted(keys)))):
        key = keys[row.transfer_id]
        mine, other = (row.credit_id, row.debit_id) if key.endswith(":sell") else (row.debit_id, row.credit_id)
        if mine in ids and other not in _reserved(tx):
            found[key] += row.units
    return found


def _reserved(tx: Tx) -> set[int]:
    return {row.id for row in tx.all(select(ledger_account.c.id).where(ledger_account.c.kind == "reserved"))}


def _frozen(tx: Tx) -> list[str]:
    """A part is frozen exactly as long as its hold is open."""
    over = {row.hold_id for row in tx.all(select(hold_end.c.hold_id))}
    open_ = {row.hold_key: row.id not in over for row in tx.all(select(hold))}
    return [
        f"frozen part {row.id} is {'live' if row.live else 'over'}, its hold is not"
        for row in tx.all(select(frozen_part).where(frozen_part.c.place == "balance"))
        if open_.get(row.hold_key) is not bool(row.live)
    ]


def _histories(tx: Tx) -> list[str]:
    """Each chain of ownership is whole, and ends where its head says."""
    heads = {(row.subject_kind, row.subject_id): (row.number, row.hash) for row in tx.all(select(ownership_head))}
    ends: dict[tuple[str, int], tuple[int, str]] = defaultdict(lambda: (0, ownership.GENESIS))
    found = []
    o = ownership_rows.c
    for row in tx.all(select(ownership_rows).order_by(o.subject_kind, o.subject_id, o.number)):
        subject = (row.subject_kind, row.subject_id)
        number, before = ends[subject]
        whole = row.number == number + 1 and row.previous_hash == before
        if not whole or row.hash != ownership.digest(dict(row._mapping)):
            found.append(f"ownership of {subject}: row {row.number} is not what followed")
        ends[subject] = (row.number, row.hash)
    return (
        found
        + [f"ownership of {subject} does not end at its head" for subject in heads.keys() ^ ends.keys()]
        + [
            f"ownership of {subject} ends at {ends[subject]}, its head says {heads[subject]}"
            for subject in heads.keys() & ends.keys()
            if heads[subject] != ends[subject]
        ]
    )


def _deliveries(tx: Tx) -> list[str]:
    """An event is delivered to an endpoint by one row a round."""
    d = webhook_delivery.c
    rows = tx.all(select(d.endpoint_id, d.event_id, d.round).where(d.event_id.is_not(None)))
    counted = Counter((row.endpoint_id, row.event_id, row.round) for row in rows)
    return [f"delivery {key} has {count} rows" for key, count in counted.items() if count > 1]


def _ended(tx: Tx) -> list[str]:
    found = []
    for row in tx.all(select(escrow)):
        if row.state in ESCROW_ENDED and row.held_units:
            found.append(f"escrow {row.reference} is {row.state} and holds {row.held_units}")
        found += _left(row, "escrow", row.reference, {*ESCROW_ENDED, "disputed"})
    for row in tx.all(select(swap)):
        if row.state in SWAP_ENDED and (row.held_units or row.reserved_units):
            found.append(f"swap {row.reference} is {row.state}, holds {row.held_units} and {row.reserved_units}")
        found += _left(row, "swap", row.reference, SWAP_ENDED)
    for row in tx.all(select(webhook_delivery)):
        found += _left(row, "delivery", row.public_id, {"delivered", "failed"})
    return found


def _left(row: Any, what: str, name: str, final: set[str]) -> list[str]:
    return [] if row.state in final else [f"I5: {what} {name} is {row.state} ({row.status_reason})"]
