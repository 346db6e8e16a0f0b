"""The guarantee behind the wake-ups: look for due rows of one queue in the database, and advance them.

Every worker runs one for its own queue. With Redis gone it is all there is, and it is enough.
"""

from __future__ import annotations

import threading
from collections.abc import Collection

import structlog

from jobs.runtime import Runtime, due_rows, next_due
from ledger.errors import DatabaseError

log = structlog.get_logger("coffer.sweeper")

#: Seconds between two looks when nothing is known to become due sooner.
POLL_SECONDS = 2.0
LOOK_MAX = 100


class Sweeper:
    """Polls one queue's due rows until told to stop."""

    def __init__(self, runtime: Runtime, queue: str, *, without: Collection[str] = ()) -> None:
        """`without`: kinds of rows that this process advances in another way."""
        self._runtime = runtime
        self._queue = queue
        self._sagas = {kind: saga for kind, saga in runtime.sagas.items() if kind not in without}

    def run(self, stop: threading.Event) -> None:
        """Sweep until `stop` is set; a database that is gone is waited for."""
        while not stop.is_set():
            try:
                done = self.sweep(stop)
                wait = 0.0 if done else self._pause()
            except DatabaseError as error:
                log.warning("database", detail=error.detail)
                wait = POLL_SECONDS
            stop.wait(max(wait, 0.02))

    def sweep(self, stop: threading.Event | None = None) -> int:
        """Advance every row that is due now; how many steps ran."""
        steps = 0
        for kind, saga in self._sagas.items():
            ids = self._runtime.database.read(lambda tx, s=saga: due_rows(tx, s, self._queue, LOOK_MAX))  # type: ignore[misc]
            for row_id in ids:
                if stop is not None and stop.is_set():
                    return steps
                steps += self._runtime.advance(kind, row_id)
        return steps

    def _pause(self) -> float:
        sagas = self._sagas.values()
        soon = self._runtime.database.read(lambda tx: min(next_due(tx, saga, self._queue) for saga in sagas))
        return min(POLL_SECONDS, soon)
