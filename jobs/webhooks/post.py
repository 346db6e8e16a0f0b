"""One POST to a stranger: a single deadline over all of it, a checked address, and no more read than is looked at.

On sockets and not on an HTTP library: the connection goes to an address that was judged, under the name that was asked
for; a time-out here covers the whole exchange and not each read of it, so that an answer that drips in does not hold a
worker; and of an endless answer a few kilobytes are read. Redirects are an answer like any other: nobody follows them.
"""

from __future__ import annotations

import http.client
import io
import re
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from jobs.webhooks.urls import Forbidden, Guard, NoSuchName, Target

TIMEOUT_SECONDS = 15.0
CONNECT_SECONDS = 5.0
#: How long after its head we wait for the first of an answer's body, which is for people only.
BODY_SECONDS = 1.0
HEAD_MAX = 16_384
EXCERPT_MAX = 1_024
USER_AGENT = "Coffer-Webhooks/1"

_CHUNK = re.compile(rb"^[0-9A-Fa-f]{1,8}[^\r\n]*\r\n")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a POST. `status` None: no readable answer, and `error` says why."""

    status: int | None
    error: str | None
    excerpt: str | None
    milliseconds: int
    retry_after_seconds: int | None = None

    @property
    def good(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def reason(self) -> str:
        """In one word, for the delivery's row."""
        return self.error if self.status is None and self.error is not None else f"http_{self.status}"


class _Unreadable(Exception):
    """Not HTTP, or a head without an end."""


class Poster:
    """Posts to targets that its guard permits."""

    def __init__(
        self, guard: Guard, context: ssl.SSLContext | None = None, timeout_seconds: float = TIMEOUT_SECONDS
    ) -> None:
        self.guard = guard
        self._context = context or ssl.create_default_context()
        self._timeout = timeout_seconds

    def post(self, target: Target, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send, and read how the answer begins. Never raises for anything the other side does."""
        begun = time.monotonic()
        try:
            status, retry_after, excerpt = self._exchange(target, headers, body, begun + self._timeout)
            error = None
        except Exception as failure:  # noqa: BLE001  # whatever a stranger's server did is an entry in the log
            status, retry_after, excerpt, error = None, None, None, _word(failure)
        return Answer(status, error, excerpt, round((time.monotonic() - begun) * 1000), retry_after)

    def _exchange(
        self, target: Target, headers: Mapping[str, str], body: bytes, until: float
    ) -> tuple[int, int | None, str]:
        connection = self._connect(target, self.guard.addresses(target), until)
        with connection:
            connection.settimeout(_left(until))
            with suppress(BrokenPipeError, ConnectionResetError):  # it may have answered before it had read all
                connection.sendall(_request(target, headers, body))
            return _read(connection, until)

    def _connect(self, target: Target, addresses: Sequence[str], until: float) -> socket.socket:
        failure: OSError = OSError("no address")
        for address in addresses:
            try:
                raw = socket.create_connection((address, target.port), min(CONNECT_SECONDS, _left(until)))
                break
            except OSError as error:
                failure = error
        else:
            raise failure
        if target.scheme == "http":
            return raw
        raw.settimeout(_left(until))
        try:
            return self._context.wrap_socket(raw, server_hostname=target.host)
        except BaseException:  # also a signal: nobody else knows this socket
            raw.close()
            raise


def _request(target: Target, headers: Mapping[str, str], body: bytes) -> bytes:
    fixed = {
        "Host": target.authority,
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "User-Agent": USER_AGENT,
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        "Connection": "close",
    }
    lines = [f"POST {target.path} HTTP/1.1", *(f"{name}: {value}" for name, value in (fixed | dict(headers)).items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii") + body


def _read(connection: socket.socket, until: float) -> tuple[int, int | None, str]:
    """(status, seconds of Retry-After, how the body begins)."""
    buffer = b""
    while True:
        head, buffer = _head(connection, buffer, until)
        status, fields = _parse(head)
        if status >= 200 or status == 101:
            break
    body = _body(connection, buffer, fields, min(until, time.monotonic() + BODY_SECONDS))
    return status, _retry_after(fields.get("Retry-After")), _text(body)


def _head(connection: socket.socket, buffer: bytes, until: float) -> tuple[bytes, bytes]:
    while b"\r\n\r\n" not in buffer and b"\n\n" not in buffer:
        if len(buffer) > HEAD_MAX:
            raise _Unreadable
        connection.settimeout(_left(until))
        more = connection.recv(4096)
        if not more:
            raise _Unreadable
        buffer += more
    end = min(at + len(mark) for mark in (b"\r\n\r\n", b"\n\n") if (at := buffer.find(mark)) >= 0)
    return buffer[:end], buffer[end:]


def _parse(head: bytes) -> tuple[int, http.client.HTTPMessage]:
    first, _, rest = head.partition(b"\n")
    found = re.fullmatch(rb"HTTP/1\.[01] ([1-9][0-9]{2})(?: .*)?", first.rstrip(b"\r"))
    if found is None:
        raise _Unreadable
    try:
        return int(found[1]), http.client.parse_headers(io.BytesIO(rest))
    except http.client.HTTPException as error:
        raise _Unreadable from error


def _body(connection: socket.socket, buffer: bytes, fields: http.client.HTTPMessage, until: float) -> bytes:
    """Up to `EXCERPT_MAX` bytes, or as much of them as comes soon. Nothing here can make a delivery fail."""
    length = fields.get("Content-Length", "")
    wanted = min(EXCERPT_MAX, int(length)) if re.fullmatch("[0-9]{1,18}", length) else EXCERPT_MAX
    chunked = "chunked" in fields.get("Transfer-Encoding", "").lower()
    try:
        while len(buffer) < wanted and not (chunked and buffer.endswith(b"\r\n0\r\n\r\n")):
            connection.settimeout(_left(until))
            more = connection.recv(EXCERPT_MAX)
            if not more:
                break
            buffer += more
    except OSError:
        pass
    return (_unchunked(buffer) if chunked else buffer)[:wanted]


def _unchunked(raw: bytes) -> bytes:
    out = b""
    while (found := _CHUNK.match(raw)) is not None:
        size = int(re.match(rb"[0-9A-Fa-f]+", raw)[0], 16)  # type: ignore[index]  # _CHUNK begins like this
        if size == 0:
            break
        out += raw[found.end() : found.end() + size]
        raw = raw[found.end() + size + 2 :]
    return out


def _text(body: bytes) -> str:
    """Printable, whatever a stranger sends."""
    decoded = body.decode("utf-8", errors="replace")
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in decoded)[:EXCERPT_MAX]


def _retry_after(value: str | None) -> int | None:
    """Seconds, from a number or an HTTP date (RFC 9110 10.2.3); None for anything else."""
    if value is None:
        return None
    if re.fullmatch("[0-9]{1,9}", value.strip()):
        return int(value)
    try:
        return max(0, round(parsedate_to_datetime(value).timestamp() - time.time()))
    except (ValueError, TypeError, OverflowError):
        return None


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


#: The first that matches: kinds of failure as attempts name them.
_WORDS: Sequence[tuple[type[BaseException] | tuple[type[BaseException], ...], str]] = (
    (Forbidden, "address_refused"),
    (NoSuchName, "name_not_found"),
    (TimeoutError, "timeout"),
    (ssl.SSLError, "tls_failed"),
    (_Unreadable, "answer_unreadable"),
    (ConnectionRefusedError, "connection_refused"),
    (OSError, "connection_failed"),
)


def _word(failure: Exception) -> str:
    return next((word for kinds, word in _WORDS if isinstance(failure, kinds)), "internal_error")
