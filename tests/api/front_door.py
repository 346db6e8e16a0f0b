"""The API as it is deployed: gunicorn with two processes of eight threads, no proxy in front, and its own database."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import insert, select

from devstack.ports import free_port
from devstack.process import Daemon
from devstack.programs import ROOT
from jobs import keys
from jobs.keys import Keyring
from ledger import accounts, postings
from ledger.db import Database, Tx
from ledger.ids import new_id
from ledger.postings import Leg
from ledger.schema import account, project
from tests.api.conftest import SECRET

#: An honest call takes milliseconds; so long on a machine that is busy with all the dishonest ones.
PATIENCE_SECONDS = 45


class Front:
    """A running API and one key to it."""

    def __init__(self, port: int, url: str, daemon: Daemon | None = None) -> None:
        self.port, self.url, self._daemon, self.key = port, url, daemon, ""

    @property
    def daemon(self) -> Daemon:
        assert self._daemon is not None
        return self._daemon

    def make_key(self) -> None:
        def unit(tx: Tx) -> str:
            row = {"public_id": new_id("pj"), "name": f"shop-{secrets.token_hex(4)}", "created_at": tx.now}
            wish = keys.Wish(name="shop", holder="ann", scopes=list(keys.SCOPES))
            ring = Keyring(bytes.fromhex(SECRET), "test")
            return keys.create(tx, ring, tx.insert(insert(project).values(row)), wish, "tests")[1]

        with self.database() as database:
            self.key = database.run(unit, "shop")

    @contextmanager
    def database(self) -> Iterator[Database]:
        found = Database(self.url)
        try:
            yield found
        finally:
            found.close()

    def account(self, units: int = 0) -> str:
        """A new account with so many satoshi, as a deposit would bring them."""
        public_id = str(self.ask("POST", "/v1/accounts", {"reference": secrets.token_hex(8)})[1]["id"])

        def unit(tx: Tx) -> None:
            row_id = tx.value(select(account.c.id).where(account.c.public_id == public_id))
            leg = Leg(accounts.house("treasury_hot"), (row_id, "available"), units)
            postings.post(tx, f"test:{secrets.token_hex(8)}", "deposit", "BTC", [leg], ("test", 0))

        if units:
            with self.database() as database:
                database.run(unit, "fund")
        return public_id

    def honest(self, method: str = "GET", path: str = "/v1/accounts", body: Any = None) -> int:
        return self.ask(method, path, body)[0]

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """One call on a connection of its own; OSError when it is not served in time."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        try:
            raw = None if body is None else json.dumps(body)
            connection.request(method, path, raw, headers | {"Idempotency-Key": secrets.token_hex(8)})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def all_at_once(self, path: str, calls: list[tuple[str, Any]]) -> list[tuple[int, Any]]:
        """POSTs of (Idempotency-Key, body), each on a connection of its own, all sent before any answer is read."""
        crowd = [self.connect() for _ in calls]
        for client, (key, body) in zip(crowd, calls, strict=True):
            raw = json.dumps(body).encode()
            head = (
                f"POST {path} HTTP/1.1\r\nHost: shop\r\nAuthorization: Bearer {self.key}\r\nIdempotency-Key: {key}\r\n"
            )
            head += f"Content-Type: application/json\r\nContent-Length: {len(raw)}\r\nConnection: close\r\n\r\n"
            client.sendall(head.encode() + raw)
        return [_answer(client) for client in crowd]

    def connect(self, sent: bytes = b"") -> socket.socket:
        found = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_SECONDS)
        found.sendall(sent)
        return found

    @contextmanager
    def crowd(self, size: int, sent: bytes = b"") -> Iterator[list[socket.socket]]:
        found = [self.connect(sent) for _ in range(size)]
        try:
            yield found
        finally:
            for each in found:
                each.close()


def _answer(client: socket.socket) -> tuple[int, Any]:
    answer = http.client.HTTPResponse(client)
    try:
        answer.begin()
        return answer.status, json.loads(answer.read())
    finally:
        client.close()


def deployed(url: str, folder: Path) -> Front:
    """Started and ready; end it by its `daemon`."""
    port = free_port()
    environ = {name: value for name, value in os.environ.items() if not name.startswith("COFFER_")}
    environ |= {
        "COFFER_MODE": "test",
        "COFFER_DATABASE_URL": url,
        "COFFER_API_PORT": str(port),
        "COFFER_API_SECRET": SECRET,
        "COFFER_ROW_MAC_KEY": "6b" * 32,
        "COFFER_API_WORKERS": "2",
        "COFFER_API_THREADS": "8",
        "COFFER_CHAINS": "bitcoin",
        "PYTHONPATH": str(ROOT),
    }
    daemon = Daemon(
        "coffer api",
        [sys.executable, "-m", "cli.main", "api"],
        log=folder / "api.log",
        environ=environ,
        folder=ROOT,
        ready=lambda: Front(port, url).honest(path="/readyz") == 200,
    )
    front = Front(port, url, daemon)
    daemon.up(timeout_seconds=120)
    front.make_key()
    return front
