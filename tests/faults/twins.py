"""One life that dies at every place it passes, and goes on: a real process ends at each, a copy of it lives on.

At a crashpoint the process forks. The one that has come so far, whose transaction is open and whose locks are its own,
ends there by `os._exit(137)`; what it left on disk is copied; then its twin, which has all its memory, goes on to the
next place. So all wrecks of a life cost one life. The twin holds no file locks, and needs none: it is alone.
"""

from __future__ import annotations

import ctypes
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from ledger import crashpoint
from tests.faults import moments
from tests.faults.world import World

#: What `os._exit(137)` looks like from outside; the same as SIGKILL to a shell.
KILLED = 137
_PR_SET_CHILD_SUBREAPER = 36


class Twins:
    """Made by the parent before it forks the first of them; each twin inherits both pipes."""

    def __init__(self) -> None:
        self._said, self._tell = os.pipe()
        self._wait, self._go = os.pipe()

    def arm(self, case: Path, log: str | None, seconds: int) -> None:
        """In the child: be replaced by a twin at each place from here on. None may hang for longer than `seconds`."""
        passed: Counter[str] = Counter()

        def die(name: str) -> None:
            passed[name] += 1
            if log is not None:
                with Path(log).open("a") as file:
                    file.write(f"{name}\n")
            died = moments.note_death(case)
            twin = os.fork()
            if twin:
                os.write(self._tell, f"{name}#{passed[name]} {twin}\n".encode())
                os._exit(KILLED)
            signal.alarm(seconds)
            os.read(self._wait, 1)
            moments.slept_since(died)

        crashpoint.listen(die)

    def follow(self, first: int, wreck: Callable[[str], None]) -> int:
        """In the parent: `wreck(point)` after each death, while the twin waits; how the last one ended."""
        alive = first
        try:
            while True:
                _, status = os.waitpid(alive, 0)
                code = os.waitstatus_to_exitcode(status)
                if code != KILLED:
                    return code
                point, _, twin = os.read(self._said, 1024).decode().strip().partition(" ")
                alive = int(twin)
                wreck(point)
                os.write(self._go, b"\n")
        finally:
            for pipe in (self._said, self._tell, self._wait, self._go):
                os.close(pipe)


def adopt_orphans() -> None:
    """Twins of a dead process become children of this one, which can then wait for them (Linux, prctl(2))."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def without_threads(world: World) -> None:
    """A thread would not live on in the twin: leases last longer than the steps of a flow."""
    world.runtime.heartbeat._thread = threading.Thread()
