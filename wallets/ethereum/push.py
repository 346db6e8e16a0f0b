"""New blocks as they come, over a node's WebSocket (`eth_subscribe`, `newHeads`).

Only a wake-up: messages can be lost, repeated or forged, so that whoever is woken asks the node what is true, and
polls all the same.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from threading import Event

_log = logging.getLogger(__name__)

_SUBSCRIBE = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["newHeads"]})
#: How often `stop` is looked at.
_POLL_SECONDS = 0.25
_AGAIN_SECONDS = 5.0
#: A head is about two kilobytes.
_MESSAGE_MAX = 1 << 20


def listen(url: str, on_wake: Callable[[], None], stop: Event) -> None:
    """Call `on_wake` for each new head until `stop` is set; a lost connection is made again. Runs in a thread of its
    own; an error of `on_wake` ends it. Returns at once without the `websockets` package: polling does the work then."""
    try:
        from websockets.exceptions import WebSocketException
    except ImportError:
        _log.warning("websockets is not installed: new blocks are noticed by polling only")
        return
    told = ""
    while not stop.is_set():
        try:
            _follow(url, on_wake, stop)
        except (OSError, TimeoutError, ValueError, WebSocketException) as error:
            reason = type(error).__name__
            if reason != told:  # once, not every five seconds
                _log.warning("no push from the node (%s): new blocks are noticed by polling", reason)
            told = reason
        stop.wait(_AGAIN_SECONDS)


def _follow(url: str, on_wake: Callable[[], None], stop: Event) -> None:
    """One connection, for as long as it stands. Raises `ValueError` when the node offers no subscriptions."""
    from websockets.sync.client import connect

    with connect(url, max_size=_MESSAGE_MAX, open_timeout=10, close_timeout=1) as socket:
        socket.send(_SUBSCRIBE)
        if "error" in json.loads(socket.recv(timeout=10)):
            raise ValueError("the node refuses to tell of new heads")
        on_wake()  # blocks may have come before this connection stood
        while not stop.is_set():
            try:
                socket.recv(timeout=_POLL_SECONDS)
            except TimeoutError:
                continue
            on_wake()
