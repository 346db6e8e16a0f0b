"""Several deliveries at once, so that a slow endpoint holds up nobody but itself.

The sweeper of other queues takes the longest due first; here the rows of one dead receiver could fill any number of
threads that way. So endpoints take turns, each has a few places at most, and those that fail or dawdle share one half
of the threads with a single place each: whatever they do, the other half is for receivers that answer.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import defaultdict
from collections.abc import Sequence

import structlog
from sqlalchemy import ColumnElement, select

from jobs.runtime import Runtime
from ledger.db import Tx
from ledger.errors import DatabaseError
from ledger.schema import webhook_delivery, webhook_endpoint

log = structlog.get_logger("coffer.webhooks")

THREADS = 16
PLACES = 4  #: deliveries under way of one endpoint
#: An endpoint that took so long for its last answer is slow, for a while.
SLOW_SECONDS = 2.0
SLOW_FOR_SECONDS = 60.0
POLL_SECONDS = 0.5

_D, _E = webhook_delivery.c, webhook_endpoint.c


class Dispatcher:
    """Advances due deliveries until told to stop. `poke` makes it look at once."""

    def __init__(self, runtime: Runtime, threads: int = THREADS) -> None:
        self._runtime = runtime
        self._threads = threads
        self._work: queue.SimpleQueue[tuple[int, int] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._under_way: dict[int, set[int]] = defaultdict(set)  # endpoint -> deliveries
        self._slow_until: dict[int, float] = {}
        self._slow: set[int] = set()  # endpoints that were judged slow at the last look
        self._last = 0  # the endpoint that was served last
        self._poked = threading.Event()

    def poke(self, _: int = 0) -> None:
        self._poked.set()

    def run(self, stop: threading.Event) -> None:
        """Dispatch until `stop` is set, then wait for what is under way."""
        crew = [threading.Thread(target=self._serve, name=f"delivery-{n}", daemon=True) for n in range(self._threads)]
        for thread in crew:
            thread.start()
        while not stop.is_set():
            self._poked.clear()
            try:
                begun = self.look()
            except DatabaseError as error:
                log.warning("database", detail=error.detail)
                begun = 0
            stop.wait(0.02)
            if not begun:
                self._poked.wait(POLL_SECONDS)
        for _ in crew:
            self._work.put(None)
        for thread in crew:
            thread.join()

    def look(self) -> int:
        """Hand out what is due and has a place; how many."""
        begun = 0
        for endpoint_id, failing in self._in_turn(self._runtime.database.read(_ready)):
            room = self._room(endpoint_id, failing=failing)
            if room <= 0:
                continue
            for delivery_id in self._due(endpoint_id, room):
                with self._lock:
                    self._under_way[endpoint_id].add(delivery_id)
                self._last = endpoint_id
                self._work.put((endpoint_id, delivery_id))
                begun += 1
        return begun

    def _in_turn(self, endpoints: Sequence[tuple[int, bool]]) -> list[tuple[int, bool]]:
        """Those after the one that was served last come first."""
        return sorted(endpoints, key=lambda found: (found[0] <= self._last, found[0]))

    def _room(self, endpoint_id: int, *, failing: bool) -> int:
        with self._lock:
            slow = failing or self._slow_until.get(endpoint_id, 0.0) > time.monotonic()
            (self._slow.add if slow else self._slow.discard)(endpoint_id)
            own = (1 if slow else PLACES) - len(self._under_way[endpoint_id])
            taken = sum(len(rows) for rows in self._under_way.values())
            by_slow = sum(len(rows) for one, rows in self._under_way.items() if one in self._slow)
            left = self._threads - taken
            return min(own, left, self._threads // 2 - by_slow) if slow else min(own, left)

    def _due(self, endpoint_id: int, room: int) -> list[int]:
        with self._lock:
            busy = set(self._under_way[endpoint_id])
        found = self._runtime.database.read(lambda tx: _due_of(tx, endpoint_id, room + len(busy)))
        return [delivery_id for delivery_id in found if delivery_id not in busy][:room]

    def _serve(self) -> None:
        while (given := self._work.get()) is not None:
            endpoint_id, delivery_id = given
            begun = time.monotonic()
            try:
                self._runtime.advance("delivery", delivery_id)
            except Exception:  # the thread's edge: its place must be free again
                log.exception("delivery broke off", row=delivery_id)
            with self._lock:
                self._under_way[endpoint_id].discard(delivery_id)
                if not self._under_way[endpoint_id]:
                    del self._under_way[endpoint_id]
                if time.monotonic() - begun > SLOW_SECONDS:
                    self._slow_until[endpoint_id] = time.monotonic() + SLOW_FOR_SECONDS
            self._poked.set()


def _ready(tx: Tx) -> Sequence[tuple[int, bool]]:
    """(endpoint id, whether it is failing) of those that have something due."""
    due = select(_D.id).where(_D.endpoint_id == _E.id, *_may_run(tx)).exists()
    return [(int(row.id), row.failing_since is not None) for row in tx.all(select(_E.id, _E.failing_since).where(due))]


def _due_of(tx: Tx, endpoint_id: int, limit: int) -> list[int]:
    query = select(_D.id).where(_D.endpoint_id == endpoint_id, *_may_run(tx)).order_by(_D.due_at, _D.id)
    return [int(row.id) for row in tx.all(query.limit(limit))]


def _may_run(tx: Tx) -> tuple[ColumnElement[bool], ...]:
    """A row in a state of another version is left alone."""
    return (_D.state == "pending", _D.due_at <= tx.now, _D.lease_until <= tx.now)
