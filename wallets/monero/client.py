"""The wire to monero-wallet-rpc and monerod: one session a thread, a time limit on every call, errors sorted into ours.

The monero package's own transport is no use here: it logs every call with its parameters (the wallet's password among
them) and drops the codes of most refusals. So this is `requests` with digest login, as that package has it too.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import unquote, urlsplit

import requests
from requests.auth import HTTPDigestAuth

from ledger.crashpoint import crashpoint
from ledger.errors import NodeNotReady, NodeProtocolError, NodeUnavailable

IDLE_SECONDS_MAX = 60.0

# Codes of monero-wallet-rpc (wallet_rpc_server_error_codes.h) that mean the same whatever was called.
NO_WALLET_FILE, NO_DAEMON = -13, -38
#: And of monerod (core_rpc_server_error_codes.h).
_CORE_BUSY = -9


class RpcRefused(NodeProtocolError):
    """The program refused a call. `rpc_code` is its own (0 where it only gave a status); whoever made the call knows
    what it means there."""

    def __init__(self, method: str, rpc_code: int, message: str) -> None:
        super().__init__(f"{method}: {rpc_code} {message}")
        self.rpc_code = rpc_code
        self.message = message


class _Endpoint:
    """One program that answers. `url` is `http://[user:password@]host:port`, the credentials percent-decoded.

    No error text of this class holds credentials or parameters, and nothing is logged.
    """

    def __init__(self, url: str, program: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
            raise ValueError(f"the URL of {program} must be http://user:password@host:port")
        self.program = program
        self.where = f"{parts.hostname}:{parts.port or 80}"
        self._base = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        self._login = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
        self._local = threading.local()

    def post(self, path: str, body: object, timeout_seconds: float, *, repeat: bool, what: str) -> Any:
        """The JSON answer. Repeated once, if it may be, where the connection turns out to be closed."""
        try:
            response = self._send(path, body, timeout_seconds)
        except requests.Timeout:
            raise self._unavailable(what, f"timed out after {timeout_seconds:g} s") from None
        except requests.ConnectionError as error:
            if not repeat:
                raise self._unavailable(what, _cause(error)) from None
            response = self._send_again(path, body, timeout_seconds, what)
        except requests.RequestException as error:
            raise self._unavailable(what, type(error).__name__) from None
        return self._read(response, what)

    def _send_again(self, path: str, body: object, timeout_seconds: float, what: str) -> requests.Response:
        try:
            return self._send(path, body, timeout_seconds)
        except requests.RequestException as error:
            raise self._unavailable(what, _cause(error)) from None

    def _send(self, path: str, body: object, timeout_seconds: float) -> requests.Response:
        try:
            session = self._session(timeout_seconds)
            return session.post(f"{self._base}/{path}", json=body, timeout=timeout_seconds, allow_redirects=False)
        except BaseException:
            self._discard()
            raise

    def _session(self, timeout_seconds: float) -> requests.Session:
        """This thread's session; a new one after an error, a fork or a long pause."""
        local = self._local
        if getattr(local, "pid", None) != os.getpid() or time.monotonic() - local.used_at > IDLE_SECONDS_MAX:
            self._discard()
            local.session, local.pid, local.used_at = requests.Session(), os.getpid(), 0.0
            local.session.trust_env = False  # no proxy and no .netrc of the environment
            if self._login is not None:
                local.session.auth = HTTPDigestAuth(*self._login)
                # The first call of a session is refused with the challenge and then repeated: let that be a harmless
                # one, so that a call that moves money crosses the wire once.
                challenge = {"jsonrpc": "2.0", "id": "0", "method": "get_version"}
                local.session.post(f"{self._base}/json_rpc", json=challenge, timeout=timeout_seconds)
        local.used_at = time.monotonic()
        session: requests.Session = local.session
        return session

    def _discard(self) -> None:
        """Forget the session; close it unless it belongs to the process we were forked from."""
        if getattr(self._local, "pid", None) == os.getpid():
            self._local.session.close()
        self._local.__dict__.clear()

    def _read(self, response: requests.Response, what: str) -> Any:
        if response.status_code == 401:
            raise NodeUnavailable(f"{self.program} at {self.where} refuses our user or password", reason="credentials")
        if response.status_code != 200:
            raise self._unavailable(what, f"HTTP {response.status_code}")
        try:
            return response.json(parse_float=Decimal)
        except ValueError:
            raise NodeProtocolError(f"{what}: unreadable reply of {self.program}") from None

    def _unavailable(self, what: str, reason: str) -> NodeUnavailable:
        return NodeUnavailable(f"{what}: no answer from {self.program} at {self.where} ({reason})")


class MoneroClient:
    """Calls to one monero-wallet-rpc about one wallet file, and to the monerod behind it.

    A wallet that is not open (wallet-rpc was restarted) is opened by its name and the call done then.
    """

    def __init__(
        self, wallet_url: str, daemon_url: str, wallet: str, password: str = "", timeout_seconds: float = 60
    ) -> None:
        self._wallet_rpc = _Endpoint(wallet_url, "monero-wallet-rpc")
        self._monerod = _Endpoint(daemon_url, "monerod")
        self.wallet = wallet
        self._password = password
        self.has_password = bool(password)
        self.timeout_seconds = timeout_seconds

    def read(self, method: str, **params: object) -> Any:
        """A call to wallet-rpc that may be repeated; it is, once, when the connection turns out to be closed."""
        return self._with_wallet(method, params, repeat=True)

    def change(self, method: str, **params: object) -> Any:
        """A call to wallet-rpc that changes or sends something: never repeated here. `NodeUnavailable` leaves open if
        it acted."""
        crashpoint(f"monero.{method}.before")
        result = self._with_wallet(method, params, repeat=False)
        crashpoint(f"monero.{method}.after")
        return result

    def daemon(self, method: str, **params: object) -> Any:
        """A JSON-RPC call to monerod that changes nothing."""
        result = self._json_rpc(self._monerod, method, params, repeat=True)
        return _checked(result, method)

    def daemon_path(self, path: str, **params: object) -> Any:
        """A call to monerod outside JSON-RPC that changes nothing (`get_transactions`, `is_key_image_spent`)."""
        return _checked(self._monerod.post(path, params, self.timeout_seconds, repeat=True, what=path), path)

    def push(self, raw: str) -> Mapping[str, Any]:
        """Hand signed bytes to monerod (`send_raw_transaction`); its whole answer, whatever its status says."""
        path = "send_raw_transaction"
        crashpoint(f"monero.{path}.before")
        body = {"tx_as_hex": raw, "do_not_relay": False}
        answer = self._monerod.post(path, body, self.timeout_seconds, repeat=False, what=path)
        crashpoint(f"monero.{path}.after")
        if not isinstance(answer, dict):
            raise NodeProtocolError(f"{path}: the answer is not an object")
        return answer

    def open_wallet(self) -> None:
        """Open the wallet file; wallet-rpc then stores and closes any other. Raises `NodeNotReady` when it cannot."""
        params = {"filename": self.wallet, "password": self._password}
        try:
            self._json_rpc(self._wallet_rpc, "open_wallet", params, repeat=True)
        except RpcRefused as refusal:
            raise NodeNotReady(
                f"monero-wallet-rpc cannot open wallet {self.wallet!r} (no such file, a wrong password, or in use): "
                f"{refusal.message}",
                reason="no_wallet",
                rpc_code=refusal.rpc_code,
            ) from None

    def create_wallet(self) -> None:
        """Make the wallet file, with fresh keys and wallet-rpc's own lookahead, and open it. Only for test networks."""
        self.change("create_wallet", filename=self.wallet, password=self._password, language="English")

    def _with_wallet(self, method: str, params: Mapping[str, object], *, repeat: bool) -> Any:
        try:
            return self._json_rpc(self._wallet_rpc, method, params, repeat=repeat)
        except RpcRefused as refusal:
            if refusal.rpc_code != NO_WALLET_FILE:
                raise
        # wallet-rpc was restarted; the refused call did nothing.
        self.open_wallet()
        return self._json_rpc(self._wallet_rpc, method, params, repeat=repeat)

    def _json_rpc(self, at: _Endpoint, method: str, params: Mapping[str, object], *, repeat: bool) -> Any:
        body = {"jsonrpc": "2.0", "id": "0", "method": method, "params": params}
        answer = at.post("json_rpc", body, self.timeout_seconds, repeat=repeat, what=method)
        if not isinstance(answer, dict):
            raise NodeProtocolError(f"{method}: the answer is not an object")
        if "error" in answer:
            raise self._translated(at, method, answer["error"])
        if "result" not in answer:
            raise NodeProtocolError(f"{method}: the answer has neither result nor error")
        return answer["result"]

    def _translated(self, at: _Endpoint, method: str, error: object) -> Exception:
        fields = error if isinstance(error, dict) else {}
        code, message = fields.get("code"), fields.get("message")
        if type(code) is not int or not isinstance(message, str):
            return NodeProtocolError(f"{method}: an error of {at.program} without code and message")
        if self._password:
            message = message.replace(self._password, "…")
        if at is self._wallet_rpc and code == NO_DAEMON:
            return NodeNotReady(f"{method}: monero-wallet-rpc cannot reach monerod", reason="unreachable")
        if at is self._monerod and code == _CORE_BUSY:
            return NodeNotReady(f"{method}: monerod is catching up", reason="syncing")
        return RpcRefused(method, code, message)


def _checked(answer: Any, what: str) -> Any:
    """monerod says in a `status` whether the rest of its answer counts."""
    status = answer.get("status") if isinstance(answer, dict) else None
    if status == "BUSY":
        raise NodeNotReady(f"{what}: monerod is catching up", reason="syncing")
    if status != "OK":
        raise RpcRefused(what, 0, status if isinstance(status, str) else "an answer without a status")
    return answer


def _cause(error: requests.RequestException) -> str:
    """One word; the text of these errors repeats the URL."""
    if isinstance(error, requests.Timeout):
        return "timed out"
    inner = error.args[0] if error.args else error
    inner = getattr(inner, "reason", inner)
    return type(inner).__name__
