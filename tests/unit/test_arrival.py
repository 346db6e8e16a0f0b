"""When a request is whole: told from any part of it, whatever its client made of it."""

from __future__ import annotations

import pytest

from api.arrival import CHUNKED_MAX, HEAD_MAX, SIZE_LINE_MAX, Arrival, Watch
from api.body import BODY_MAX

HEAD = b"POST /v1/accounts HTTP/1.1\r\nHost: shop\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def of(got: bytes) -> Arrival:
    return Watch().of(got)


WHOLE = [
    HEAD + b"Content-Length: " + b"0" * 5_000 + b"3\r\n\r\nabc",
    CHUNKED + b"0" * 50 + b"3\r\nabc\r\n" + b"0" * 50 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    HEAD + b"Content-Length: 0\r\n\r\n",
    HEAD + b"content-LENGTH:\t3 \r\n\r\nabc",
    HEAD + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
    CHUNKED + b"0\r\n\r\n",
    CHUNKED + b"3\r\nabc\r\n0\r\n\r\n",
    CHUNKED + b"3;name=x\r\nabc\r\n000b \r\n0\r\n\r\n456789\r\n0\r\nX: 1\r\n\r\n",
]


@pytest.mark.parametrize("request_", WHOLE)
def test_a_request_is_whole_with_its_last_byte_and_not_before(request_: bytes) -> None:
    assert of(request_) is Arrival.WHOLE
    assert of(request_ + b"GET / HT") is Arrival.WHOLE  # the next one has begun
    for length in range(len(request_)):
        assert of(request_[:length]) in (Arrival.WAITED_FOR, Arrival.BODY_WAITED_FOR), request_[:length]


def test_a_client_that_waits_to_be_told_is_told_once_its_head_is_there() -> None:
    head = HEAD + b"Expect: 100-Continue\r\nContent-Length: 3\r\n\r\n"
    assert of(head) is Arrival.BODY_WAITED_FOR
    assert of(head[:-1]) is Arrival.WAITED_FOR
    assert of(head + b"a") is Arrival.WAITED_FOR


@pytest.mark.parametrize("request_", WHOLE)
def test_a_request_that_comes_byte_by_byte_is_judged_as_if_it_came_at_once(request_: bytes) -> None:
    watch = Watch()
    for length in range(len(request_) + 1):
        assert watch.of(request_[:length]) is of(request_[:length]), request_[:length]


@pytest.mark.parametrize(
    "parts",
    [
        [b"GET /?" + b"a" * 1_000, b"a", b" HTTP/1.1\r\n\r\n"],
        [HEAD + b"Content-Length: 3\r\n\r\n", b"a", b"bc"],
        [CHUNKED, *[b"1\r\na\r\n"] * 1_000, b"0\r\n\r\n"],
        [CHUNKED, b"0\r\n", *[b"X: trailer\r\n"] * 1_000, b"\r\n"],
    ],
    ids=["head", "length", "chunks", "trailers"],
)
def test_what_was_looked_at_is_not_looked_at_again(parts: list[bytes]) -> None:
    """The loop would do nothing else for one client that sends many small chunks byte by byte. Told by putting
    an end in place of what it has seen, up to the three bytes that the end of a part may begin with."""
    watch, got = Watch(), bytearray()
    for part in parts[:-1]:
        got += part
        assert watch.of(got) is Arrival.WAITED_FOR
        got[:-3] = (b"\r\n" * len(got))[: len(got) - 3]
    assert watch.of(got + parts[-1]) is Arrival.WHOLE


def test_a_number_of_any_length_is_a_number() -> None:
    """None of them is left to a thread, which would wait for that many bytes."""
    for digits in (b"9" * 19, b"9" * 21, b"0" * 20 + b"9" * 7, b"9" * 10_000):
        assert of(HEAD + b"Content-Length: " + digits + b"\r\n\r\n") is Arrival.TOO_LARGE
    assert of(HEAD + b"Content-Length: " + b"0" * 19 + b"3\r\n\r\n") is Arrival.WAITED_FOR
    for size in (b"123456789", b"f" * 21, b"f" * 8_000, b"%x" % (CHUNKED_MAX + 1)):
        assert of(CHUNKED + size + b"\r\n") is Arrival.ENDLESS
    assert of(CHUNKED + b"000000003\r\n") is Arrival.WAITED_FOR


def test_a_size_that_does_not_end_is_not_waited_for() -> None:
    assert of(CHUNKED + b"0" * (SIZE_LINE_MAX - 1)) is Arrival.WAITED_FOR
    assert of(CHUNKED + b"0" * SIZE_LINE_MAX) is Arrival.ENDLESS
    assert of(CHUNKED + b"1;" + b"a" * SIZE_LINE_MAX) is Arrival.ENDLESS


def test_what_is_too_large_is_not_waited_for() -> None:
    assert of(HEAD + b"Content-Length: %d\r\n\r\n" % (BODY_MAX + 1)) is Arrival.TOO_LARGE
    assert of(HEAD + b"Content-Length: %d\r\n\r\n" % BODY_MAX) is Arrival.WAITED_FOR
    assert of(b"GET /" + b"a" * HEAD_MAX) is Arrival.ENDLESS
    assert of(HEAD + b"X: " + b"a" * HEAD_MAX + b"\r\n\r\n") is Arrival.ENDLESS
    endless = CHUNKED + b"1\r\na\r\n" * (CHUNKED_MAX // 6 + 1)
    assert of(endless) is Arrival.ENDLESS


@pytest.mark.parametrize("body", [b"xyz\r\n", b"-1\r\n", b"\r\n", b"123456789x\r\n"])
def test_chunks_that_are_none_are_gunicorns_to_refuse(body: bytes) -> None:
    assert of(CHUNKED + body) is Arrival.WHOLE


def test_lengths_that_are_none_are_gunicorns_to_refuse() -> None:
    for length in (b"-1", b"x", b"1.5", b"9" * 30 + b"x"):
        assert of(HEAD + b"Content-Length: " + length + b"\r\n\r\n") is Arrival.WHOLE
