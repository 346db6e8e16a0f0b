"""Pauses: an asset, or all of them (`*`), stopped for one flow until an operator resumes it.

What needs a signature stands still as well while its asset's chain is halted (`ledger.halts`).
"""

from __future__ import annotations

from sqlalchemy import bindparam, delete, insert, or_, select

from ledger import audit, halts
from ledger.db import Tx
from ledger.errors import AssetPaused, InvalidInput
from ledger.schema import asset as asset_table
from ledger.schema import pause

FLOWS = ("deposits", "withdrawals", "transfers", "sweeps", "escrows", "swaps")
EVERYTHING = "*"
#: Flows that end in a signature.
SIGNED = ("withdrawals", "sweeps")

_OWN_REASON = (
    select(pause.c.reason)
    .where(
        or_(pause.c.asset == bindparam("asset"), pause.c.asset == EVERYTHING),
        or_(pause.c.flow == bindparam("flow"), pause.c.flow == EVERYTHING),
    )
    .limit(1)
)
_CHAIN_OF = select(asset_table.c.chain).where(asset_table.c.code == bindparam("asset"))


def reason(tx: Tx, asset: str, flow: str) -> str | None:
    """Why this flow of this asset stands still, or None. A pause is told before a halt."""
    why = own_reason(tx, asset, flow)
    if why is not None or flow not in SIGNED:
        return why
    chain = tx.value(_CHAIN_OF, {"asset": asset})
    halted = None if chain is None else halts.reason(tx, chain)
    return None if halted is None else f"nothing is signed on {chain}: {halted}"


def own_reason(tx: Tx, asset: str, flow: str) -> str | None:
    """As `reason`, pauses alone."""
    found = tx.value(_OWN_REASON, {"asset": asset, "flow": flow})
    return None if found is None else str(found)


def check(tx: Tx, asset: str, flow: str) -> None:
    """Raises `AssetPaused` with the reason."""
    why = own_reason(tx, asset, flow)
    if why is not None:
        raise AssetPaused(f"{flow} of {asset} are paused: {why}")
    if reason(tx, asset, flow) is not None:  # what exactly was found is for operators
        raise AssetPaused(f"{flow} of {asset} are paused: nothing is signed on its chain until an operator has looked")


def stop(tx: Tx, asset: str, flow: str, why: str, actor: str) -> bool:
    """Pause; False when it was paused already (the first reason stays). Audited."""
    _check_names(tx, asset, flow)
    c = pause.c
    if tx.value(select(c.reason).where(c.asset == asset, c.flow == flow)) is not None:
        return False
    tx.execute(insert(pause).values(asset=asset, flow=flow, reason=why, actor=actor, at=tx.now))
    audit.record(tx, actor, "pause", f"{asset}/{flow}", {"reason": why})
    return True


def resume(tx: Tx, asset: str, flow: str, actor: str) -> bool:
    """Lift one pause; False when there was none. Audited."""
    _check_names(tx, asset, flow)
    lifted = tx.execute(delete(pause).where(pause.c.asset == asset, pause.c.flow == flow)).rowcount == 1
    if lifted:
        audit.record(tx, actor, "resume", f"{asset}/{flow}", {})
    return lifted


def _check_names(tx: Tx, asset: str, flow: str) -> None:
    if flow not in (*FLOWS, EVERYTHING):
        raise InvalidInput("/flow", f"must be one of {', '.join(FLOWS)} or {EVERYTHING}")
    known = asset == EVERYTHING or tx.value(select(asset_table.c.code).where(asset_table.c.code == asset)) is not None
    if not known:
        raise InvalidInput("/asset", f"{asset} is not an asset of this installation")
