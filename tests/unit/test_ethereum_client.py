"""The wire to an Ethereum node against a server that answers as scripted: what is repeated, sorted and kept secret."""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from ledger import crashpoint
from ledger.errors import NodeNotReady, NodeProtocolError, NodeUnavailable
from wallets.ethereum.client import EthereumClient, RpcRefused

PASSWORD = "hunter2-secret"


class Server:
    """Answers each request with the next of `script`: a function of the request, bytes as they are, None by hanging up;
    without one, with the parameters."""

    def __init__(self) -> None:
        self.script: list[Any] = []
        self.requests: list[Any] = []
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def client(self, **options: float) -> EthereumClient:
        return EthereumClient(f"http://coffer:{PASSWORD}@127.0.0.1:{self.port}/key", **options)

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
                assert head.startswith(b"POST /key "), head
                length = 0
                while (line := stream.readline()) not in (b"\r\n", b""):
                    name, _, value = line.partition(b":")
                    length = int(value) if name.lower() == b"content-length" else length
                request = json.loads(stream.read(length))
                self.requests.append(request)
                answer = self.script.pop(0) if self.script else echo
                if answer is None:
                    return
                stream.write(answer if isinstance(answer, bytes) else reply(answer(request)))
                stream.flush()


def echo(request: Any) -> Any:
    if isinstance(request, list):
        return [echo(item) for item in request]
    return {"jsonrpc": "2.0", "id": request["id"], "result": request["params"]}


def refusal(code: int, message: str = "no") -> Callable[[Any], Any]:
    return lambda request: {"jsonrpc": "2.0", "id": request["id"], "error": {"code": code, "message": message}}


def reply(body: object) -> bytes:
    return http("200 OK", json.dumps(body).encode(), "application/json")


def http(status: str, body: bytes = b"no", kind: str = "text/html") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def test_a_call_brings_its_answer_and_keeps_its_connection(server: Server) -> None:
    client = server.client()
    assert client.read("eth_a", "0x1", False) == ["0x1", False]
    assert client.read("eth_b") == []
    assert server.connections == 1


def test_a_read_is_repeated_once_when_the_node_hangs_up(server: Server) -> None:
    server.script = [None]
    assert server.client().read("eth_a", 1) == [1]
    server.script = [None, None]
    with pytest.raises(NodeUnavailable):
        server.client().read("eth_a")


@pytest.mark.parametrize(
    "answer", [None, http("502 Bad Gateway"), http("429 Too Many")], ids=["hangs_up", "502", "429"]
)
def test_what_sends_is_never_repeated(server: Server, answer: bytes | None) -> None:
    """The library would, five times over (NODES 0.12)."""
    client = server.client()
    client.read("eth_a")
    server.script = [answer]
    with pytest.raises(NodeUnavailable):
        client.change("eth_sendRawTransaction", "0x00")
    assert [request["method"] for request in server.requests] == ["eth_a", "eth_sendRawTransaction"]


def test_a_call_that_takes_too_long_is_unavailable_and_not_repeated(server: Server) -> None:
    held = threading.Event()
    server.script = [lambda request: (held.wait(10), echo(request))[1]]
    with pytest.raises(NodeUnavailable, match="timed out"):
        server.client(timeout_seconds=0.2).read("eth_slow")
    held.set()
    assert len(server.requests) == 1


def test_a_refusal_has_the_nodes_code_and_words(server: Server) -> None:
    server.script = [refusal(-32003, "nonce too low")]
    with pytest.raises(RpcRefused) as error:
        server.client().change("eth_sendRawTransaction", "0x00")
    assert (error.value.rpc_code, error.value.message) == (-32003, "nonce too low")


@pytest.mark.parametrize("code", [-32002, -32005])
def test_a_node_that_gives_up_is_unavailable(server: Server, code: int) -> None:
    server.script = [refusal(code, "request timed out")]
    with pytest.raises(NodeUnavailable):
        server.client().read("eth_a")


def test_an_index_that_is_not_ready_is_no_proof_of_absence(server: Server) -> None:
    server.script = [refusal(-32000, "transaction indexing is in progress")]
    with pytest.raises(NodeNotReady):
        server.client().read("eth_getTransactionReceipt", "0x00")


@pytest.mark.parametrize(
    ("status", "reason"),
    [("401 Unauthorized", "credentials"), ("403 Forbidden", "forbidden"), ("502 Bad", "unreachable")],
)
def test_a_status_of_the_web_is_unavailability_with_a_reason(server: Server, status: str, reason: str) -> None:
    server.script = [http(status)]
    with pytest.raises(NodeUnavailable) as error:
        server.client().read("eth_a")
    assert error.value.context["reason"] == reason


@pytest.mark.parametrize(
    "answer",
    [
        http("200 OK", b"<html>"),
        http("200 OK", b""),
        reply([]),
        reply("0x1"),
        reply({"id": 0, "jsonrpc": "2.0"}),
        reply({"id": 0, "error": "no"}),
        reply({"id": 0, "error": {"message": "no code"}}),
    ],
)
def test_a_garbled_answer_is_a_protocol_error(server: Server, answer: bytes) -> None:
    server.script = [answer]
    with pytest.raises(NodeProtocolError):
        server.client().read("eth_a")


def test_a_batch_comes_back_in_order_and_in_bounded_parts(server: Server) -> None:
    server.script = [lambda request: list(reversed(echo(request)))]
    calls = [("eth_a", [n]) for n in range(7)]
    assert server.client().read_many(calls, 3) == [[n] for n in range(7)]
    assert [len(request) for request in server.requests] == [3, 3, 1]
    assert server.client().read_many([]) == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda answers: answers[:-1],
        lambda answers: [*answers[:-1], answers[0]],
        lambda answers: [*answers[:-1], {**answers[-1], "id": None}],
        lambda answers: [{"result": a["result"]} for a in answers],
        lambda answers: [*answers[:-1], {**answers[-1], "id": 10**6}],
        lambda answers: [*answers, answers[-1]],
        lambda answers: [],
        lambda answers: answers[0],
        lambda answers: ["0x1"] * len(answers),
    ],
)
@pytest.mark.filterwarnings("ignore:Received batch response")
def test_answers_that_cannot_be_told_apart_are_not_believed(server: Server, spoil: Callable[[Any], Any]) -> None:
    """A swapped answer is another's money; the library would hope for the best."""
    server.script = [lambda request: spoil(echo(request))]
    with pytest.raises(NodeProtocolError):
        server.client().read_many([("eth_a", [n]) for n in range(3)])


def test_one_refusal_in_a_batch_is_told_in_its_place(server: Server) -> None:
    def second_refused(request: Any) -> Any:
        answers = echo(request)
        return [answers[0], refusal(3, "reverted")(request[1]), answers[2]]

    server.script = [second_refused, second_refused]
    calls = [("eth_a", [n]) for n in range(3)]
    first, second, third = server.client().try_many(calls)
    assert (first, third) == ([0], [2])
    assert isinstance(second, RpcRefused)
    with pytest.raises(RpcRefused):
        server.client().read_many(calls)


def test_a_batch_that_is_refused_as_a_whole_says_so(server: Server) -> None:
    server.script = [lambda _: {"id": None, "error": {"code": -32600, "message": "batch too large"}}]
    with pytest.raises(RpcRefused, match="too large"):
        server.client().read_many([("eth_a", [])] * 3)


def test_each_thread_and_each_fork_has_a_connection_of_its_own(server: Server) -> None:
    client = server.client()
    client.read("eth_a")
    barrier = threading.Barrier(4)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: (barrier.wait(5), client.read("eth_a", n)), range(4)))
    assert server.connections == 5
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if client.read("eth_a", 7) == [7] else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert client.read("eth_a", 8) == [8]
    assert server.connections == 6


def test_no_secret_is_shown(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    client = server.client()
    client.read("eth_a", "0xfeed")
    texts = []
    for answer in (None, http("401 Unauthorized"), http("200 OK", b"{")):
        server.script = [answer, answer]
        with pytest.raises((NodeUnavailable, NodeProtocolError)) as error:
            client.read("eth_a")
        texts.append(f"{error.value} {error.value.detail} {error.getrepr()}")
    server.close()
    assert PASSWORD not in caplog.text + "".join(str(text).split("    ")[0] for text in texts)
    assert "feed" not in caplog.text


def test_a_bad_url_is_refused_without_repeating_it() -> None:
    with pytest.raises(ValueError, match="http") as error:
        EthereumClient(f"ws://coffer:{PASSWORD}@127.0.0.1")
    assert PASSWORD not in str(error.value)


def test_no_proxy_of_the_environment_and_no_redirect_comes_between(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert server.client().read("eth_a") == []
    server.script = [b"HTTP/1.1 307 Moved\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n"]
    with pytest.raises(NodeProtocolError):
        server.client().read("eth_a")


def test_sending_stands_between_crashpoints(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    passed: list[str] = []
    monkeypatch.setattr(crashpoint, "_armed", passed.append)
    client = server.client()
    client.change("eth_sendRawTransaction", "0x00")
    client.read("eth_a")
    assert passed == ["ethereum.eth_sendRawTransaction.before", "ethereum.eth_sendRawTransaction.after"]
