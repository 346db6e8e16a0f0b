"""Python runs this at the start of every process that has this folder on its path: its machine's clock is then what the
file COFFER_TEST_CLOCK says, in seconds ahead of the real one. Tests put another number there while the process runs.

`time.monotonic` is left alone, as a step of a real clock leaves it.
"""

import os
import time

_PATH = os.environ.get("COFFER_TEST_CLOCK")
#: What the file said, and until which monotonic moment that is believed.
_known = (0.0, 0)


def _ahead_ns() -> int:
    global _known
    until, ahead = _known
    now = time.monotonic()
    if now > until:
        try:
            with open(str(_PATH), encoding="ascii") as file:
                ahead = int(float(file.read()) * 1e9)
        except (OSError, ValueError):
            ahead = 0
        _known = (now + 0.1, ahead)
    return ahead


if _PATH is not None:
    _time_ns = time.time_ns
    time.time_ns = lambda: _time_ns() + _ahead_ns()
    time.time = lambda: time.time_ns() / 1e9
