"""What left a wallet and no payment here made: somebody else uses the keys, or this database does not know all of it.

Every payment's bytes are stored before they are sent, so there is no timing in it: whatever the chain shows as sent by
these keys, and no candidate here is, stops signing on the whole chain at once, whatever the books say (FAULTS J2, J3,
C6). An operator who has looked into it accepts it; then it is known, and its nonces count as used.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, insert, select, update

from jobs import halting
from jobs.payment import resources
from jobs.services import Services
from ledger import audit
from ledger.db import Tx
from ledger.errors import StateConflict
from ledger.schema import candidate, outgoing, resource
from wallets.protocol import DepositPage

#: Causes that say of a transaction or a nonce that no payment here made it.
CAUSES = ("chain_ahead", "unknown_outgoing", "resource_moved")
_ASKED_AT_ONCE = 500
_LISTED_MAX = 20


@dataclass(frozen=True)
class Stranger:
    """By transaction id, or by the resource where the chain tells no more."""

    name: str
    resources: tuple[str, ...]
    height: int | None
    is_transaction: bool


def strangers(services: Services, chain: str, page: DepositPage) -> list[Stranger]:
    """What of a page no payment here made, and nobody was told of before.

    To be asked after the page was read: what is sent has been stored long before.
    """
    txids = {spend.txid: spend.height for spend in page.outgoing if spend.txid is not None}
    used = {spend.resource for spend in page.outgoing if spend.txid is None}
    if not txids and not used:
        return []

    def read(tx: Tx) -> tuple[set[str], set[str]]:
        unowned = set(resources.unknown(tx, chain, sorted(used)))
        return _unmade(tx, chain, txids), unowned - _used_by_told(tx, chain) if unowned else set()

    unmade, unowned = services.database.read(read)
    found = [Stranger(txid, services.wallet(chain).resources_of(txid), txids[txid], True) for txid in sorted(unmade)]
    theirs = {name for each in found for name in each.resources}
    return found + [Stranger(name, (name,), None, False) for name in sorted(unowned - theirs)]


def note(tx: Tx, chain: str, found: Sequence[Stranger], *, before: bool = False) -> None:
    """Keep what was found, and halt the chain. `before`: it is older than this database's first look; nothing halts."""
    for each in found:
        if tx.value(select(outgoing.c.id).where(outgoing.c.chain == chain, outgoing.c.name == each.name)) is not None:
            continue
        known = before or _accepted(tx, chain, each.resources)
        values: dict[str, Any] = {"chain": chain, "name": each.name, "resources": list(each.resources)}
        values |= {"height": each.height, "state": "before" if known else "unknown", "seen_at": tx.now}
        tx.execute(insert(outgoing).values(values))
        if not known:
            cause, why = _cause(tx, chain, each)
            halting.stop(tx, chain, cause, why)


def accept(tx: Tx, chain: str, known: Collection[str], reason: str, actor: str) -> list[str]:
    """An operator knows what `known` are: the names of those that nobody had accepted. What they used counts as used
    from now on. Audited. Raises `StateConflict`, naming them, while there are others: nobody has looked into those."""
    o = outgoing.c
    rows = tx.all(select(outgoing).where(o.chain == chain, o.state == "unknown").order_by(o.id))
    others = [row.name for row in rows if row.name not in known]
    if others:
        listed = ", ".join(others[:_LISTED_MAX]) + (", ..." if len(others) > _LISTED_MAX else "")
        raise StateConflict(f"left by no payment here on {chain}, and not looked into: {listed}")
    for row in rows:
        values = {"state": "accepted", "actor": actor, "note": reason[:512]}
        tx.execute(update(outgoing).where(o.id == row.id).values(values))
        for key in resources.unknown(tx, chain, list(row.resources)):
            used = {"chain": chain, "resource_key": key, "payment_id": None, "live": None, "created_at": tx.now}
            tx.execute(insert(resource).values(used))
        audit.record(tx, actor, "accept_outgoing", f"{chain}/{row.name}"[:128], {"reason": reason[:512]})
    return [row.name for row in rows]


def named(tx: Tx, text: str) -> list[Row[Any]]:
    """What is known of a transaction, or of a resource, that no payment here made."""
    o = outgoing.c
    rows = tx.all(select(outgoing).where(o.state != "before").order_by(o.id))
    return [row for row in rows if text == row.name or text in row.resources]


def _cause(tx: Tx, chain: str, each: Stranger) -> tuple[str, str]:
    if not each.is_transaction:
        return "chain_ahead", (
            f"the chain shows {each.name} as used, which this database never owned: it is not the one that pays"
        )
    r = resource.c
    ours = select(r.resource_key).where(r.chain == chain, r.live == 1, r.resource_key.in_(each.resources))
    moved = tx.value(ours.limit(1))
    if moved is not None:
        return "resource_moved", f"{each.name} uses {moved}, which belongs to a payment here that did not make it"
    return "unknown_outgoing", f"{each.name} was made with this wallet's keys, and by no payment here"


def _accepted(tx: Tx, chain: str, names: Collection[str]) -> bool:
    """Whether all that it uses was told of before: a nonce seen in the pool, whose transaction is in a block now."""
    return bool(names) and set(names) <= _told(tx, chain, names, states=("before", "accepted"))


def _used_by_told(tx: Tx, chain: str) -> set[str]:
    rows = tx.all(select(outgoing.c.resources).where(outgoing.c.chain == chain))
    return {name for row in rows for name in row.resources}


def _unmade(tx: Tx, chain: str, txids: Collection[str]) -> set[str]:
    wanted, made = sorted(txids), set()
    c = candidate.c
    for start in range(0, len(wanted), _ASKED_AT_ONCE):
        part = wanted[start : start + _ASKED_AT_ONCE]
        made |= {row.txid for row in tx.all(select(c.txid).where(c.chain == chain, c.txid.in_(part)))}
    unmade = set(wanted) - made
    return unmade - _told(tx, chain, unmade)


def _told(
    tx: Tx, chain: str, names: Collection[str], states: Sequence[str] = ("before", "unknown", "accepted")
) -> set[str]:
    o, wanted, found = outgoing.c, sorted(names), set()
    for start in range(0, len(wanted), _ASKED_AT_ONCE):
        part = o.name.in_(wanted[start : start + _ASKED_AT_ONCE])
        found |= {row.name for row in tx.all(select(o.name).where(o.chain == chain, o.state.in_(states), part))}
    return found
