"""New blocks and transactions as they come, over Bitcoin Core's ZeroMQ publisher (doc/zmq.md).

Only a wake-up: messages can be lost, repeated or forged, so that whoever is woken asks the node what is true, and
polls all the same.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Event
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import zmq

_log = logging.getLogger(__name__)

#: How often `stop` is looked at.
_POLL_MILLISECONDS = 250
_TOPICS = (b"hashblock", b"rawtx")


def listen(url: str | None, on_wake: Callable[[], None], stop: Event) -> None:
    """Call `on_wake` after each burst of messages until `stop` is set; a lost connection comes back by itself.

    Returns at once without a URL or without pyzmq: polling does the work then. Runs in a thread of its own;
    an error of `on_wake` ends it.
    """
    if url is None:
        return
    try:
        import zmq
    except ImportError:
        _log.warning("pyzmq is not installed: new blocks are noticed by polling only")
        return
    context = zmq.Context()
    socket = context.socket(zmq.SUB)
    try:
        for topic in _TOPICS:
            socket.setsockopt(zmq.SUBSCRIBE, topic)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, 5_000)
        # A peer that vanished without a word (a cable, a firewall) is noticed within about half a minute.
        socket.setsockopt(zmq.HEARTBEAT_IVL, 10_000)
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 20_000)
        socket.connect(url)
        while not stop.is_set():
            if socket.poll(_POLL_MILLISECONDS):
                _drain(socket)
                on_wake()
    finally:
        socket.close(linger=0)
        context.term()


def _drain(socket: zmq.Socket[bytes]) -> None:
    """Take all that has arrived; a block brings thousands of messages and deserves one wake-up."""
    import zmq

    for _ in range(100_000):
        try:
            socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return
