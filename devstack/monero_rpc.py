"""One call to monerod or monero-wallet-rpc with digest login: for tests, the demo and readiness checks."""

from __future__ import annotations

import threading
from typing import Any

import requests
from requests.auth import HTTPDigestAuth


class MoneroRpcError(Exception):
    """The program refused a call. `code` is its own; 0 where it gave none."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class MoneroRpc:
    """Calls to one program on this machine, on one connection a thread.

    Raises `MoneroRpcError` when it refuses, `requests.RequestException` when it cannot be reached.
    """

    def __init__(self, port: int, user: str, password: str) -> None:
        self.port = port
        self.user = user
        self.password = password
        self._local = threading.local()

    @property
    def url(self) -> str:
        return f"http://{self.user}:{self.password}@127.0.0.1:{self.port}"

    def call(self, method: str, *, timeout_seconds: float = 60, **params: Any) -> dict[str, Any]:
        """A JSON-RPC method; its result."""
        body = {"jsonrpc": "2.0", "id": "0", "method": method, "params": params}
        answer = self.post("json_rpc", body, timeout_seconds=timeout_seconds)
        if "error" in answer:
            raise MoneroRpcError(answer["error"]["code"], answer["error"]["message"])
        result: dict[str, Any] = answer["result"]
        return result

    def post(self, path: str, body: dict[str, Any], *, timeout_seconds: float = 60) -> dict[str, Any]:
        """A call outside JSON-RPC (`/get_transactions`, `/pop_blocks` …); the whole answer, whatever its status."""
        response = self._session().post(
            f"http://127.0.0.1:{self.port}/{path}", json=body, timeout=timeout_seconds, allow_redirects=False
        )
        if response.status_code != 200:
            raise MoneroRpcError(-response.status_code, f"HTTP {response.status_code}")
        answer: dict[str, Any] = response.json()
        return answer

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = requests.Session()
            session.trust_env = False
            session.auth = HTTPDigestAuth(self.user, self.password)
        return session
