"""The shop's ear: a small web server that takes webhooks, checks each signature, and keeps what it was told.

It knows of Coffer only what a storefront knows: the secret of its endpoint, and https://www.standardwebhooks.com.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: A message that was signed longer ago, or in the future, may be a copy of an old one.
TOLERANCE_SECONDS = 300


class Receiver:
    """Listens on a free port of 127.0.0.1 until it is closed."""

    def __init__(self) -> None:
        self.secret = ""  #: `whsec_…`, as Coffer showed it once
        self.refuse = 0  #: this many messages are answered with 503 before any is taken
        self._lock = threading.Lock()
        self._taken: dict[str, dict[str, Any]] = {}
        self._refused: list[str] = []
        self._faults: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self._server.serve_forever, name="receiver", daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/coffer"

    @property
    def taken(self) -> list[dict[str, Any]]:
        """The messages in the order of their arrival, each once."""
        with self._lock:
            return list(self._taken.values())

    @property
    def refused(self) -> list[str]:
        """Ids of the messages that were answered with 503."""
        with self._lock:
            return list(self._refused)

    @property
    def faults(self) -> list[str]:
        """What was wrong with any message: it was not taken then."""
        with self._lock:
            return list(self._faults)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Receiver:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def hear(self, headers: Mapping[str, str], body: bytes) -> int:
        """The status that answers a message. A message that is known already is taken again, and kept once."""
        fault = what_is_wrong(self.secret, headers, body)
        with self._lock:
            if fault is not None:
                self._faults.append(fault)
                return 400
            message = headers["webhook-id"]
            if self.refuse > 0:
                self.refuse -= 1
                self._refused.append(message)
                return 503
            self._taken.setdefault(message, json.loads(body))
            return 204

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.send_response(receiver.hear({k.lower(): v for k, v in self.headers.items()}, body))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # as its base calls it
                """The demo tells what it heard by itself."""

        return Handler


def what_is_wrong(secret: str, headers: Mapping[str, str], body: bytes) -> str | None:
    """None when one of the message's signatures is by this secret, over its id, its time and every byte of its body."""
    try:
        message, moment = headers["webhook-id"], headers["webhook-timestamp"]
        offered = [part.split(",", 1) for part in headers["webhook-signature"].split()]
        age_seconds = abs(time.time() - int(moment))
    except (KeyError, ValueError) as missing:
        return f"not a signed message: {missing}"
    if age_seconds > TOLERANCE_SECONDS:
        return f"{message}: signed {age_seconds:.0f} s ago"
    key = base64.b64decode(secret.removeprefix("whsec_"))
    right = hmac.new(key, f"{message}.{moment}.".encode() + body, hashlib.sha256).digest()
    expected = base64.b64encode(right).decode()
    if not any(part[0] == "v1" and hmac.compare_digest(part[-1], expected) for part in offered):
        return f"{message}: no signature is right"
    return None
