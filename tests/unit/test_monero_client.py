"""The wire to wallet-rpc and monerod against a scripted server: repeats, time limits, errors, secrets."""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from itertools import count

import pytest

from ledger import crashpoint
from ledger.errors import NodeNotReady, NodeProtocolError, NodeUnavailable
from wallets.monero import client as client_module
from wallets.monero.client import MoneroClient, RpcRefused

PASSWORD = "hunter2-secret"
WALLET_PASSWORD = "wallet-secret"
_nonces = count(1)


class Server:
    """Asks for digest login like epee's server, and answers each request that has it with the next of `script`: an
    object as JSON, bytes as they are, None by hanging up."""

    def __init__(self) -> None:
        self.script: list[object] = []
        self.requests: list[tuple[str, dict[str, object]]] = []
        self.without_login: list[dict[str, object]] = []
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def methods(self) -> list[object]:
        """The calls after login, but for the one that fetches its challenge."""
        named = [body.get("method", path) for path, body in self.requests]
        return [name for name in named if name != "get_version"]

    def client(self, **options: float) -> MoneroClient:
        url = f"http://coffer:{PASSWORD}@127.0.0.1:{self.port}"
        return MoneroClient(url, url, "hot wallet", WALLET_PASSWORD, **options)

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
                headers = {}
                while (line := stream.readline()) not in (b"\r\n", b""):
                    name, _, value = line.partition(b":")
                    headers[name.lower()] = value.strip()
                body = json.loads(stream.read(int(headers[b"content-length"])))
                answer = self._answer(head.split()[1].decode().strip("/"), body, b"authorization" in headers)
                if answer is None:
                    return
                stream.write(answer)
                stream.flush()

    def _answer(self, path: str, body: dict[str, object], logged_in: bool) -> bytes | None:
        if not logged_in:
            self.without_login.append(body)
            challenge = f'WWW-Authenticate: Digest qop="auth",algorithm=MD5,realm="monero-rpc",nonce="{next(_nonces)}"'
            return http("401 Unauthorized", extra=challenge + "\r\n")
        self.requests.append((path, body))
        if body.get("method") == "get_version":
            return reply({"result": {}})
        answer = self.script.pop(0) if self.script else {"result": body.get("params"), "status": "OK"}
        return answer if isinstance(answer, bytes) or answer is None else reply(answer)


def reply(body: object) -> bytes:
    return http("200 OK", json.dumps(body).encode(), "application/json")


def http(status: str, body: bytes = b"no", kind: str = "text/html", extra: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{extra}\r\n"
    return head.encode() + body


def refusal(code: object, message: object = "no") -> dict[str, object]:
    return {"error": {"code": code, "message": message}}


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def test_a_read_on_a_connection_that_the_node_closed_is_repeated_once(server: Server) -> None:
    client = server.client()
    server.script = [{"result": 1}, None, {"result": 2}]
    assert [client.read("get_height"), client.read("get_height")] == [1, 2]
    server.script = [None, None, {"result": 3}]
    with pytest.raises(NodeUnavailable):
        client.read("get_height")
    assert client.read("get_height") == 3


def test_a_change_is_never_repeated(server: Server) -> None:
    client = server.client()
    client.read("get_height")
    for call in (lambda: client.change("relay_tx", hex="00"), lambda: client.push("00")):
        server.script = [None]
        with pytest.raises(NodeUnavailable):
            call()
    assert (server.methods.count("relay_tx"), server.methods.count("send_raw_transaction")) == (1, 1)


def test_what_moves_money_crosses_the_wire_once_and_only_with_the_login(server: Server) -> None:
    """Digest login begins with a refusal, after which the call is sent again: that is left to a harmless one."""
    server.client().change("relay_tx", hex="00")
    assert server.methods == ["relay_tx"]
    assert [body["method"] for body in server.without_login] == ["get_version"]


def test_a_time_out_spoils_only_its_own_call(server: Server) -> None:
    client = server.client(timeout_seconds=0.3)
    server.script = [b""]  # the request is read and nothing comes back
    with pytest.raises(NodeUnavailable, match=r"timed out after 0\.3 s"):
        client.read("get_height")
    assert client.read("get_height") == {}


def test_a_session_is_renewed_after_a_long_pause(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    client = server.client()
    client.read("get_height")
    client.read("get_height")
    assert server.connections == 1
    monkeypatch.setattr(client_module, "IDLE_SECONDS_MAX", -1.0)
    client.change("relay_tx", hex="00")
    assert server.connections == 2


def test_each_thread_has_its_own_connection(server: Server) -> None:
    client = server.client()
    start = threading.Barrier(4)

    def ask(number: int) -> list[object]:
        start.wait()
        return [client.read("echo", number=number, n=n) for n in range(20)]

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(ask, range(4)))
    assert answers == [[{"number": number, "n": n} for n in range(20)] for number in range(4)]
    assert server.connections == 4


def test_a_forked_process_has_its_own_connection_and_leaves_its_parents_alone(server: Server) -> None:
    client = server.client()
    client.read("get_height")
    child = os.fork()
    if child == 0:
        os._exit(0 if client.read("echo", who="child") == {"who": "child"} else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert server.connections == 2
    assert client.read("echo", who="parent") == {"who": "parent"}
    assert server.connections == 2


def test_nobody_listening_is_no_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://coffer:{PASSWORD}@127.0.0.1:{port}"
    client = MoneroClient(url, url, "w", WALLET_PASSWORD)
    for call in (lambda: client.read("get_height"), lambda: client.daemon("get_info"), lambda: client.push("00")):
        with pytest.raises(NodeUnavailable, match=rf"no answer from monero.* at 127.0.0.1:{port}") as error:
            call()
        assert PASSWORD not in str(error.value)


@pytest.mark.parametrize(
    ("answer", "kind", "reason", "text"),
    [
        (http("401 Unauthorized"), NodeUnavailable, "credentials", "refuses our user or password"),
        (http("503 Service Unavailable"), NodeUnavailable, None, "503"),
        (http("302 Found", extra="Location: http://127.0.0.1:1/\r\n"), NodeUnavailable, None, "302"),
        (refusal(-38, "no connection to daemon"), NodeNotReady, "unreachable", "cannot reach monerod"),
    ],
)
def test_no_usable_answer_says_why_without_the_credentials(
    server: Server, answer: object, kind: type[NodeUnavailable], reason: str | None, text: str
) -> None:
    client = server.client()
    server.script = [answer]
    with pytest.raises(kind) as error:
        client.read("get_height")
    assert error.value.context.get("reason") == reason
    assert text in error.value.detail
    assert PASSWORD not in f"{error.value!r} {error.value.__cause__!r}"
    assert client.read("get_height") == {}  # and the next call is not the victim


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b"7", b'"text"', b"\xff", b"{}", b'{"error": 5}', b'{"error": {"code": "1"}}']
)
def test_a_garbled_answer_is_an_error_and_not_the_next_calls_problem(server: Server, body: bytes) -> None:
    client = server.client()
    for call in (lambda: client.read("get_height"), lambda: client.daemon("get_info")):
        server.script = [http("200 OK", body, "application/json")]
        with pytest.raises(NodeProtocolError):
            call()
        assert client.read("echo", n=5) == {"n": 5}


def test_a_refusal_carries_the_codes_of_whoever_refused(server: Server) -> None:
    """The two programs number their errors alike and mean others by them."""
    client = server.client()
    server.script = [refusal(-9, "wrong signature")]
    with pytest.raises(RpcRefused, match="wrong signature") as error:
        client.read("verify")
    assert error.value.rpc_code == -9
    server.script = [refusal(-9, "Core is busy")]
    with pytest.raises(NodeNotReady) as busy:
        client.daemon("get_info")
    assert busy.value.context["reason"] == "syncing"


@pytest.mark.parametrize("status", ["Failed", None, 5])
def test_monerods_answer_counts_only_when_its_status_says_so(server: Server, status: object) -> None:
    client = server.client()
    for call in (lambda: client.daemon_path("get_transactions"), lambda: client.daemon("get_info")):
        server.script = [{"status": status, "result": {"status": status}}]
        with pytest.raises(RpcRefused):
            call()
        server.script = [{"status": "BUSY", "result": {"status": "BUSY"}}]
        with pytest.raises(NodeNotReady):
            call()
    server.script = [{"status": status, "double_spend": True}]
    assert client.push("00")["double_spend"] is True  # whoever sends reads it all


def test_a_closed_wallet_is_opened_and_the_call_done(server: Server) -> None:
    client = server.client()
    server.script = [refusal(-13), {"result": {}}, {"result": "done"}]
    assert client.change("freeze", key_image="00") == "done"
    assert server.methods == ["freeze", "open_wallet", "freeze"]
    assert server.requests[-2][1]["params"] == {"filename": "hot wallet", "password": WALLET_PASSWORD}
    server.script = [refusal(-13), refusal(-1, f"Failed to open wallet with {WALLET_PASSWORD}")]
    with pytest.raises(NodeNotReady, match="Failed to open wallet") as error:
        client.read("get_height")
    assert error.value.context["reason"] == "no_wallet"
    assert WALLET_PASSWORD not in str(error.value)


def test_numbers_arrive_exactly(server: Server) -> None:
    body = b'{"result": {"amount": 18446744073709551615, "share": 0.1}}'
    server.script = [http("200 OK", body, "application/json")]
    assert server.client().read("get_balance") == {"amount": 2**64 - 1, "share": Decimal("0.1")}


def test_parameters_are_not_logged(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server.script = [refusal(-13), {"result": {}}, {"result": "done"}]
    server.client().read("query_key", key_type="spend-key-please")
    for secret in (PASSWORD, WALLET_PASSWORD, "spend-key-please"):
        assert secret not in caplog.text


def test_a_change_passes_a_crashpoint_on_either_side(server: Server, tmp_path_factory: pytest.TempPathFactory) -> None:
    log = tmp_path_factory.mktemp("crash") / "log"
    crashpoint.arm(None, str(log))
    try:
        client = server.client()
        client.change("store")
        client.read("get_height")
        client.push("00")
    finally:
        crashpoint.arm(None)
    assert log.read_text().split() == [
        "monero.store.before",
        "monero.store.after",
        "monero.send_raw_transaction.before",
        "monero.send_raw_transaction.after",
    ]


def test_credentials_in_the_url_are_percent_decoded_and_may_be_absent(server: Server) -> None:
    client = MoneroClient(f"http://a%40b:p%3Aq@127.0.0.1:{server.port}", f"http://127.0.0.1:{server.port}", "w")
    assert client.read("echo", n=1) == {"n": 1}
    with pytest.raises(NodeUnavailable):
        client.daemon("get_info")  # this server wants a login


@pytest.mark.parametrize("url", ["", "127.0.0.1:18083", "ftp://a:b@c:1", "http://:1", "http://a:b@c:1/json_rpc"])
def test_an_incomplete_url_is_refused_at_start_without_repeating_it(url: str) -> None:
    with pytest.raises(ValueError, match=r"must be http://user:password@host:port") as error:
        MoneroClient(url, url, "w")
    assert not url or url not in str(error.value)
