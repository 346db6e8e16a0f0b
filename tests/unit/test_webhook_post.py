"""One POST against servers of every kind: it ends, it tells what came of it, and it goes where it was judged to go."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from email.utils import format_datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from jobs.webhooks.post import EXCERPT_MAX, Answer, Poster
from jobs.webhooks.urls import Guard

LOOPBACK = [ipaddress.ip_network("127.0.0.0/8")]
BODY = b'{"id":"evt_1"}'

Speak = Callable[[socket.socket], None]


@contextmanager
def serving(speak: Speak, context: ssl.SSLContext | None = None) -> Iterator[tuple[int, list[bytes]]]:
    """(port, what was sent) of a server that reads a request and then does as it likes with the connection."""
    heard: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    def serve(connection: socket.socket) -> None:
        try:
            if context is not None:
                connection = context.wrap_socket(connection, server_side=True)
            with connection:
                data = b""
                while not data.endswith(BODY):
                    data += connection.recv(65536)
                heard.append(data)
                speak(connection)
        except OSError:
            pass  # the other side has had enough

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1], heard
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def says(text: bytes) -> Speak:
    return lambda connection: connection.sendall(text)


def post(port: int, timeout: float = 10.0, path: str = "/hooks?a=1") -> Answer:
    guard = Guard(LOOPBACK)
    poster = Poster(guard, timeout_seconds=timeout)
    return poster.post(guard.check(f"http://127.0.0.1:{port}{path}"), {"webhook-id": "evt_1"}, BODY)


def answer_to(reply: bytes) -> Answer:
    with serving(says(reply)) as (port, _):
        return post(port)


def test_the_request_is_one_plain_post() -> None:
    with serving(says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")) as (port, heard):
        answer = post(port)
    assert (answer.status, answer.excerpt, answer.error, answer.good) == (200, "ok", None, True)
    head, _, body = heard[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /hooks?a=1 HTTP/1.1"
    fields = dict(line.split(": ", 1) for line in lines[1:])
    assert fields["Host"] == f"127.0.0.1:{port}"
    assert (fields["Content-Type"], fields["Content-Length"]) == ("application/json", str(len(BODY)))
    assert (fields["webhook-id"], fields["Connection"], body) == ("evt_1", "close", BODY)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 206, 299])
def test_every_2xx_is_good(status: int) -> None:
    assert answer_to(b"HTTP/1.1 %d x\r\n\r\n" % status).good


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status: int) -> None:
    with serving(says(b"HTTP/1.1 200 OK\r\n\r\n")) as (other, heard):
        answer = answer_to(b"HTTP/1.1 %d x\r\nLocation: http://127.0.0.1:%d/\r\n\r\n" % (status, other))
    assert (answer.status, answer.good, answer.reason, heard) == (status, False, f"http_{status}", [])


@pytest.mark.parametrize("status", [100, 103, 400, 401, 404, 410, 429, 500, 503, 599])
def test_every_other_status_is_a_miss(status: int) -> None:
    assert not answer_to(b"HTTP/1.1 %d x\r\n\r\n" % status).good


def test_interim_answers_are_passed_over() -> None:
    answer = answer_to(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 204 x\r\n\r\n"
    )
    assert answer.status == 204


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(b"120", 120), (b"0", 0), (b" 7 ", 7), (b"-1", None), (b"soon", None), (b"1.5", None), (b"9" * 30, None)],
)
def test_retry_after_in_seconds_is_read(value: bytes, seconds: int | None) -> None:
    answer = answer_to(b"HTTP/1.1 503 x\r\nRetry-After: " + value + b"\r\n\r\n")
    assert answer.retry_after_seconds == seconds


def test_retry_after_as_a_date_is_read() -> None:
    then = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
    value = format_datetime(then, usegmt=True).encode()
    found = answer_to(b"HTTP/1.1 503 x\r\nRetry-After: " + value + b"\r\n\r\n").retry_after_seconds
    assert found is not None
    assert 3_000 < found <= 3_600


def test_of_a_huge_answer_little_is_read() -> None:
    sent = 0

    def pour(connection: socket.socket) -> None:
        nonlocal sent
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:  # until the other side hangs up
            connection.sendall(b"x" * 65536)
            sent += 65536

    with serving(pour) as (port, _):
        answer = post(port)
    assert (answer.status, answer.excerpt) == (200, "x" * EXCERPT_MAX)
    assert sent < 100 * 2**20


def test_a_body_that_never_ends_does_not_undo_a_good_status() -> None:
    hang = threading.Event()

    def stall(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\npart")
        hang.wait(30)

    with serving(stall) as (port, _):
        answer = post(port)
    hang.set()
    assert (answer.status, answer.excerpt, answer.error) == (200, "part", None)


def test_a_chunked_body_is_shown_without_its_chunks() -> None:
    answer = answer_to(b"HTTP/1.1 500 x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n")
    assert (answer.status, answer.excerpt) == (500, "abcde")


def test_an_excerpt_is_printable() -> None:
    answer = answer_to(b"HTTP/1.1 500 x\r\n\r\na\x00\x1b[31m\xff\nb")
    assert answer.excerpt == "a\ufffd\ufffd[31m\ufffd\nb"


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 099 x\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"b" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 500 + b"\r\n",
        b"+PONG\r\n",
    ],
    ids=lambda reply: repr(reply[:30]),
)
def test_what_is_not_http_is_a_miss(reply: bytes) -> None:
    answer = answer_to(reply)
    assert (answer.status, answer.good) == (None, False)
    assert answer.reason in ("answer_unreadable", "connection_failed")


def test_silence_ends_with_the_deadline() -> None:
    hang = threading.Event()

    def wait(_: socket.socket) -> None:
        hang.wait(60)

    with serving(wait) as (port, _):
        answer = post(port, timeout=0.3)
    hang.set()
    assert (answer.status, answer.error) == (None, "timeout")


def test_dripping_bytes_do_not_put_the_deadline_off() -> None:
    stop = threading.Event()

    def drip(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while not stop.wait(0.02):
            connection.sendall(b"a: b\r\n")

    with serving(drip) as (port, _):
        answer = post(port, timeout=0.5)
    stop.set()
    assert (answer.status, answer.error) == (None, "timeout")


def test_nobody_listening_is_told() -> None:
    with serving(says(b"")) as (port, _):
        pass
    assert post(port).error == "connection_refused"


def test_an_address_that_may_not_be_called_is_not_connected_to() -> None:
    with serving(says(b"HTTP/1.1 200 OK\r\n\r\n")) as (port, heard):
        guard = Guard([ipaddress.ip_network("10.0.0.0/8")], resolver=lambda *_: ["127.0.0.1"])
        answer = Poster(guard).post(guard.check(f"http://shop.example:{port}/"), {}, BODY)
    assert (answer.error, answer.reason, heard) == ("address_refused", "address_refused", [])


def test_a_name_that_changes_between_check_and_connect_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name server answers a good address once, and a private one ever after."""
    answers = ["127.0.0.1"]

    def resolver(host: str, port: int) -> Sequence[str]:
        return [answers.pop()] if answers else ["169.254.169.254"]

    def never(*_: object, **__: object) -> None:
        raise AssertionError("the name was looked up again")

    with serving(says(b"HTTP/1.1 204 x\r\n\r\n")) as (port, heard):
        guard = Guard(LOOPBACK, resolver=resolver)
        target = guard.check(f"http://shop.example:{port}/")
        real = socket.getaddrinfo
        monkeypatch.setattr(
            socket,
            "getaddrinfo",
            lambda host, *rest, **more: (host == "127.0.0.1" or never()) and real(host, *rest, **more),
        )
        answer = Poster(guard).post(target, {}, BODY)
    assert (answer.status, answers) == (204, [])
    assert f"Host: shop.example:{port}".encode() in heard[0]


def test_a_name_that_is_unknown_is_told() -> None:
    def resolver(host: str, port: int) -> Sequence[str]:
        raise OSError("no such name")

    guard = Guard(resolver=resolver)
    assert Poster(guard).post(guard.check("https://shop.example/"), {}, BODY).error == "name_not_found"


def test_the_next_address_is_tried_when_one_does_not_answer() -> None:
    with serving(says(b"HTTP/1.1 204 x\r\n\r\n")) as (port, _):
        guard = Guard(LOOPBACK, resolver=lambda *_: ["127.0.0.9", "127.0.0.1"])
        assert Poster(guard).post(guard.check(f"http://shop.example:{port}/"), {}, BODY).status == 204


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key and certificate of shop.example, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "shop.example")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("shop.example")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    path = tmp_path_factory.mktemp("tls") / "shop.pem"
    path.write_bytes(pem + made.public_bytes(serialization.Encoding.PEM))
    return path


def test_tls_is_checked_under_the_name_and_not_under_the_address(certificate: Path) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    asked: list[str | None] = []
    server.sni_callback = lambda _connection, name, _context: asked.append(name)
    trusting = ssl.create_default_context(cafile=str(certificate))
    guard = Guard(LOOPBACK, resolver=lambda *_: ["127.0.0.1"])
    with serving(says(b"HTTP/1.1 204 x\r\n\r\n"), server) as (port, heard):
        good = Poster(guard, trusting).post(guard.check(f"https://shop.example:{port}/"), {}, BODY)
        other = Poster(guard, trusting).post(guard.check(f"https://other.example:{port}/"), {}, BODY)
        unknown = Poster(guard).post(guard.check(f"https://shop.example:{port}/"), {}, BODY)
    assert (good.status, other.error, unknown.error) == (204, "tls_failed", "tls_failed")
    assert (asked[0], len(heard)) == ("shop.example", 1)


def test_a_server_without_tls_is_no_https_server() -> None:
    with serving(says(b"HTTP/1.1 200 OK\r\n\r\n")) as (port, _):
        guard = Guard(LOOPBACK)
        answer = Poster(guard, timeout_seconds=1.0).post(guard.check(f"https://127.0.0.1:{port}/"), {}, BODY)
    assert answer.status is None
