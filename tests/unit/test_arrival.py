"""When a request is whole: told from any part of it, whatever its client made of it."""

from __future__ import annotations

import pytest

from api import arrival
from api.arrival import CHUNKED_MAX, HEAD_MAX, Arrival
from api.body import BODY_MAX

HEAD = b"POST /v1/accounts HTTP/1.1\r\nHost: shop\r\n"

WHOLE = [
    b"GET / HTTP/1.1\r\n\r\n",
    HEAD + b"Content-Length: 0\r\n\r\n",
    HEAD + b"content-LENGTH:\t3 \r\n\r\nabc",
    HEAD + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\n3;name=x\r\nabc\r\n000b \r\n0\r\n\r\n456789\r\n0\r\nX: 1\r\n\r\n",
]


@pytest.mark.parametrize("request_", WHOLE)
def test_a_request_is_whole_with_its_last_byte_and_not_before(request_: bytes) -> None:
    assert arrival.of(request_) is Arrival.WHOLE
    assert arrival.of(request_ + b"GET / HT") is Arrival.WHOLE  # the next one has begun
    for length in range(len(request_)):
        assert arrival.of(request_[:length]) in (Arrival.WAITED_FOR, Arrival.BODY_WAITED_FOR), request_[:length]


def test_a_client_that_waits_to_be_told_is_told_once_its_head_is_there() -> None:
    head = HEAD + b"Expect: 100-Continue\r\nContent-Length: 3\r\n\r\n"
    assert arrival.of(head) is Arrival.BODY_WAITED_FOR
    assert arrival.of(head[:-1]) is Arrival.WAITED_FOR
    assert arrival.of(head + b"a") is Arrival.WAITED_FOR


def test_what_is_too_large_is_not_waited_for() -> None:
    assert arrival.of(HEAD + b"Content-Length: %d\r\n\r\n" % (BODY_MAX + 1)) is Arrival.TOO_LARGE
    assert arrival.of(HEAD + b"Content-Length: %d\r\n\r\n" % BODY_MAX) is Arrival.WAITED_FOR
    assert arrival.of(b"GET /" + b"a" * HEAD_MAX) is Arrival.ENDLESS
    assert arrival.of(HEAD + b"X: " + b"a" * HEAD_MAX + b"\r\n\r\n") is Arrival.ENDLESS
    endless = HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * (CHUNKED_MAX // 6 + 1)
    assert arrival.of(endless) is Arrival.ENDLESS


@pytest.mark.parametrize("body", [b"xyz\r\n", b"-1\r\n", b"\r\n", b"123456789\r\n"])
def test_chunks_that_are_none_are_gunicorns_to_refuse(body: bytes) -> None:
    assert arrival.of(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + body) is Arrival.WHOLE


def test_lengths_that_are_none_are_gunicorns_to_refuse() -> None:
    for length in (b"-1", b"x", b"1.5", b"9" * 30):
        assert arrival.of(HEAD + b"Content-Length: " + length + b"\r\n\r\n") is Arrival.WHOLE
