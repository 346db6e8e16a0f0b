"""Wires pass bytes on, and break in each of their ways; and come back."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator

import pytest

from tests.soak.proxy import Exchange, Wire

SECONDS = 10.0


class Echo(socketserver.ThreadingTCPServer):
    """Answers each request with its own bytes, and remembers it."""

    allow_reuse_address, daemon_threads = True, True

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.told = threading.Event()
        super().__init__(("127.0.0.1", 0), Answer)


class Answer(socketserver.BaseRequestHandler):
    server: Echo

    def handle(self) -> None:
        while data := self.request.recv(1024):
            self.server.heard.append(data)
            self.server.told.set()
            self.request.sendall(data)


@pytest.fixture
def server() -> Iterator[Echo]:
    with Echo() as echo:
        threading.Thread(target=echo.serve_forever, daemon=True).start()
        yield echo
        echo.shutdown()


@pytest.fixture
def wire(server: Echo) -> Iterator[Wire]:
    exchange = Exchange()
    made = Wire(exchange, "test", server.server_address[1])
    yield made
    made.close()
    exchange.close()


@pytest.fixture
def client(wire: Wire) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", wire.port), timeout=SECONDS) as made:
        yield made


def ask(client: socket.socket, words: bytes) -> bytes:
    """The answer; empty or ConnectionResetError where the connection ends instead."""
    client.sendall(words)
    return client.recv(1024)


def ends(client: socket.socket, words: bytes) -> bool:
    try:
        return ask(client, words) == b""
    except OSError as error:
        return not isinstance(error, TimeoutError)


def test_bytes_pass_in_both_directions(client: socket.socket) -> None:
    assert ask(client, b"hello") == b"hello"
    assert ask(client, b"again") == b"again"


def test_a_cut_wire_ends_its_connections_and_takes_no_new_ones_until_healed(wire: Wire, client: socket.socket) -> None:
    assert ask(client, b"hello") == b"hello"
    wire.cut()
    assert ends(client, b"anybody?")
    with socket.create_connection(("127.0.0.1", wire.port), timeout=SECONDS) as late:
        assert ends(late, b"anybody?")
    wire.heal()
    with socket.create_connection(("127.0.0.1", wire.port), timeout=SECONDS) as again:
        assert ask(again, b"back") == b"back"


def test_a_mute_wire_says_nothing_and_forgets_nothing(wire: Wire, server: Echo, client: socket.socket) -> None:
    assert ask(client, b"hello") == b"hello"
    wire.mute()
    client.settimeout(0.3)
    with pytest.raises(TimeoutError):
        ask(client, b"anybody?")
    assert server.heard == [b"hello"]
    client.settimeout(SECONDS)
    wire.heal()
    assert client.recv(1024) == b"anybody?"


def test_a_lost_reply_was_acted_on_and_is_lost_once(wire: Wire, server: Echo, client: socket.socket) -> None:
    wire.lose_reply(b"COMMIT")
    assert ask(client, b"BEGIN") == b"BEGIN"
    assert ends(client, b"COMMIT")
    assert server.heard == [b"BEGIN", b"COMMIT"]
    assert wire.replies_lost == 1
    with socket.create_connection(("127.0.0.1", wire.port), timeout=SECONDS) as again:
        assert ask(again, b"COMMIT") == b"COMMIT"
    assert wire.replies_lost == 1


def test_a_slow_wire_still_brings_everything(wire: Wire, client: socket.socket) -> None:
    wire.slow(0.05)
    assert ask(client, b"hello") == b"hello"


def test_a_server_that_is_down_is_told_by_the_end_of_the_connection() -> None:
    exchange = Exchange()
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    wire = Wire(exchange, "test", port)
    with socket.create_connection(("127.0.0.1", wire.port), timeout=SECONDS) as client:
        assert ends(client, b"anybody?")
    wire.close()
    exchange.close()
