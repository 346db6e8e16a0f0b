"""Named places where a test may end the process, as a power cut would.

Off, a crashpoint is one test of a global against None. It is armed by the environment only, at import:
`COFFER_CRASHPOINT=name` or `name#3` (the third time it is reached) ends the process with status 137 and no
clean-up; `COFFER_CRASHPOINT_LOG=path` appends each name that is passed, so that a harness can list them all.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable

_armed: Callable[[str], None] | None = None


def crashpoint(name: str) -> None:
    """End the process here if a test asked for it; otherwise do nothing."""
    if _armed is not None:
        _armed(name)


def arm(target: str | None, log_path: str | None = None) -> None:
    """Arm (or with two Nones disarm) this process. `target` is `name` or `name#n`, n counted from 1."""
    global _armed
    if target is None and log_path is None:
        _armed = None
        return
    wanted, _, nth = (target or "").partition("#")
    passed: Counter[str] = Counter()

    def on_point(name: str) -> None:
        passed[name] += 1
        if log_path is not None:
            with open(log_path, "a", encoding="ascii") as log:
                log.write(name + "\n")
        if name == wanted and passed[name] == int(nth or 1):
            os._exit(137)

    _armed = on_point


def listen(hear: Callable[[str], None] | None) -> None:
    """Have `hear` called at each place instead, or with None nobody: it may raise, which is an end without clean-up of
    what the step was about to write."""
    global _armed
    _armed = hear


arm(os.environ.get("COFFER_CRASHPOINT"), os.environ.get("COFFER_CRASHPOINT_LOG"))
