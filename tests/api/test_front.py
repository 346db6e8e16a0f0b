"""The API as it is deployed (gunicorn, two processes of eight threads, no proxy in front), and clients that are slow on
purpose: an honest shop is served while they are there, and they are hung up on."""

from __future__ import annotations

import itertools
import resource
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.api.front_door import PATIENCE_SECONDS, Front, deployed
from tests.databases import sqlite_url

pytestmark = pytest.mark.timeout(300)

#: More than the API has threads.
CROWD = 64
HEADERS = b"POST /v1/accounts HTTP/1.1\r\nHost: shop\r\nContent-Type: application/json\r\n"
#: A body is read of those only who have a key.
KEYED = b"Authorization: Bearer KEY\r\nIdempotency-Key: k\r\n"


@pytest.fixture(scope="module")
def front(server_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    folder = tmp_path_factory.mktemp("front")
    found = deployed(sqlite_url(folder, server_folder / "template.sqlite3"), folder)
    yield found
    found.daemon.stop()


def serves(front: Front) -> None:
    """Reading and writing, several times: one of the two processes alone would serve about half of them."""
    for number in range(6):
        assert front.honest() == 200
        assert front.honest("POST", "/v1/accounts", {"reference": f"{secrets.token_hex(6)}-{number}"}) == 201


def hung_up(client: socket.socket) -> bool:
    client.settimeout(PATIENCE_SECONDS)
    try:
        while client.recv(65_536):
            pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


SLOW: dict[str, bytes] = {
    "silent": b"",
    "half a line": b"GET /v1/acc",
    "half the headers": HEADERS,
    "a byte now and then": HEADERS,
    "half a body": HEADERS + KEYED + b"Content-Length: 1000\r\n\r\n{",
    "half a chunk": HEADERS + KEYED + b"Transfer-Encoding: chunked\r\n\r\n3e8\r\n{",
    "half a body, told at length": HEADERS + KEYED + b"Content-Length: 00000000000000001000\r\n\r\n{",
    "half a chunk, told at length": HEADERS + KEYED + b"Transfer-Encoding: chunked\r\n\r\n0000003e8\r\n{",
}


def test_clients_that_stop_in_the_middle_hold_up_nobody_and_are_hung_up_on(front: Front) -> None:
    """All kinds at once, and some that send a byte now and then: each kind alone has more than the API has threads."""
    with ExitStack() as stack:
        crowds = {
            kind: stack.enter_context(front.crowd(CROWD, sent.replace(b"KEY", front.key.encode())))
            for kind, sent in SLOW.items()
        }
        over = threading.Event()
        dripping = threading.Thread(target=drip, args=(crowds["a byte now and then"], over), daemon=True)
        dripping.start()
        try:
            serves(front)
            assert {kind: sum(map(hung_up, crowd)) for kind, crowd in crowds.items()} == dict.fromkeys(SLOW, CROWD)
        finally:
            over.set()
            dripping.join(PATIENCE_SECONDS)
    serves(front)


def drip(crowd: list[socket.socket], over: threading.Event) -> None:
    for letter in itertools.cycle(b"X-Slow: " + b"a" * 1000):
        for client in crowd:
            try:
                client.send(bytes([letter]))
            except OSError:
                continue
        if over.wait(0.5):
            return


def test_clients_that_do_not_hang_up_after_an_answer_hold_up_nobody(front: Front) -> None:
    """The loop of a process would wait for each of them in turn."""
    call = b"GET /healthz HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n"
    with front.crowd(CROWD, call):
        serves(front)


def test_clients_that_ask_for_much_and_read_nothing_hold_up_nobody(front: Front) -> None:
    call = b"GET /openapi.json HTTP/1.1\r\nHost: shop\r\n\r\n" * 50
    crowd = []
    for _ in range(CROWD // 8):  # fewer than there are threads: each has one until its answer's time is over
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1_024)
        client.connect(("127.0.0.1", front.port))
        client.sendall(call)
        crowd.append(client)
    serves(front)
    for client in crowd:
        client.close()


@pytest.mark.parametrize("chunked", [False, True], ids=["told", "chunked"])
def test_a_hundred_megabytes_are_refused_before_they_are_read(front: Front, chunked: bool) -> None:
    before = memory(front)
    length = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: 100000000"
    client = front.connect(HEADERS + KEYED.replace(b"KEY", front.key.encode()) + length + b"\r\n\r\n")
    piece = b" " * 65_536
    sent = b"10000\r\n" + piece + b"\r\n" if chunked else piece
    taken = 0
    try:
        while taken < 100_000_000:
            client.sendall(sent)
            taken += len(piece)
    except OSError:
        pass  # it was hung up on
    assert taken < 100_000_000
    client.close()
    assert memory(front) - before < 64 * 1024 * 1024
    serves(front)


def memory(front: Front) -> int:
    """Of gunicorn and its processes, bytes."""
    master = front.daemon.pid
    kin = Path(f"/proc/{master}/task/{master}/children").read_text().split()
    pages = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in [str(master), *kin]]
    return sum(pages) * resource.getpagesize()


@pytest.mark.slow
def test_ten_thousand_connections_are_borne(front: Front, may_open: Callable[[int], int]) -> None:
    """As many as this machine lets one process open; the number is told where it is less."""
    wanted = may_open(10_000)
    with front.crowd(wanted):
        serves(front)
    serves(front)


@pytest.fixture
def may_open() -> Iterator[Callable[[int], int]]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)

    def most(wanted: int) -> int:
        hard = before[1]
        limit = wanted + 512 if hard == resource.RLIM_INFINITY else min(wanted + 512, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(limit, before[0]), hard))
        found = min(wanted, max(limit, before[0]) - 512)
        if found < wanted:
            print(f"{found} connections instead of {wanted}: no more descriptors may be had")
        return found

    yield most
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_deploy_does_not_wait_for_the_silent(front: Front) -> None:
    """Last here: the process is asked to end while connections are open that say nothing."""
    with front.crowd(CROWD):
        started = time.monotonic()
        front.daemon.stop(grace_seconds=60)
        assert time.monotonic() - started < PATIENCE_SECONDS
    assert front.daemon.exit_code == 0
