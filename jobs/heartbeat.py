"""Keeps the leases of steps that are still running, so that a slow node call does not look like a dead worker."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from sqlalchemy import Table, update

from jobs import leases
from jobs.saga import SECOND
from ledger.db import Database, Tx
from ledger.errors import DatabaseError

log = structlog.get_logger("coffer.heartbeat")

_Lease = tuple[Table, int, str, str | None]


class Heartbeat:
    """One thread a process, while there are leases to keep; it extends each of them three times a term."""

    def __init__(self, database: Database, lease_seconds: int) -> None:
        self._database = database
        self._seconds = lease_seconds
        self._kept: set[_Lease] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @contextmanager
    def keep(self, table: Table, row_id: int, token: str, wallet_lease: str | None) -> Iterator[None]:
        """Extend this row's lease, and the wallet's, while the block runs."""
        entry: _Lease = (table, row_id, token, wallet_lease)
        with self._lock:
            self._kept.add(entry)
            if self._thread is None:
                self._thread = threading.Thread(target=self._beat, name="lease-heartbeat", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                self._kept.discard(entry)

    def _beat(self) -> None:
        pause = threading.Event()
        while not pause.wait(self._seconds / 3):
            with self._lock:
                kept = list(self._kept)
                if not kept:
                    self._thread = None  # the next one to be kept starts another
                    return
            for entry in kept:
                try:
                    self._database.run(lambda tx, e=entry: self._extend(tx, e), "heartbeat")  # type: ignore[misc]
                except DatabaseError as error:
                    log.warning("a lease could not be extended", detail=error.detail)
                except Exception:  # the thread's edge: nothing would start it again
                    log.exception("a lease could not be extended")

    def _extend(self, tx: Tx, entry: _Lease) -> None:
        table, row_id, token, wallet_lease = entry
        ours = (table.c.id == row_id) & (table.c.lease_token == token) & (table.c.lease_until > 0)
        tx.execute(update(table).where(ours).values(lease_until=tx.now + self._seconds * SECOND))
        if wallet_lease is not None:
            leases.extend(tx, wallet_lease, token, self._seconds)
