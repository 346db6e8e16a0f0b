"""The wire to Bitcoin Core against a server that answers as scripted: what is repeated, translated and kept secret."""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from ledger import crashpoint
from ledger.errors import NodeNotReady, NodeProtocolError, NodeUnavailable
from wallets.bitcoin import client as client_module
from wallets.bitcoin.client import BitcoinClient, RpcRefused

PASSWORD = "hunter2-secret"


class Server:
    """Answers each request with the next of `script`: an object as JSON, bytes as they are, None by hanging up."""

    def __init__(self) -> None:
        self.script: list[object] = []
        self.methods: list[str] = []
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def client(self, **options: float) -> BitcoinClient:
        return BitcoinClient(f"http://coffer:{PASSWORD}@127.0.0.1:{self.port}", "hot wallet", **options)

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rwb") as stream:
            while head := stream.readline():
                assert head.startswith(b"POST /wallet/hot%20wallet "), head
                length = 0
                while (line := stream.readline()) not in (b"\r\n", b""):
                    name, _, value = line.partition(b":")
                    length = int(value) if name.lower() == b"content-length" else length
                request = json.loads(stream.read(length))
                self.methods.append(request["method"])
                answer = self.script.pop(0) if self.script else {"result": request["params"]}
                if answer is None:
                    return
                stream.write(answer if isinstance(answer, bytes) else reply(answer))
                stream.flush()


def reply(body: object) -> bytes:
    return http("200 OK", json.dumps(body).encode(), "application/json")


def http(status: str, body: bytes = b"no", kind: str = "text/html") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def refusal(code: int, message: str = "no") -> dict[str, object]:
    return {"result": None, "error": {"code": code, "message": message}}


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def test_a_read_on_a_connection_that_the_node_closed_is_repeated_once(server: Server) -> None:
    client = server.client()
    server.script = [{"result": 1}, None, {"result": 2}]
    assert [client.read("getblockcount"), client.read("getblockcount")] == [1, 2]
    server.script = [None, None, {"result": 3}]
    with pytest.raises(NodeUnavailable):
        client.read("getblockcount")
    assert client.read("getblockcount") == 3


def test_a_change_is_never_repeated(server: Server) -> None:
    client = server.client()
    client.read("getblockcount")
    server.script = [None]
    with pytest.raises(NodeUnavailable):
        client.change("sendrawtransaction", "00")
    assert server.methods.count("sendrawtransaction") == 1


def test_a_time_out_spoils_only_its_own_call(server: Server) -> None:
    client = server.client(timeout_seconds=0.2)
    server.script = [b""]  # the request is read and nothing comes back
    with pytest.raises(NodeUnavailable, match="timed out"):
        client.read("getblockcount")
    assert client.read("getblockcount") == []
    assert server.connections == 2


def test_a_connection_is_renewed_before_the_node_tires_of_it(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    client = server.client()
    client.read("getblockcount")
    client.read("getblockcount")
    assert server.connections == 1
    monkeypatch.setattr(client_module, "IDLE_SECONDS_MAX", -1.0)
    client.change("sendrawtransaction", "00")
    assert server.connections == 2


def test_each_thread_has_its_own_connection(server: Server) -> None:
    client = server.client()
    start = threading.Barrier(4)

    def ask(number: int) -> list[object]:
        start.wait()
        return [client.read("echo", number, n) for n in range(50)]

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(ask, range(4)))
    assert answers == [[[number, n] for n in range(50)] for number in range(4)]
    assert server.connections == 4


def test_a_forked_process_has_its_own_connection_and_leaves_its_parents_alone(server: Server) -> None:
    """A worker forks for each job; two processes on one connection would read each other's answers."""
    client = server.client()
    client.read("getblockcount")
    child = os.fork()
    if child == 0:
        os._exit(0 if client.read("echo", "child") == ["child"] else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert server.connections == 2
    assert client.read("echo", "parent") == ["parent"]
    assert server.connections == 2


def test_nobody_listening_is_no_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    client = BitcoinClient(f"http://coffer:{PASSWORD}@127.0.0.1:{port}", "w")
    with pytest.raises(NodeUnavailable, match="ConnectionRefusedError") as error:
        client.read("getblockcount")
    assert PASSWORD not in str(error.value)


@pytest.mark.parametrize(
    ("answer", "reason", "text"),
    [
        (http("401 Unauthorized"), "credentials", "refuses our user or password"),
        (http("403 Forbidden"), "forbidden", "rpcwhitelist forbids getblockcount"),
        (http("503 Service Unavailable", b"Work queue depth exceeded"), None, "503"),
        (http("500 Internal Server Error"), None, "500"),
        (refusal(-28, "Loading block index…"), "warming_up", "Loading block index"),
        ({"result": None, "error": {"code": -28, "message": PASSWORD}}, "warming_up", "…"),
    ],
)
def test_no_usable_answer_says_why_without_the_credentials(
    server: Server, answer: object, reason: str | None, text: str
) -> None:
    client = server.client()
    server.script = [answer]
    with pytest.raises(NodeUnavailable) as error:
        client.read("getblockcount")
    assert error.value.context.get("reason") == reason
    assert text in error.value.detail
    assert PASSWORD not in f"{error.value!r} {error.value.__cause__!r}"
    assert client.read("getblockcount") == []  # and the next call is not the victim


@pytest.mark.parametrize("body", [b"{", b"[]", b"7", b'"text"', b"\xff", b"{}"])
def test_a_garbled_answer_is_an_error_and_not_the_next_calls_problem(server: Server, body: bytes) -> None:
    client = server.client()
    server.script = [http("200 OK", body, "application/json")]
    with pytest.raises((NodeProtocolError, NodeUnavailable)):
        client.read("getblockcount")
    assert client.read("getblockcount", 5) == [5]


def test_a_refusal_carries_the_nodes_code(server: Server) -> None:
    server.script = [refusal(-8, "Invalid parameter")]
    with pytest.raises(RpcRefused, match="Invalid parameter") as error:
        server.client().read("getblock")
    assert error.value.rpc_code == -8
    assert isinstance(error.value, NodeProtocolError)


def test_an_unloaded_wallet_is_loaded_and_the_call_done(server: Server) -> None:
    client = server.client()
    server.script = [refusal(-18), {"result": {"name": "hot wallet"}}, {"result": "done"}]
    assert client.change("lockunspent", True) == "done"
    assert server.methods == ["lockunspent", "loadwallet", "lockunspent"]
    server.script = [refusal(-18), refusal(-35), {"result": "done"}]  # another process was first
    assert client.read("getwalletinfo") == "done"
    server.script = [refusal(-18), refusal(-18, "Path does not exist")]
    with pytest.raises(NodeNotReady, match="Path does not exist"):
        client.read("getwalletinfo")


def test_amounts_arrive_exactly(server: Server) -> None:
    body = b'{"result": {"amount": 20999999.12345678}}'
    server.script = [http("200 OK", body, "application/json")]
    assert str(server.client().read("getbalances")["amount"]) == "20999999.12345678"


def test_parameters_are_not_logged(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """The library logs each call with its parameters at DEBUG; one of ours is the wallet's passphrase."""
    caplog.set_level(logging.DEBUG)
    server.client().read("walletpassphrase", "open sesame", 30)
    assert "open sesame" not in caplog.text
    assert PASSWORD not in caplog.text


def test_a_change_passes_a_crashpoint_on_either_side(server: Server, tmp_path_factory: pytest.TempPathFactory) -> None:
    log = tmp_path_factory.mktemp("crash") / "log"
    crashpoint.arm(None, str(log))
    try:
        server.client().change("lockunspent", True)
        server.client().read("getblockcount")
    finally:
        crashpoint.arm(None)
    assert log.read_text().split() == ["bitcoin.lockunspent.before", "bitcoin.lockunspent.after"]


@pytest.mark.parametrize("url", ["", "127.0.0.1:8332", "http://127.0.0.1:8332", "ftp://a:b@c:1", "http://a@c:1"])
def test_an_incomplete_url_is_refused_at_start_without_repeating_it(url: str) -> None:
    with pytest.raises(ValueError, match=r"must be http://user:password@host:port") as error:
        BitcoinClient(url, "w")
    assert not url or url not in str(error.value)
