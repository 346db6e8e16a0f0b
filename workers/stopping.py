"""A clean stop on SIGTERM and SIGINT: the first signal asks, the second ends the process on the spot."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType

#: How long a step that is under way may take to finish after the first signal.
GRACE_SECONDS = 10.0


def on_signals() -> threading.Event:
    """An event that the first SIGTERM or SIGINT sets. Call it in the main thread.

    The second ends the process with status 128 + the signal's number. That is safe anywhere: a row that a worker held
    is taken up again when its lease runs out.
    """
    stop = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            os._exit(128 + number)
        stop.set()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)
    return stop
