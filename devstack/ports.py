"""Free loopback ports, fixed for the life of a daemon so that a restart comes back at the same address."""

from __future__ import annotations

import secrets
import socket

#: Below the range that the kernel takes ports for outgoing connections from: none is lost between a stop and a start.
_RANGE = range(12_000, 32_000)
_TRIES_MAX = 200
_given: set[int] = set()


def free_port() -> int:
    """A port on 127.0.0.1 that nothing listens on and this process has not given out before.

    The choice is random over 20,000 ports, so stacks that start at the same moment do not meet.
    """
    for _ in range(_TRIES_MAX):
        port = _RANGE.start + secrets.randbelow(len(_RANGE))
        if port not in _given and _is_free(port):
            _given.add(port)
            return port
    raise RuntimeError("no free port between 12000 and 32000 on 127.0.0.1")


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
