"""Pauses: an asset, or all of them (`*`), stopped for one flow until an operator resumes it."""

from __future__ import annotations

from sqlalchemy import delete, insert, select

from ledger import audit
from ledger.db import Tx
from ledger.errors import AssetPaused, InvalidInput
from ledger.schema import asset as asset_table
from ledger.schema import pause

FLOWS = ("deposits", "withdrawals", "transfers", "sweeps", "escrows", "swaps")
EVERYTHING = "*"


def reason(tx: Tx, asset: str, flow: str) -> str | None:
    """Why this flow of this asset stands still, or None."""
    c = pause.c
    found = tx.value(select(c.reason).where(c.asset.in_((asset, EVERYTHING)), c.flow.in_((flow, EVERYTHING))).limit(1))
    return None if found is None else str(found)


def check(tx: Tx, asset: str, flow: str) -> None:
    """Raises `AssetPaused` with the reason."""
    why = reason(tx, asset, flow)
    if why is not None:
        raise AssetPaused(f"{flow} of {asset} are paused: {why}")


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
