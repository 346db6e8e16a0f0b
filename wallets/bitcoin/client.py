"""The wire to Bitcoin Core: one connection a thread, explicit time-outs, errors sorted into ours.

python-bitcoinrpc keeps one HTTP connection that any I/O error spoils for good (NODES 0.1) and that neither threads
nor forked processes may share. So each thread of each process has its own, thrown away after every error that is
not the node's own answer, when the node has closed it, and before it has idled for its `-rpcservertimeout` (30 s).
"""

from __future__ import annotations

import http.client
import logging
import os
import select
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlsplit

from bitcoinrpc.authproxy import AuthServiceProxy, JSONRPCException

from ledger.crashpoint import crashpoint
from ledger.errors import NodeNotReady, NodeProtocolError, NodeUnavailable

IDLE_SECONDS_MAX = 15.0

# Codes of Bitcoin Core (src/rpc/protocol.h) that mean the same whatever was called.
WARMING_UP = -28
WALLET_NOT_LOADED = -18
#: python-bitcoinrpc's own: the HTTP reply was no JSON (401, 403, 503 …), or had no result.
_NO_JSON, _NO_RESULT = -342, -343

_STALE = (BrokenPipeError, ConnectionResetError, http.client.BadStatusLine, http.client.CannotSendRequest)


class RpcRefused(NodeProtocolError):
    """The node refused a call. `rpc_code` is Bitcoin Core's; whoever made the call knows what it means there."""

    def __init__(self, method: str, rpc_code: int, message: str) -> None:
        super().__init__(f"{method}: {rpc_code} {message}")
        self.rpc_code = rpc_code
        self.message = message


class BitcoinClient:
    """Calls to one node about one wallet, or about none (`wallet` empty).

    `url` is `http://user:password@host:port`, the credentials taken literally (not percent-decoded). No error text
    or log line of this class holds them, nor any parameter.
    """

    def __init__(self, url: str, wallet: str, timeout_seconds: float = 30) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.username or not parts.password or not parts.hostname:
            raise ValueError("the Bitcoin RPC URL must be http://user:password@host:port")
        self._url = f"{url.rstrip('/')}/wallet/{quote(wallet, safe='')}" if wallet else url.rstrip("/")
        self._where = f"{parts.hostname}:{parts.port or 80}"
        self._secrets = (parts.password, f"{parts.username}:{parts.password}")
        self._wallet = wallet
        self._timeout_seconds = timeout_seconds
        self._local = threading.local()
        _keep_parameters_out_of_logs()

    def read(self, method: str, *params: object) -> Any:
        """A call that may be repeated; it is, once, when the connection turns out to be closed."""
        return self._with_wallet(method, params, repeat=True)

    def change(self, method: str, *params: object) -> Any:
        """A call that changes or sends something: never repeated here. `NodeUnavailable` leaves open if it acted."""
        crashpoint(f"bitcoin.{method}.before")
        result = self._with_wallet(method, params, repeat=False)
        crashpoint(f"bitcoin.{method}.after")
        return result

    def _with_wallet(self, method: str, params: tuple[object, ...], *, repeat: bool) -> Any:
        try:
            return self._call(method, params, repeat=repeat)
        except RpcRefused as refusal:
            if refusal.rpc_code != WALLET_NOT_LOADED or method == "loadwallet":
                raise
        # The node was restarted without this wallet; the refused call did nothing.
        self.load_wallet()
        return self._call(method, params, repeat=repeat)

    def load_wallet(self) -> None:
        """Load the wallet, and again at each start of the node. Raises `NodeNotReady` if there is no such wallet."""
        try:
            self._call("loadwallet", (self._wallet, True), repeat=False)
        except RpcRefused as refusal:
            if refusal.rpc_code == -35:  # loaded by another process meanwhile
                return
            raise NodeNotReady(f"the node cannot load wallet {self._wallet!r}: {refusal.message}") from None

    def _call(self, method: str, params: tuple[object, ...], *, repeat: bool) -> Any:
        try:
            return self._once(method, params)
        except _STALE as error:
            if not repeat:
                raise self._unavailable(method, error) from None
        except (OSError, http.client.HTTPException) as error:
            raise self._unavailable(method, error) from None
        try:
            return self._once(method, params)
        except (OSError, http.client.HTTPException) as error:
            raise self._unavailable(method, error) from None

    def _once(self, method: str, params: tuple[object, ...]) -> Any:
        proxy = self._proxy()
        try:
            result = getattr(proxy, method)(*params)
        except JSONRPCException as error:
            if error.code in (_NO_JSON, _NO_RESULT):
                self._discard()
            raise self._translated(method, error) from None
        except (OSError, http.client.HTTPException):
            self._discard()
            raise
        except Exception as error:  # noqa: BLE001  # the library raises whatever a garbled reply makes it stumble over
            self._discard()
            raise NodeProtocolError(f"{method}: unreadable reply ({type(error).__name__})") from None
        return result

    def _proxy(self) -> AuthServiceProxy:
        """This thread's connection; a new one after an error, a fork, a long pause, or when the node has hung up."""
        local = self._local
        if not self._is_sound():
            self._discard()
            local.proxy = AuthServiceProxy(self._url, timeout=self._timeout_seconds)
            local.pid = os.getpid()
        local.used_at = time.monotonic()
        return local.proxy

    def _is_sound(self) -> bool:
        local = self._local
        if getattr(local, "pid", None) != os.getpid() or time.monotonic() - local.used_at > IDLE_SECONDS_MAX:
            return False
        wire = local.proxy._AuthServiceProxy__conn.sock
        if wire is None:
            return True
        poll = select.poll()
        poll.register(wire, select.POLLIN)
        return not poll.poll(0)  # nothing is due between calls: what can be read is the end, or garbage

    def _discard(self) -> None:
        """Forget the connection; close it unless it belongs to the process we were forked from."""
        if getattr(self._local, "pid", None) == os.getpid():
            self._local.proxy._AuthServiceProxy__conn.close()
        self._local.__dict__.clear()

    def _unavailable(self, method: str, error: Exception) -> NodeUnavailable:
        reason = "timed out" if isinstance(error, TimeoutError) else type(error).__name__
        return NodeUnavailable(f"{method}: no answer from Bitcoin Core at {self._where} ({reason})")

    def _translated(self, method: str, error: JSONRPCException) -> Exception:
        code = error.code if isinstance(error.code, int) else 0
        message = self._without_secrets(str(error.message))
        if code == WARMING_UP:
            return NodeUnavailable(f"Bitcoin Core is starting: {message}", reason="warming_up")
        if code == _NO_JSON and "401" in message:
            return NodeUnavailable(f"Bitcoin Core at {self._where} refuses our user or password", reason="credentials")
        if code == _NO_JSON and "403" in message:
            return NodeUnavailable(f"Bitcoin Core's rpcwhitelist forbids {method} to our user", reason="forbidden")
        if code in (_NO_JSON, _NO_RESULT):
            return NodeUnavailable(f"{method}: {message}")
        return RpcRefused(method, code, message)

    def _without_secrets(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "…")
        return text


def _keep_parameters_out_of_logs() -> None:
    """The library logs every call with its parameters, passphrases included, when the root logger is at DEBUG."""
    logger = logging.getLogger("BitcoinRPC")
    if _no_debug not in logger.filters:
        logger.addFilter(_no_debug)


_no_debug: Callable[[logging.LogRecord], bool] = lambda record: record.levelno > logging.DEBUG  # noqa: E731
