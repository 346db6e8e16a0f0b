"""Quarantine: what a restored database may not do before each of its chains was compared.

Deposits are read and credited. Nothing is signed, and not even what was committed is sent: it may have been replaced,
or have been let go, in the life that was lost. Nor does money move between customers: they may have withdrawn it. Of
indices, as many are set aside as may have been given out since: to somebody else, they would have somebody's deposits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, insert, select, update

from jobs import halting
from jobs.assets import chains_in_use
from jobs.backup import marks
from jobs.views import when
from ledger import audit, halts, pauses
from ledger.db import Tx
from ledger.errors import StateConflict
from ledger.schema import address, chain, halt, hedge, index_counter, pause, ready_address, restoration
from wallets.protocol import AddressBook

CAUSE = "restored"
#: Indices of each chain that may have been given out since the backup, unless an operator says more.
SKIP = 1_000
#: Addresses that are derived between two statements.
DERIVED_AT_ONCE = 1_000
#: What customers do with each other waits, too: their balances are those of the backup.
PAUSED = ("transfers", "escrows", "swaps")
_ENGINE = "engine:restore"


@dataclass(frozen=True)
class Beginning:
    """Which backup it was, and what an operator says of it."""

    backup_id: str
    taken_at: int
    records: Mapping[str, str]  #: chain -> survived or restored: what became of the signer's record of it
    actor: str
    skip: int


def begin(tx: Tx, begun: Beginning, books: Mapping[str, AddressBook]) -> None:
    """Write the quarantine into a database that no worker uses."""
    known = marks.read(tx)
    why = f"restored from backup {begun.backup_id} of {when(begun.taken_at)}: what happened since is not known here"
    for name in chains_in_use(tx):
        if known["chains"][name]["bound"]:  # else no wallet was ever opened: it had nothing to pay with
            halting.stop(tx, name, CAUSE, why, begun.actor)
        known["chains"][name] |= {"apart": books[name].apart, "record": begun.records[name]}
        _set_aside(tx, name, begun.skip, books[name])
    values = {"backup_id": begun.backup_id, "taken_at": begun.taken_at, "actor": begun.actor}
    tx.execute(insert(restoration).values(values | {"marks": known, "report": {}, "restored_at": tx.now}))
    # An order that waits to be placed may have been placed since: it is looked for, as after any interruption.
    waits = (hedge.c.state == "planned") & hedge.c.placed_at.is_(None)
    tx.execute(update(hedge).where(waits).values(placed_at=tx.now))
    for flow in PAUSED:
        pauses.stop(tx, pauses.EVERYTHING, flow, why[:255], _ENGINE)
    audit.record(tx, begun.actor, "restore", begun.backup_id, {"records": dict(begun.records), "skip": begun.skip})


def _set_aside(tx: Tx, name: str, skip: int, book: AddressBook) -> None:
    """Pass over the indices that may be somebody's. Where their addresses follow from the public key they are written
    down, so that what comes there is seen; elsewhere the wallet makes them, and the task `watch` writes them down."""
    c = index_counter.c
    first = int(tx.value(select(c.next_index).where(c.chain == name)))
    tx.execute(update(index_counter).where(c.chain == name).values(next_index=first + skip))
    key = tx.value(select(chain.c.account_public_key).where(chain.c.name == name))
    if key is None or not book.derives:
        return
    for start in range(first, first + skip, DERIVED_AT_ONCE):  # or the server takes the transaction for a sleeper's
        indices = range(start, min(start + DERIVED_AT_ONCE, first + skip))
        tx.execute(insert(ready_address), [{"chain": name, "idx": i, "address": book.at(key, i)} for i in indices])


def current(tx: Tx) -> Row[Any]:
    """The newest restoration. Raises `StateConflict` where this database never was a backup."""
    row = tx.first(select(restoration).order_by(restoration.c.id.desc()).limit(1))
    if row is None:
        raise StateConflict(
            "this database was not put in place by `coffer restore`. If it is an older one all the same, stop the "
            "workers and say so with `coffer quarantine begin`"
        )
    return row


def held_chains(tx: Tx) -> list[str]:
    """The chains that are still in quarantine."""
    return sorted({row.chain for row in tx.all(select(halt.c.chain).where(halt.c.cause == CAUSE))})


def place_of(tx: Tx, name: str, text: str) -> int | None:
    """The index of an address that no row here gave to anybody, where money lies apart and such a one may have been
    given out in the life that was lost."""
    row = tx.first(select(restoration).order_by(restoration.c.id.desc()).limit(1))
    if row is None or not row.marks["chains"].get(name, {}).get("apart"):
        return None
    r = ready_address.c
    found = tx.value(select(r.idx).where(r.chain == name, r.address == text))
    return None if found is None else int(found)


def lies_at(tx: Tx, name: str, index: int | None, text: str) -> int | None:
    """Where a deposit to this address lies; `index` is that of the row of the address, where it has one."""
    return place_of(tx, name, text) if index is None else index


def address_at(tx: Tx, name: str, index: int) -> str:
    """The address of an index on which money lies: somebody's, or one that a restore set aside."""
    for t in (address, ready_address):
        found = tx.value(select(t.c.address).where(t.c.chain == name, t.c.idx == index))
        if found is not None:
            return str(found)
    raise LookupError(f"no index {index} of {name} was ever made")


def knows_signed(row: Row[Any], name: str) -> bool:
    """Whether the signer's record of this chain is of now, so that it knows what was signed since the backup."""
    return bool(row.marks["chains"][name].get("record") == "survived")


def record_knows(tx: Tx, name: str) -> bool:
    """Whether the signer's record of a chain knows all that was ever signed: no restore put an older one in place."""
    row = tx.first(select(restoration).order_by(restoration.c.id.desc()).limit(1))
    return row is None or knows_signed(row, name)


def restored_at(tx: Tx) -> int | None:
    """When this database was last put in place from a backup; None where it never was."""
    found = tx.value(select(restoration.c.restored_at).order_by(restoration.c.id.desc()).limit(1))
    return None if found is None else int(found)


def note(tx: Tx, name: str, found: Mapping[str, Any]) -> None:
    """Remember what a chain's comparison found."""
    row = current(tx)
    report = dict(row.report or {})
    report[name] = dict(report.get(name, {})) | dict(found)
    tx.execute(update(restoration).where(restoration.c.id == row.id).values(report=report))


def end(tx: Tx, name: str, actor: str, reason: str) -> None:
    """Let the chain go on; with the last one, customers too. Whoever calls has compared it."""
    halting.lift(tx, name, CAUSE, actor, reason)
    if held_chains(tx):
        return
    p = pause.c
    ours = tx.all(select(p.flow).where(p.asset == pauses.EVERYTHING, p.flow.in_(PAUSED), p.actor == _ENGINE))
    for flow in [row.flow for row in ours]:
        pauses.resume(tx, pauses.EVERYTHING, flow, actor)


def check_held(tx: Tx, name: str) -> str:
    """Why the chain is in quarantine. Raises `StateConflict` when it is not."""
    why = halts.nothing_leaves(tx, name)
    if why is None:
        raise StateConflict(f"{name} is not in quarantine")
    return why
