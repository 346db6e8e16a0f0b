"""The loop of an API process, turned by hand: what it takes in while its threads are busy, and what it counts."""

from __future__ import annotations

import logging
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import SimpleNamespace

import pytest
from gunicorn.config import Config

from api import front
from api.front import Connection, Worker

CONNECTIONS = 80
DEADLINE_SECONDS = 30


class Loop:
    """A worker of one thread, which answers nothing before `gate` is open. `served`: the ports of who had it."""

    def __init__(self, stack: ExitStack) -> None:
        self.stack, self.gate, self.served = stack, threading.Event(), list[int]()
        self.listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        config = Config()
        config.set("worker_connections", CONNECTIONS)
        self.worker = Worker(0, os.getppid(), [self.listener], None, 30, config, logging.getLogger("front"))
        self.worker.handle = self.handle
        self.worker.tpool = stack.enter_context(ThreadPoolExecutor(1))
        stack.callback(self.gate.set)
        self.worker.poller = stack.enter_context(selectors.DefaultSelector())
        self.worker.method_queue.init()
        stack.callback(self.worker.method_queue.close)
        queue = self.worker.method_queue
        self.worker.poller.register(queue.fileno(), selectors.EVENT_READ, queue.run_callbacks)

    def handle(self, conn: Connection) -> bool:
        self.gate.wait(DEADLINE_SECONDS)
        self.served.append(conn.client[1])
        return False

    def client(self) -> socket.socket:
        found = self.stack.enter_context(socket.create_connection(self.listener.getsockname()))
        self.worker.accept(self.listener)
        return found

    def turn(self) -> None:
        self.worker.wait_for_and_dispatch_events(0.01)
        self.worker.murder_pending()

    def until(self, found: Callable[[], bool]) -> None:
        limit = time.monotonic() + DEADLINE_SECONDS
        while not found():
            assert time.monotonic() < limit
            self.turn()


@pytest.fixture
def loop() -> Iterator[Loop]:
    with ExitStack() as stack:
        yield Loop(stack)


def whole(size: int) -> bytes:
    return b"POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: %d\r\n\r\n" % size + b"a" * size


def port(client: socket.socket) -> int:
    return int(client.getsockname()[1])


def test_nobody_is_read_while_too_much_waits_for_a_thread(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nobody is hung up on for it."""
    monkeypatch.setattr(front, "QUEUED_MAX", 1_000)
    first, second, third = (loop.client() for _ in range(3))
    first.sendall(whole(600))
    loop.until(lambda: loop.worker._queued > 600)
    assert loop.worker.worker_connections > 0
    second.sendall(whole(600))
    loop.until(lambda: loop.worker._queued > 1_200)
    assert loop.worker.worker_connections == 0

    third.sendall(whole(600))
    waiting = next(conn for conn in loop.worker._gathering if conn.client[1] == port(third))
    waiting.until = time.monotonic()
    with selectors.DefaultSelector() as arrived:
        arrived.register(waiting.sock, selectors.EVENT_READ)
        assert arrived.select(DEADLINE_SECONDS)
    loop.worker._next_look = 0.0
    loop.turn()
    assert waiting in loop.worker._gathering
    assert not waiting.got

    waiting.until += DEADLINE_SECONDS
    loop.gate.set()
    loop.until(lambda: len(loop.served) == 3 and loop.worker._queued == 0)
    assert loop.served == [port(first), port(second), port(third)]
    assert loop.worker.worker_connections > 0


def test_the_loop_looks_whose_time_is_over_once_a_second(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not each time that it goes round, over all of thousands of connections."""
    clock = SimpleNamespace(now=1_000.0)
    monkeypatch.setattr(front, "time", SimpleNamespace(monotonic=lambda: clock.now))
    loop.client()
    clock.now += front.SILENT_SECONDS - 0.1
    loop.worker.murder_pending()
    clock.now += 0.2
    loop.worker.murder_pending()
    assert len(loop.worker._gathering) == 1
    clock.now += front.LOOK_SECONDS
    loop.worker.murder_pending()
    assert not loop.worker._gathering
    assert loop.worker.nr_conns == 0


def test_a_worker_that_stops_looks_each_time(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=1_000.0)
    monkeypatch.setattr(front, "time", SimpleNamespace(monotonic=lambda: clock.now))
    loop.client()
    loop.worker.murder_pending()
    loop.worker.alive = False
    loop.worker.murder_pending()
    clock.now += front.STOP_SECONDS
    loop.worker.murder_pending()
    assert not loop.worker._gathering


def test_those_bidden_farewell_have_descriptors_of_their_own(loop: Loop) -> None:
    """So that as many as may be open and as many as are bidden farewell are not more than there may be descriptors."""
    for _ in range(CONNECTIONS // 2):
        ours, theirs = socket.socketpair()
        loop.stack.enter_context(theirs)
        loop.stack.callback(ours.close)
        loop.worker.bid_farewell(ours)
    assert 0 < len(loop.worker._farewells) <= CONNECTIONS - loop.worker.worker_connections
