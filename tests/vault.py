"""A stand-in for the two calls of Vault's transit engine that Coffer makes, as Vault's API documents describe them."""

from __future__ import annotations

import json
import os
from base64 import b64decode, b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM


class VaultStandIn(ThreadingHTTPServer):
    """Knows every key name; binds the associated data as the engine does. `status` and `answer` spoil replies."""

    daemon_threads = True

    def __init__(self, token: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.token = token
        self.version = 1
        self.status = 200
        self.answer: bytes | None = None
        self.requests: list[dict[str, Any]] = []
        self.cipher = AESGCM(bytes(32))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: VaultStandIn

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append({"path": self.path, "body": body})
        status, answer = self._decide(body)
        raw = json.dumps(answer).encode() if self.server.answer is None else self.server.answer
        self.send_response(status)
        if status == 307:
            self.send_header("Location", self.server.url + self.path)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def _decide(self, body: dict[str, str]) -> tuple[int, dict[str, Any]]:
        if self.server.status != 200:
            return self.server.status, {"errors": [f"echo {body}"]}
        if self.headers["X-Vault-Token"] != self.server.token:
            return 403, {"errors": ["permission denied"]}
        binding = b64decode(body["associated_data"])
        if "/encrypt/" in self.path:
            nonce = os.urandom(12)
            sealed = nonce + self.server.cipher.encrypt(nonce, b64decode(body["plaintext"]), binding)
            return 200, {"data": {"ciphertext": f"vault:v{self.server.version}:{b64encode(sealed).decode()}"}}
        raw = b64decode(body["ciphertext"].split(":")[2])
        try:
            plain = self.server.cipher.decrypt(raw[:12], raw[12:], binding)
        except InvalidTag:
            return 400, {"errors": ["invalid ciphertext"]}
        return 200, {"data": {"plaintext": b64encode(plain).decode()}}

    def log_message(self, *args: Any) -> None:
        """Quiet."""
