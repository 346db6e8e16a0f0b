"""gunicorn's threaded worker, for clients that are slow on purpose.

As it comes, a thread waits for as long as a client takes to send its request: a few connections that send half of one
stop the service. And the one loop of the process waits two seconds for each client that does not hang up after its
last answer. Here the loop gathers requests and a thread gets whole ones; whoever takes too long is hung up on; and the
loop waits for nobody. A proxy that does as much (deploy/nginx) stands in front of most installations, not of all.
"""

from __future__ import annotations

import contextlib
import errno
import selectors
import socket
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

from gunicorn import util  # type: ignore[import-untyped]
from gunicorn.workers.gthread import TConn, ThreadWorker  # type: ignore[import-untyped]

from api.arrival import Arrival, Watch

#: A new connection that sends nothing at all.
SILENT_SECONDS = 10.0
#: From the first byte of a request to its last.
REQUEST_SECONDS = 15.0
#: For the client to take each part of an answer from us.
ANSWER_SECONDS = 10.0
#: For the client to hang up after the last answer, so that it is not lost on its way.
FAREWELL_SECONDS = 2.0
#: Connections that are bidden farewell at once, and bytes that each may still send; what is more is closed without.
#: They have their part of the connections that may be open, an eighth at most: they hold descriptors too.
FAREWELLS_MAX = 1_000
FAREWELL_BYTES = 65_536
#: Bytes of requests that are not whole yet, in one process; beyond it the largest of them is given up.
GATHERED_MAX = 64 * 1024 * 1024
#: Bytes of whole requests that a thread has or is to have, in one process; beyond it nothing is read or taken in until
#: half of them are answered. How many they may be is bounded by the connections.
QUEUED_MAX = 32 * 1024 * 1024
#: A loop that has no descriptor left takes nobody in for so long.
FULL_SECONDS = 1.0
#: So often is looked whose time is over.
LOOK_SECONDS = 1.0
#: A stopping process waits so long for a request that has begun.
STOP_SECONDS = 2.0

_GO_ON = b"HTTP/1.1 100 Continue\r\n\r\n"
#: Neither a crime of the client nor ours: come again.
_NOT_NOW = {errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK}
#: No descriptor is left: wait until a connection is over.
_FULL = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Connection(TConn):  # type: ignore[misc]  # it ships no types
    """One that gathers what its client sends, and whose end is not waited for.

    `until`: when it is hung up on. `queued`: bytes of the request that a thread has, or is to have."""

    def __init__(self, worker: Worker, *args: Any) -> None:
        super().__init__(*args)
        self.worker = worker
        self.got = bytearray()
        self.watch = Watch()
        self.queued = 0
        self.until = 0.0
        self.unread_body = False
        self.told_to_go_on = False

    def init(self) -> None:
        """In the thread: what was gathered is what the parser reads."""
        super().init()
        self.parser.unreader.unread(bytes(self.got))
        self.got.clear()

    def close(self, graceful: bool = False) -> None:
        if graceful:
            self.worker.bid_farewell(self.sock)
        else:
            super().close()


@dataclass
class Farewell:
    until: float
    bytes_left: int = FAREWELL_BYTES


class Worker(ThreadWorker):  # type: ignore[misc]
    """`gunicorn --worker-class api.front.Worker`"""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._gathering: dict[Connection, None] = {}
        self._gathered = 0
        self._farewells: dict[socket.socket, Farewell] = {}
        self._queued = 0
        self._held_since: float | None = None
        self._next_look = 0.0

    @property
    def worker_connections(self) -> int:
        """How many may be open before the loop stops to take more in."""
        if self._held_since is not None or time.monotonic() < self._full_until:
            return 0
        return self._connections_max

    @worker_connections.setter
    def worker_connections(self, value: int) -> None:
        self._farewells_max = min(FAREWELLS_MAX, value // 8)
        self._connections_max, self._full_until = value - self._farewells_max, 0.0

    # --- a request arrives ----------------------------------------------------------------------------------------

    def accept(self, listener: socket.socket) -> None:
        try:
            client, address = listener.accept()
        except OSError as error:
            if error.errno in _FULL:
                self._full_until = time.monotonic() + FULL_SECONDS
            elif error.errno not in _NOT_NOW:
                raise
            return
        self.nr_conns += 1
        self._gather(Connection(self, self.cfg, client, address, listener.getsockname()), SILENT_SECONDS)

    def enqueue_req(self, conn: Connection) -> None:
        """A connection that goes on after an answer; perhaps with a request that came with the one before."""
        conn.got += conn.parser.unreader.take_buffered()
        conn.told_to_go_on, conn.watch = False, Watch()
        self._gather(conn, REQUEST_SECONDS)
        self._consider(conn)

    def _gather(self, conn: Connection, seconds: float) -> None:
        conn.sock.setblocking(False)
        conn.until = time.monotonic() + seconds
        self._gathering[conn] = None
        self._gathered += len(conn.got)
        if self._held_since is None:
            self._read_on(conn)

    def _read_on(self, conn: Connection) -> None:
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._more, conn))

    def _more(self, conn: Connection, client: socket.socket) -> None:
        if conn not in self._gathering or self._held_since is not None:
            return  # it was given up in the same round, or reading was
        try:
            piece = client.recv(65_536)
        except OSError as error:
            if error.errno in _NOT_NOW:
                return
            piece = b""
        if not piece:
            self._give_up(conn)
            return
        if not conn.got:
            conn.until = time.monotonic() + REQUEST_SECONDS
        conn.got += piece
        self._gathered += len(piece)
        self._consider(conn)

    def _consider(self, conn: Connection) -> None:
        found = conn.watch.of(conn.got)
        if found is Arrival.ENDLESS:
            self._give_up(conn)
        elif found is Arrival.BODY_WAITED_FOR and not conn.told_to_go_on:
            conn.told_to_go_on = True
            with contextlib.suppress(OSError):
                conn.sock.send(_GO_ON)
        elif found in (Arrival.WHOLE, Arrival.TOO_LARGE):
            self._release(conn)
            conn.data_ready, conn.unread_body = True, found is Arrival.TOO_LARGE
            self._queue(conn)
        elif self._gathered > GATHERED_MAX:
            self._give_up(max(self._gathering, key=lambda each: len(each.got)))

    def _release(self, conn: Connection) -> None:
        del self._gathering[conn]
        self._gathered -= len(conn.got)
        if self._held_since is None:
            self.poller.unregister(conn.sock)

    def _give_up(self, conn: Connection) -> None:
        self._release(conn)
        self.nr_conns -= 1
        conn.close()

    # --- it waits for a thread ------------------------------------------------------------------------------------

    def _queue(self, conn: Connection) -> None:
        conn.queued = len(conn.got)
        self._queued += conn.queued
        super().enqueue_req(conn)
        if self._queued > QUEUED_MAX and self._held_since is None:
            for each in self._gathering:
                self.poller.unregister(each.sock)
            self._held_since = time.monotonic()

    def finish_request(self, conn: Connection, fs: Any) -> None:
        """In the loop, after the thread."""
        self._queued -= conn.queued
        conn.queued = 0
        if self._held_since is not None and self._queued <= QUEUED_MAX // 2:
            self._go_on()
        super().finish_request(conn, fs)

    def _go_on(self) -> None:
        """The time in which nobody was read is nobody's fault."""
        held = time.monotonic() - (self._held_since or 0.0)
        self._held_since = None
        for conn in self._gathering:
            conn.until += held
            self._read_on(conn)

    # --- a thread has it ------------------------------------------------------------------------------------------

    def handle_request(self, req: Any, conn: Connection) -> Any:
        conn.sock.settimeout(ANSWER_SECONDS)
        return super().handle_request(req, conn)

    def _keepalive_after(self, conn: Connection, keepalive: bool) -> bool:
        """A thread does not wait for a body that nobody reads."""
        return not conn.unread_body and bool(super()._keepalive_after(conn, keepalive))

    # --- its time is over -----------------------------------------------------------------------------------------

    def murder_pending(self) -> None:
        """In the loop, after each of its rounds, of which there may be thousands in a second."""
        now = time.monotonic()
        if now < self._next_look and self.alive:
            return  # a stop is not made longer by it
        self._next_look = now + LOOK_SECONDS
        stop = now + STOP_SECONDS
        for conn in list(self._gathering):
            if not self.alive:
                conn.until = min(conn.until, stop)
            if conn.until <= now and (self._held_since is None or not self.alive):
                self._give_up(conn)
        for client in [client for client, farewell in self._farewells.items() if farewell.until <= now]:
            self._let_go(client)

    def bid_farewell(self, client: socket.socket) -> None:
        """Nothing more is sent; what the client still sends is thrown away until it hangs up, or its time is over."""
        try:
            client.setblocking(False)
            client.shutdown(socket.SHUT_WR)
            if len(self._farewells) < self._farewells_max:
                self.poller.register(client, selectors.EVENT_READ, self._listen_no_more)
                self._farewells[client] = Farewell(time.monotonic() + FAREWELL_SECONDS)
                return
        except (OSError, ValueError, KeyError):
            pass  # it has hung up already, or the process is about to end
        util.close(client)

    def _listen_no_more(self, client: socket.socket) -> None:
        try:
            got = len(client.recv(4_096))
        except OSError as error:
            if error.errno in _NOT_NOW:
                return
            got = 0
        farewell = self._farewells[client]
        farewell.bytes_left -= got
        if got == 0 or farewell.bytes_left <= 0:
            self._let_go(client)

    def _let_go(self, client: socket.socket) -> None:
        del self._farewells[client]
        with contextlib.suppress(OSError, KeyError, ValueError):
            self.poller.unregister(client)
        util.close(client)
