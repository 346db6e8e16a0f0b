"""Whether a whole request has arrived, told from its first bytes on without waiting: what is sent to us as HTTP/1.1.

This only decides when a thread begins to read; what the bytes mean is gunicorn's to say. Whatever cannot be told here
counts as arrived, so that gunicorn refuses it.
"""

from __future__ import annotations

import re
from enum import Enum, auto

from api.body import BODY_MAX

#: Request line and headers. An honest request has less than two thousand bytes of them.
HEAD_MAX = 32 * 1024
#: A body in chunks of a kilobyte or more is below this, if it is not larger than may be.
CHUNKED_MAX = BODY_MAX + BODY_MAX // 8 + 1024

_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,18})[ \t]*\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)
_CONTINUE = re.compile(rb"\r\nexpect:[ \t]*100-continue", re.IGNORECASE)
_SIZE = re.compile(rb"([0-9a-fA-F]{1,8})[ \t]*(?:;[^\r\n]*)?\r\n")


class Arrival(Enum):
    WAITED_FOR = auto()  #: more is to come
    BODY_WAITED_FOR = auto()  #: more is to come, once the client was told to go on
    WHOLE = auto()
    TOO_LARGE = auto()  #: its body will not be read; that can be answered
    ENDLESS = auto()  #: there is nothing in it that could be answered


def of(got: bytes | bytearray) -> Arrival:
    """Of what a client has sent since its last request."""
    head = got.find(_END)
    if head < 0 or head > HEAD_MAX:
        return Arrival.WAITED_FOR if len(got) <= HEAD_MAX else Arrival.ENDLESS
    lines, body = got[: head + 2], head + len(_END)
    if _CHUNKED.search(lines):
        found = _chunked(got, body)
    else:
        told = _LENGTH.search(lines)
        found = _told(int(told[1]) if told else 0, len(got) - body)
    if found is Arrival.WAITED_FOR and len(got) == body and _CONTINUE.search(lines):
        return Arrival.BODY_WAITED_FOR
    return found


def _told(length: int, arrived: int) -> Arrival:
    if length > BODY_MAX:
        return Arrival.TOO_LARGE
    return Arrival.WHOLE if arrived >= length else Arrival.WAITED_FOR


def _chunked(got: bytes | bytearray, at: int) -> Arrival:
    if len(got) - at > CHUNKED_MAX:
        return Arrival.ENDLESS
    while (size := _SIZE.match(got, at)) is not None:
        length = int(size[1], 16)
        if length == 0:  # what follows are trailers, mostly none
            return Arrival.WHOLE if got.find(_END, size.end() - 2) >= 0 else Arrival.WAITED_FOR
        at = size.end() + length + 2
    return Arrival.WHOLE if b"\r\n" in got[at:] else Arrival.WAITED_FOR  # no size: gunicorn says so
