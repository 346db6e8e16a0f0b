"""The daily task `heads`: verifies every ownership history, also against the day before, and exports what each one
ended with to a place outside the database."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import Row, select

from jobs import alarms
from jobs.ownership import export as ownership_export
from jobs.ownership import verify as ownership_verify
from jobs.services import Services
from jobs.tasks import Ran
from ledger.db import Tx
from ledger.errors import CofferError, InvalidInput
from ledger.schema import installation

log = structlog.get_logger("coffer.heads")

HOUR_US = 3_600 * 1_000_000


def task_step(row: Row[Any], services: Services) -> Ran:
    """Task step for `heads`. Nothing is exported while a history is broken: the last file stays what all are compared
    with. A file that cannot be written is an alarm, and tried again in an hour."""
    faults, trouble = list(ownership_verify.verify(services.database).faults), None
    try:
        if services.export_dir is not None:
            faults += _against_the_last(services, services.export_dir)
            if not faults:
                export(services, services.export_dir)
    except (OSError, CofferError) as error:
        trouble = error.detail if isinstance(error, CofferError) else f"{services.export_dir}: {error.strerror}"
    reason = "history_broken" if faults else "heads_not_exported" if trouble else None
    return Ran(effect=partial(_judge, faults, trouble), reason=reason, due_us=None if trouble is None else HOUR_US)


def export(services: Services, folder: Path) -> Path:
    """Write today's file into the folder. Raises `OSError`, and `CofferError` without COFFER_ROW_MAC_KEY."""
    here, now = services.database.read(lambda tx: (tx.value(select(installation.c.public_id)), tx.now))
    target = folder / f"heads-{here}-{now}.txt"  # microseconds: sorted by name is sorted by time
    count = ownership_export.write(services.database, services.require_mac(), target)
    log.info("heads exported", file=target.name, histories=count)
    return target


def _against_the_last(services: Services, folder: Path) -> list[str]:
    here = services.database.read(lambda tx: tx.value(select(installation.c.public_id)))
    files = sorted(folder.glob(f"heads-{here}-*.txt"))
    if not files:
        return []
    try:
        return ownership_export.check(services.database, services.require_mac(), files[-1])
    except InvalidInput as error:
        return [error.detail]


def _judge(faults: Sequence[str], trouble: str | None, tx: Tx, _: Row[Any]) -> None:
    for name, detail in (("history_broken", "; ".join(faults)), ("heads_not_exported", trouble)):
        if detail:
            alarms.raise_(tx, name, "histories", detail[:512])
        else:
            alarms.clear(tx, "histories", name)
