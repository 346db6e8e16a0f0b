"""`coffer worker QUEUE`: one process for one queue. It sweeps its rows, and listens for what makes it quicker.

Threads: the sweeper (which alone is enough), a listener on Redis, for a chain one on its node's push messages, and for
webhooks a dispatcher with its crew in the place of the sweeper's deliveries.
The main thread only waits for a signal.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

import structlog
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from jobs import bootstrap
from jobs.runtime import Runtime
from jobs.services import Services
from jobs.sweeper import Sweeper
from jobs.webhooks.dispatch import Dispatcher
from jobs.webhooks.fanout import QUEUE
from ledger import founding
from ledger.errors import DatabaseUnavailable, WrongNetwork
from ledger.schema import task
from settings import Settings
from wallets import registry
from workers import adoption, entry, waker
from workers.stopping import GRACE_SECONDS, on_signals

log = structlog.get_logger("coffer.worker")

#: Pushes that come in a crowd (every transaction of the network is one) are answered by one scan in this time.
PUSH_GAP_SECONDS = 0.25
DATABASE_WAIT_SECONDS = 2.0


def run(settings: Settings, queue: str) -> int:
    """Work until a signal; the exit code. 0 after a clean stop, 1 when the node is on another network."""
    stop = on_signals()
    services = _services(settings, queue, stop)
    if services is None:
        return 0
    runtime = bootstrap.runtime(services)
    try:
        if queue in founding.CHAINS and not _open(services, runtime, queue, stop):
            return 0
    except WrongNetwork as error:
        log.error("wrong network: this worker ends", queue=queue, detail=error.detail)
        return 1
    log.info("worker started", queue=queue, redis=settings.redis_url is not None)
    threads = _start(settings, services, runtime, queue, stop)
    stop.wait()
    finished = _join(threads)
    log.info("worker stopped", queue=queue, clean=finished)
    return 0


def _services(settings: Settings, queue: str, stop: threading.Event) -> Services | None:
    """The parts, once the database answers; None when asked to stop before."""
    while not stop.is_set():
        try:
            return bootstrap.worker_services(settings, queue)
        except (DBAPIError, DatabaseUnavailable) as error:
            log.warning("the database cannot be reached yet", error=type(error).__name__)
            stop.wait(DATABASE_WAIT_SECONDS)
    return None


def _open(services: Services, runtime: Runtime, chain: str, stop: threading.Event) -> bool:
    """The chain's wallet, bound to the database, with what live payments own locked in the node again."""
    if not adoption.adopt(services, chain, stop):
        return False
    relock = task_id(services, f"relock:{chain}")
    if relock is not None:
        runtime.advance("task", relock, woken=True)
    return True


def _start(
    settings: Settings, services: Services, runtime: Runtime, queue: str, stop: threading.Event
) -> Sequence[threading.Thread]:
    targets: dict[str, Callable[[], None]] = {}
    if queue == QUEUE:
        dispatcher = Dispatcher(runtime)
        entry.serve(runtime, queue, {"delivery": dispatcher.poke})
        sweeper = Sweeper(runtime, queue, without=("delivery",))
        targets["dispatcher"] = lambda: dispatcher.run(stop)
    else:
        entry.serve(runtime, queue)
        sweeper = Sweeper(runtime, queue)
    targets["sweeper"] = lambda: sweeper.run(stop)
    if settings.redis_url is not None:
        url = settings.redis_url.get_secret_value()
        targets["redis"] = lambda: waker.listen(url, queue, stop)
    push = _push(settings, services, runtime, queue, stop)
    if push is not None:
        targets["push"] = push
    # Daemons: a step that hangs in a node call must not keep the process from ending.
    threads = [
        threading.Thread(target=_guarded(name, target, stop), name=name, daemon=True)
        for name, target in targets.items()
    ]
    for thread in threads:
        thread.start()
    return threads


def _guarded(name: str, target: Callable[[], None], stop: threading.Event) -> Callable[[], None]:
    """Run `target` again when it ends by an error: a worker without one of its threads would look alive."""

    def run() -> None:
        while not stop.is_set():
            try:
                target()
                return
            except Exception:  # the thread's edge
                log.exception("thread failed; it starts again", thread=name)
                stop.wait(1.0)

    return run


def _push(
    settings: Settings, services: Services, runtime: Runtime, queue: str, stop: threading.Event
) -> Callable[[], None] | None:
    """What listens to the node of this queue's chain, if it can tell of new blocks by itself."""
    listen = registry.listener(queue, settings)
    scan = task_id(services, f"scan:{queue}")
    if listen is None or scan is None:
        return None

    def wake() -> None:
        runtime.advance("task", scan, woken=True)
        stop.wait(PUSH_GAP_SECONDS)

    return lambda: listen(wake, stop)


def _join(threads: Sequence[threading.Thread]) -> bool:
    """Wait for the steps under way, but not for ever; whether all ended."""
    until = time.monotonic() + GRACE_SECONDS
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    return not any(thread.is_alive() for thread in threads)


def task_id(services: Services, name: str) -> int | None:
    """The row of a periodic task."""
    found = services.database.read(lambda tx: tx.value(select(task.c.id).where(task.c.name == name)))
    return None if found is None else int(found)
