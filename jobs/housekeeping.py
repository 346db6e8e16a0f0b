"""The small periodic tasks: numbering events, snapshots, nightly checks, clearing away what has expired."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, delete, select

from jobs import alarms, tasks
from jobs.payment import resources
from jobs.services import Services
from jobs.swap import prune as quotes_prune
from jobs.tasks import Ran
from jobs.webhooks import prune as attempts_prune
from ledger import audit, balances, history, pauses
from ledger.db import Tx
from ledger.schema import asset, idempotency, request_nonce

#: How long a stored answer is repeated. `reference` stays unique for ever.
IDEMPOTENCY_KEEP_US = 30 * 86_400 * 1_000_000


def sequence(row: Row[Any], services: Services) -> Ran:
    """Number committed events; the task's own lease makes it the only one."""

    def number(tx: Tx, own: Row[Any]) -> None:
        numbered = history.number_events(tx)
        if numbered:
            tasks.wake(tx, "fanout")
        if numbered == history.SEQUENCE_BATCH:
            tx.wake("task", own.id)

    return Ran(effect=number)


def snapshot(row: Row[Any], services: Services) -> Ran:
    """Sum the house's accounts up to now, so that reading them stays quick."""

    def take(tx: Tx, _: Row[Any]) -> None:
        balances.take_snapshots(tx)

    return Ran(effect=take)


def check_books(row: Row[Any], services: Services) -> Ran:
    """Recompute every balance and walk the audit chain; any fault pauses withdrawals of everything, at once."""
    faults = services.database.read(lambda tx: balances.faults(tx) + audit.faults(tx), consistent=True)
    return Ran(effect=lambda tx, _: _judge(tx, faults), reason="books_broken" if faults else None)


def _judge(tx: Tx, faults: list[str]) -> None:
    if not faults:
        alarms.clear(tx, "books")
        return
    detail = "; ".join(faults)[:512]
    alarms.raise_(tx, "books_broken", "books", detail)
    for code in [found.code for found in tx.all(select(asset.c.code))]:
        pauses.stop(tx, code, "withdrawals", f"the books do not add up: {detail}"[:255], "engine")


def tidy(row: Row[Any], services: Services) -> Ran:
    """Forget stored answers, request nonces, quotes that nobody took and webhook attempts that are past their time."""

    def clear(tx: Tx, own: Row[Any]) -> None:
        tx.execute(delete(idempotency).where(idempotency.c.created_at < tx.now - IDEMPOTENCY_KEEP_US))
        tx.execute(delete(request_nonce).where(request_nonce.c.expires_at < tx.now))
        if any([quotes_prune.prune(tx), attempts_prune.prune(tx)]):
            tx.wake("task", own.id)

    return Ran(effect=clear)


def relock(row: Row[Any], services: Services) -> Ran:
    """Have the node leave alone what live payments own; its memory may have been lost with a restart."""
    chain = row.name.partition(":")[2]
    live = services.database.read(lambda tx: resources.live(tx, chain))
    services.wallet(chain).hold(live)
    return Ran()
