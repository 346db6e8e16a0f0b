"""Opening a chain's wallet at the start of its worker: waited for while the node is down, visibly."""

from __future__ import annotations

import threading

import structlog
from sqlalchemy import select, update

from jobs import alarms, bootstrap
from jobs.saga import SECOND
from jobs.services import Services
from ledger.db import Tx
from ledger.errors import CofferError, DatabaseError, WrongNetwork
from ledger.schema import chain

log = structlog.get_logger("coffer.adoption")

WAITS_SECONDS = (1.0, 2.0, 4.0, 5.0)
#: While another worker has read the chain this recently, our own trouble is not the chain's.
FRESH_US = 20 * SECOND


def adopt(services: Services, name: str, stop: threading.Event) -> bool:
    """Open the wallet and bind it to the database; False when asked to stop before that worked.

    Raises `WrongNetwork`: such a node must never be worked with.
    """
    try:
        return _adopt(services, name, stop)
    except WrongNetwork as error:
        _show(services, name, error.code, error.detail)
        raise


def _adopt(services: Services, name: str, stop: threading.Event) -> bool:
    wallet = services.wallet(name)
    tries = 0
    while not stop.is_set():
        try:
            identity = bootstrap.adopt(services, wallet)
        except WrongNetwork:
            raise
        except DatabaseError as error:
            log.warning("database", detail=error.detail)
        except CofferError as error:
            health = wallet.health()
            reason, detail = (error.code, error.detail) if health.ok else (health.reason, health.detail)
            log.warning("the node cannot be used yet", chain=name, reason=reason, detail=detail)
            _show(services, name, reason, detail)
        else:
            log.info("wallet opened", chain=name, genesis=identity.genesis_hash)
            return True
        stop.wait(WAITS_SECONDS[min(tries, len(WAITS_SECONDS) - 1)])
        tries += 1
    return False


def _show(services: Services, name: str, reason: str, detail: str) -> None:
    def unit(tx: Tx) -> None:
        known = tx.one(select(chain.c.health_at, chain.c.health_reason).where(chain.c.name == name))
        fresh = known.health_at is not None and known.health_at > tx.now - FRESH_US
        if fresh and known.health_reason is None:
            return
        values = {"health_reason": reason, "health_detail": detail[:512], "health_at": tx.now}
        tx.execute(update(chain).where(chain.c.name == name).values(values))
        alarms.raise_(tx, "node_not_ready", f"chain:{name}", f"{reason}: {detail}")

    try:
        services.database.run(unit, "adoption.show")
    except DatabaseError as error:
        log.warning("database", detail=error.detail)
