"""Differences that an operator lets stand: an asset goes on despite them, and stops again when they change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import delete, insert, select

from jobs.explain import amount
from ledger import audit
from ledger.db import Tx
from ledger.errors import StateConflict
from ledger.pauses import EVERYTHING, SIGNED
from ledger.schema import asset as asset_table
from ledger.schema import difference, task


def check(tx: Tx, asset: str, flow: str) -> None:
    """Raises `StateConflict` while the latest look at books and chain shows a difference for which this flow of this
    asset (either may be `*`) was paused."""
    for code, units, places in standing(tx, asset, flow):
        where = f", and less than the books say on {len(places)} indices" if places else ""
        raise StateConflict(
            f"the latest reconciliation shows {amount(tx, units, code)} unexplained{where}; books and chain are "
            f"compared again every half a minute. `coffer reconcile {code}` shows both sides; --despite-difference "
            "REASON lets it go on all the same"
        )


def standing(tx: Tx, asset: str, flow: str) -> list[tuple[str, int, dict[str, str]]]:
    """(asset, units unexplained, units missing by index) of each asset with a difference now that nobody accepted."""
    if flow not in (*SIGNED, EVERYTHING):
        return []
    query = select(asset_table.c.code, asset_table.c.chain).order_by(asset_table.c.code)
    rows = tx.all(query if asset == EVERYTHING else query.where(asset_table.c.code == asset))
    found = [(row.code, *_now(tx, row.code, row.chain)) for row in rows]
    return [
        (code, units, places)
        for code, units, places in found
        if (units and accepted(tx, code) != units) or not covered(tx, code, places)
    ]


def accept(tx: Tx, asset: str, flow: str, reason: str, actor: str) -> None:
    """Let the differences of now stand; audited with what they are."""
    for code, units, places in standing(tx, asset, flow):
        tx.execute(delete(difference).where(difference.c.asset == code))
        values = {"asset": code, "units": units, "places": places, "reason": reason[:512], "actor": actor}
        tx.execute(insert(difference).values(values | {"at": tx.now}))
        told = {"unexplained_units": str(units), "missing": places, "reason": reason[:512]}
        audit.record(tx, actor, "accept_difference", code, told)


def accepted(tx: Tx, code: str) -> int:
    """The units unexplained that an operator lets stand; 0 for none."""
    return int(tx.value(select(difference.c.units).where(difference.c.asset == code)) or 0)


def covered(tx: Tx, code: str, places: Mapping[str, str]) -> bool:
    """Whether what is missing on indices was accepted, place by place and to the atom."""
    known: Mapping[str, Any] = tx.value(select(difference.c.places).where(difference.c.asset == code)) or {}
    return all(known.get(place) == units for place, units in places.items())


def over(tx: Tx, code: str) -> None:
    """Nothing is unexplained any more, nor missing anywhere: the next difference is a new one."""
    if tx.value(select(difference.c.asset).where(difference.c.asset == code)) is None:
        return
    chain = tx.value(select(asset_table.c.chain).where(asset_table.c.code == code))
    if not _short(tx, code, str(chain)):
        tx.execute(delete(difference).where(difference.c.asset == code))


def _now(tx: Tx, code: str, chain: str) -> tuple[int, dict[str, str]]:
    reports: Mapping[str, Any] = tx.value(select(task.c.progress).where(task.c.name == f"reconcile:{chain}")) or {}
    return int(reports.get(code, {}).get("unexplained_units", 0)), _short(tx, code, chain)


def _short(tx: Tx, code: str, chain: str) -> dict[str, str]:
    """Index -> units missing (negative, as text), by the latest balance sync."""
    progress: Mapping[str, Any] = tx.value(select(task.c.progress).where(task.c.name == f"sync:{chain}")) or {}
    found: Mapping[str, str] = progress.get("shortfalls", {})
    return {key.rpartition(":")[2]: units for key, units in found.items() if key.rpartition(":")[0] == code}
