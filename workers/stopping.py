"""A clean stop on SIGTERM and SIGINT: the first signal asks, the second ends the process on the spot."""

from __future__ import annotations

import os
import signal
import threading

#: How long a step that is under way may take to finish after the first signal.
GRACE_SECONDS = 10.0

_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT})


def on_signals() -> threading.Event:
    """An event that the first SIGTERM or SIGINT sets. Call it in the main thread, before there are others.

    The second ends the process with status 128 + the signal's number. That is safe anywhere: a row that a worker held
    is taken up again when its lease runs out.
    """
    stop = threading.Event()
    # A thread waits for them. A handler would run in the middle of whatever the main thread does, `Event.set` and
    # `Event.wait` included, which then wait for each other for ever.
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    threading.Thread(target=_wait, args=(stop,), name="signals", daemon=True).start()
    return stop


def _wait(stop: threading.Event) -> None:
    signal.sigwait(_SIGNALS)
    stop.set()
    os._exit(128 + signal.sigwait(_SIGNALS))
