"""Halts: a chain on which nothing is signed, whatever the asset, until an operator has looked.

A pause says that an asset should wait; a halt says that this installation may not be the one that knows what these keys
have sent: the chain is ahead of the database, a payment left that nobody here made, the database was restored, another
installation has the wallet. What is already committed to be sent goes on, as the same bytes; nothing new is signed.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import bindparam, delete, insert, select

from ledger import audit
from ledger.db import Tx
from ledger.errors import InvalidInput, SigningHalted, StateConflict
from ledger.schema import chain as chain_table
from ledger.schema import halt

#: What may halt a chain. `restored` also holds back what was committed but is not known to be out (`nothing_leaves`).
CAUSES = (
    "chain_ahead",
    "unknown_outgoing",
    "resource_moved",
    "other_installation",
    "signer_record",
    "restored",
    "operator",
)
#: Those that say that this database may not know all that was paid: a withdrawal that waits here may have been paid.
UNSURE = ("chain_ahead", "unknown_outgoing", "resource_moved", "signer_record", "restored")

_ALL = select(halt.c.cause, halt.c.reason).where(halt.c.chain == bindparam("chain")).order_by(halt.c.at, halt.c.cause)


def reason(tx: Tx, chain: str, causes: Collection[str] = CAUSES) -> str | None:
    """Why nothing is signed on this chain, the oldest cause first; None when it may be."""
    found = [f"{cause}: {why}" for cause, why in all_of(tx, chain) if cause in causes]
    return found[0] if found else None


def all_of(tx: Tx, chain: str) -> list[tuple[str, str]]:
    """Each cause and its reason, the oldest first."""
    return [(row.cause, row.reason) for row in tx.all(_ALL, {"chain": chain})]


def check(tx: Tx, chain: str) -> None:
    """Raises `SigningHalted` with the reason."""
    why = reason(tx, chain)
    if why is not None:
        raise SigningHalted(f"nothing is signed on {chain}: {why}")


def check_sure(tx: Tx, chain: str) -> None:
    """Raises `StateConflict` while a withdrawal that waits here may have been paid all the same: its money stays."""
    if reason(tx, chain, UNSURE) is not None:
        raise StateConflict(f"what was paid on {chain} is being looked into; until then no money is given back")


def nothing_leaves(tx: Tx, chain: str) -> str | None:
    """Why even committed bytes are kept back: after a restore, until the chain was compared; None otherwise."""
    return reason(tx, chain, ("restored",))


def stop(tx: Tx, chain: str, cause: str, why: str, actor: str) -> bool:
    """Halt; False when this cause halts it already (the first reason stays). Audited."""
    _check_names(tx, chain, cause)
    h = halt.c
    if tx.value(select(h.reason).where(h.chain == chain, h.cause == cause)) is not None:
        return False
    tx.execute(insert(halt).values(chain=chain, cause=cause, reason=why[:512], actor=actor, at=tx.now))
    audit.record(tx, actor, "halt", f"{chain}/{cause}", {"reason": why[:512]})
    return True


def lift(tx: Tx, chain: str, cause: str, actor: str, reason: str = "") -> bool:
    """Take one cause away; False when there was none. Audited."""
    _check_names(tx, chain, cause)
    lifted = tx.execute(delete(halt).where(halt.c.chain == chain, halt.c.cause == cause)).rowcount == 1
    if lifted:
        audit.record(tx, actor, "lift_halt", f"{chain}/{cause}", {"reason": reason[:512]})
    return lifted


def _check_names(tx: Tx, chain: str, cause: str) -> None:
    if cause not in CAUSES:
        raise InvalidInput("/cause", f"must be one of {', '.join(CAUSES)}")
    if tx.value(select(chain_table.c.name).where(chain_table.c.name == chain)) is None:
        raise InvalidInput("/chain", f"{chain} is not a chain of this installation")
