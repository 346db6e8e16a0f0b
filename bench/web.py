"""A small keep-alive HTTP client: the load must cost less than what it loads."""

from __future__ import annotations

import json
import random
import secrets
import socket
from typing import Any


class Wire:
    """One connection to a server on this machine."""

    def __init__(self, port: int, token: str) -> None:
        self._port = port
        self._token = token
        self._socket: socket.socket | None = None

    def post(self, path: str, body: dict[str, Any]) -> bytes:
        """The answer's body. Raises `RuntimeError` for any status but 2xx."""
        raw = json.dumps(body).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {self._token}\r\n"
            f"Idempotency-Key: {secrets.token_hex(16)}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(raw)}\r\n\r\n"
        )
        try:
            status, answer = self._exchange(head.encode() + raw)
        except OSError:  # an idle connection that the server has closed
            self.close()
            status, answer = self._exchange(head.encode() + raw)
        if not 200 <= status < 300:
            raise RuntimeError(f"{status} {answer[:200].decode(errors='replace')}")
        return answer

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _exchange(self, request: bytes) -> tuple[int, bytes]:
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=30)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(request)
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._more()
        head, _, rest = data.partition(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        length = next(int(line[15:]) for line in lines if line.startswith(b"content-length:"))
        while len(rest) < length:
            rest += self._more()
        if b"connection: close" in lines:
            self.close()
        return int(head[9:12]), rest

    def _more(self) -> bytes:
        assert self._socket is not None
        found = self._socket.recv(65536)
        if not found:
            raise ConnectionResetError("the server closed the connection")
        return found


class Withdrawer:
    """Asks for a withdrawal of 1,000 satoshi from a random account, to an address of its own."""

    def __init__(self, port: int, token: str, accounts: list[str]) -> None:
        self._wire = Wire(port, token)
        self._accounts = accounts

    def act(self) -> None:
        order = {"account": random.choice(self._accounts), "asset": "BTC", "amount": "0.00001", "address": outside()}
        self._wire.post("/v1/withdrawals", order | {"reference": secrets.token_hex(12)})


class Addresser:
    """Asks for a new deposit address."""

    def __init__(self, port: int, token: str, accounts: list[str]) -> None:
        self._wire = Wire(port, token)
        self._accounts = accounts

    def act(self) -> None:
        answer = self._wire.post(f"/v1/accounts/{random.choice(self._accounts)}/addresses", {"asset": "BTC"})
        if b'"status":"ready"' not in answer:
            raise RuntimeError("the address is not ready")


class Greeter:
    """Calls the bare route: JSON in, JSON out, nothing between."""

    def __init__(self, port: int) -> None:
        self._wire = Wire(port, "none")

    def act(self) -> None:
        self._wire.post("/bare", {"account": secrets.token_hex(12), "asset": "BTC", "amount": "0.00001"})


def outside() -> str:
    """A fresh address that belongs to nobody here."""
    from embit import bech32

    return str(bech32.encode("bcrt", 0, secrets.token_bytes(20)))
