"""Wires between a process and a server, which can be cut, muted, slowed, or lose one reply. Any protocol over TCP."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from typing import Any

_CHUNK = 65_536


class Exchange:
    """The thread in which all wires of a soak carry their bytes."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="wires", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def close(self) -> None:
        """Ends whatever still carries bytes, and the thread."""
        self.run(_end_others())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()


class Wire:
    """Listens on a port of its own and passes on to `upstream`, bytes as they come.

    `cut`: connections are closed, and new ones are closed at once. `mute`: bytes wait, in both directions, as if the
    network had gone; nobody is told. `slow`: each piece takes that much longer. `lose_reply`: the next request that
    holds these bytes reaches the server, and the connection ends instead of the answer.
    """

    def __init__(self, exchange: Exchange, name: str, upstream: int) -> None:
        self.name = name
        self.replies_lost = 0
        self._exchange, self._upstream = exchange, upstream
        self._open: set[Connection] = set()
        self._is_cut = False
        self._delay_seconds = 0.0
        self._losing: bytes | None = None
        self._flows = exchange.run(_set_event())
        self._server: asyncio.Server = exchange.run(self._listen())
        self.port: int = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        self._call(self._cut)

    def mute(self) -> None:
        self._call(self._flows.clear)

    def slow(self, seconds: float) -> None:
        self._delay_seconds = seconds

    def lose_reply(self, to: bytes) -> None:
        self._losing = to

    def heal(self) -> None:
        """Whatever was wrong is over, a reply that was not lost yet included."""
        self._is_cut, self._delay_seconds, self._losing = False, 0.0, None
        self._call(self._flows.set)

    def close(self) -> None:
        self._call(self._server.close)
        self._call(self._cut)

    def _call(self, work: Callable[[], object]) -> None:
        self._exchange.loop.call_soon_threadsafe(work)

    def _cut(self) -> None:
        self._is_cut = True
        for connection in self._open:
            connection.end()

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(writer)
        self._open.add(connection)
        try:
            if not self._is_cut:
                await self._join(connection, reader)
        except OSError:
            pass  # one of the two has gone, and so does the other
        finally:
            self._open.discard(connection)
            connection.end()

    async def _join(self, connection: Connection, reader: asyncio.StreamReader) -> None:
        server, connection.to_server = await asyncio.open_connection("127.0.0.1", self._upstream)
        there = asyncio.create_task(
            self._carry(reader, connection.to_server, lambda data: self._asked(connection, data))
        )
        back = asyncio.create_task(self._carry(server, connection.to_client, lambda data: self._answered(connection)))
        try:
            await asyncio.wait((there, back), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (there, back):
                task.cancel()
            await asyncio.gather(there, back, return_exceptions=True)

    async def _carry(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, look: Callable[[bytes], bool]
    ) -> None:
        """Until one side ends, or `look` says that this is the end."""
        while data := await source.read(_CHUNK):
            if self._delay_seconds:
                await asyncio.sleep(self._delay_seconds)
            await self._flows.wait()
            if not look(data):
                return
            target.write(data)
            await target.drain()

    def _asked(self, connection: Connection, data: bytes) -> bool:
        if self._losing is not None and self._losing in data:
            self._losing = None
            connection.doomed = True
        return True

    def _answered(self, connection: Connection) -> bool:
        self.replies_lost += connection.doomed
        return not connection.doomed


class Connection:
    """Both ends of one."""

    def __init__(self, to_client: asyncio.StreamWriter) -> None:
        self.to_client = to_client
        self.to_server: asyncio.StreamWriter | None = None
        self.doomed = False  #: it ends instead of the next answer

    def end(self) -> None:
        for end in (self.to_client, self.to_server):
            if end is not None:
                with contextlib.suppress(OSError, RuntimeError):
                    end.transport.abort()


async def _end_others() -> None:
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


async def _set_event() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event
