"""Starts again what has ended, quickly the first time and ever more slowly while it keeps ending."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from devstack.process import Daemon

_DELAY_MIN_SECONDS = 0.5
_DELAY_MAX_SECONDS = 15.0
#: One that ran this long is healthy again, and its next end is a first one.
_HEALTHY_SECONDS = 60.0


class Reviver:
    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._delay: dict[str, float] = {}
        self._started: dict[str, float] = {}
        self._ended: dict[str, float] = {}

    def look(self, daemons: Mapping[str, Daemon]) -> list[str]:
        """One look at all; returns a line for each that ended since the last look or is started again now."""
        now = self._clock()
        lines = []
        for name, daemon in daemons.items():
            if daemon.alive:
                continue
            if name not in self._ended:
                self._ended[name] = now
                self._delay[name] = self._next_delay(name, now)
                lines.append(f"{name} ended with {daemon.exit_code}; see {daemon.log}")
            if now >= self._ended[name] + self._delay[name]:
                daemon.start()
                del self._ended[name]
                self._started[name] = now
                lines.append(f"{name} is started again")
        return lines

    def _next_delay(self, name: str, now: float) -> float:
        ran_seconds = now - self._started.get(name, -_HEALTHY_SECONDS)
        if ran_seconds >= _HEALTHY_SECONDS:
            return _DELAY_MIN_SECONDS
        return min(2 * self._delay.get(name, _DELAY_MIN_SECONDS), _DELAY_MAX_SECONDS)
