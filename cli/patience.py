"""Trying an operator's act again while a worker is busy with the row."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from jobs.resolve.by_hand import Busy

T = TypeVar("T")

TRIES = 40
WAIT_SECONDS = 0.25


def patiently(act: Callable[[], T]) -> T:
    """Run `act` until it does not meet a busy row, for about ten seconds. Raises what it raised last."""
    for _ in range(TRIES - 1):
        try:
            return act()
        except Busy:
            time.sleep(WAIT_SECONDS)
    return act()
