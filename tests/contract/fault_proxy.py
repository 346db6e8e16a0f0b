"""A proxy between a wallet and its node that loses requests or replies on demand."""

from __future__ import annotations

import re
import select
import socket
import threading
from contextlib import suppress

_LENGTH = re.compile(rb"content-length:\s*(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"transfer-encoding:\s*chunked", re.IGNORECASE)


class FaultProxy:
    """Passes HTTP messages on, one thread a connection. `down` cuts everything off; `lose` spoils one call."""

    def __init__(self, port: int) -> None:
        self._upstream = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._losses: list[tuple[bytes, bool]] = []
        self.down = False
        self.requests: list[bytes] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def lose(self, method: str, *, delivered: bool) -> None:
        """Cut the connection on the next call of an RPC method, before it reaches the node or after it acted."""
        self._losses.append((f'"method": "{method}"'.encode(), delivered))

    def lose_path(self, path: str, *, delivered: bool) -> None:
        """As `lose`, for a call that is named by its path."""
        self._losses.append((f"POST {path} ".encode(), delivered))

    def cut(self) -> None:
        """Close all connections, as a node does that restarts or tires of an idle client."""
        with self._lock:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            if self.down:
                return
            with self._lock:
                self._open.add(client)
            try:
                with socket.create_connection(("127.0.0.1", self._upstream)) as node:
                    for end in (client, node):
                        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    while self._exchange(client, node):
                        pass
            finally:
                with self._lock:
                    self._open.discard(client)

    def _exchange(self, client: socket.socket, node: socket.socket) -> bool:
        """One request and its reply; whether the connection goes on."""
        if node in select.select([client, node], [], [])[0]:
            return False  # the node has hung up, and so do we
        request = _message(client)
        if not request or self.down:
            return False
        self.requests.append(request)
        loss = next((entry for entry in self._losses if entry[0] in request), None)
        if loss is not None:
            self._losses.remove(loss)
            if not loss[1]:
                return False
        node.sendall(request)
        reply = _message(node)
        if loss is not None or not reply or self.down:
            return False
        client.sendall(reply)
        return True


def _message(source: socket.socket) -> bytes:
    """One whole HTTP message, by its Content-Length or in chunks; empty when the other side has closed."""
    data = b""
    while b"\r\n\r\n" not in data:
        if not (chunk := source.recv(65536)):
            return b""
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    if _CHUNKED.search(head):
        return _until_last_chunk(source, data)
    length = _LENGTH.search(head)
    missing = (int(length[1]) if length else 0) - len(body)
    while missing > 0:
        if not (chunk := source.recv(65536)):
            return b""
        data += chunk
        missing -= len(chunk)
    return data


def _until_last_chunk(source: socket.socket, data: bytes) -> bytes:
    while not data.endswith(b"\r\n0\r\n\r\n"):
        if not (chunk := source.recv(65536)):
            return b""
        data += chunk
    return data
