"""Whether a whole request has arrived, told from its first bytes on without waiting: what is sent to us as HTTP/1.1.

This only decides when a thread begins to read; what the bytes mean is gunicorn's to say. Whatever cannot be told here
counts as arrived, so that gunicorn refuses it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum, auto

from api.body import BODY_MAX

#: Request line and headers. An honest request has less than two thousand bytes of them.
HEAD_MAX = 32 * 1024
#: A body in chunks of a kilobyte or more is below this, if it is not larger than may be.
CHUNKED_MAX = BODY_MAX + BODY_MAX // 8 + 1024
#: The line that tells a chunk's size, with all that may follow it; gunicorn takes no longer one either.
SIZE_LINE_MAX = 8_190
#: A number of more digits, leading zeros aside, is above every limit: it is not converted.
DIGITS_MAX = 20

_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]+)[ \t]*\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)
_CONTINUE = re.compile(rb"\r\nexpect:[ \t]*100-continue", re.IGNORECASE)
_SIZE = re.compile(rb"([0-9a-fA-F]+)[ \t]*(?:;[^\r\n]*)?")


class Arrival(Enum):
    WAITED_FOR = auto()  #: more is to come
    BODY_WAITED_FOR = auto()  #: more is to come, once the client was told to go on
    WHOLE = auto()
    TOO_LARGE = auto()  #: its body will not be read; that can be answered
    ENDLESS = auto()  #: there is nothing in it that could be answered


class Watch:
    """Over one request. It remembers what it has seen: a client that sends byte by byte does not make it look at all of
    them again each time (of a chunk's size line it does, and that is short)."""

    def __init__(self) -> None:
        self._look: Callable[[Watch, bytes | bytearray], Arrival] = Watch._head
        self._at = 0  #: what lies before it is not looked at again
        self._body = 0
        self._length = 0
        self._asks_to_go_on = False

    def of(self, got: bytes | bytearray) -> Arrival:
        """`got`: all that the client has sent since its last request; it has grown since it was last shown."""
        found = self._look(self, got)
        if found is Arrival.WAITED_FOR and self._asks_to_go_on and len(got) == self._body:
            return Arrival.BODY_WAITED_FOR
        return found

    def _head(self, got: bytes | bytearray) -> Arrival:
        head = got.find(_END, self._at)
        if head < 0 or head > HEAD_MAX:
            self._at = max(0, len(got) - len(_END) + 1)
            return Arrival.WAITED_FOR if len(got) <= HEAD_MAX else Arrival.ENDLESS
        lines = bytes(got[: head + 2])
        self._at = self._body = head + len(_END)
        self._asks_to_go_on = _CONTINUE.search(lines) is not None
        told = _LENGTH.search(lines)
        self._length = _number(told[1], 10) if told else 0
        self._look = Watch._chunks if _CHUNKED.search(lines) else Watch._told
        return self._look(self, got)

    def _told(self, got: bytes | bytearray) -> Arrival:
        if self._length > BODY_MAX:
            return Arrival.TOO_LARGE
        return Arrival.WHOLE if len(got) - self._body >= self._length else Arrival.WAITED_FOR

    def _chunks(self, got: bytes | bytearray) -> Arrival:
        if max(len(got), self._at) - self._body > CHUNKED_MAX:
            return Arrival.ENDLESS
        while (end := got.find(b"\r\n", self._at, self._at + SIZE_LINE_MAX)) >= 0:
            size = _SIZE.fullmatch(got, self._at, end)
            if size is None:
                return Arrival.WHOLE  # gunicorn says so
            length = _number(size[1], 16)
            if length == 0:
                self._at, self._look = end, Watch._trailers
                return self._look(self, got)
            self._at = end + 2 + length + 2
            if self._at - self._body > CHUNKED_MAX:
                return Arrival.ENDLESS
        return Arrival.WAITED_FOR if len(got) - self._at < SIZE_LINE_MAX else Arrival.ENDLESS

    def _trailers(self, got: bytes | bytearray) -> Arrival:
        """What follows the last chunk, mostly nothing."""
        if len(got) - self._body > CHUNKED_MAX:
            return Arrival.ENDLESS
        if got.find(_END, self._at) >= 0:
            return Arrival.WHOLE
        self._at = max(self._at, len(got) - len(_END) + 1)
        return Arrival.WAITED_FOR


def _number(digits: bytes | bytearray, base: int) -> int:
    told = digits.lstrip(b"0")
    return int(told or b"0", base) if len(told) <= DIGITS_MAX else base**DIGITS_MAX
