"""The wire to an Ethereum node: one connection a thread, explicit time-outs, errors sorted into ours.

web3's HTTP provider is used for what it is good at (encoding, batches) with its own retries off: it would repeat
`eth_sendRawTransaction` unasked (NODES 0.12). Neither threads nor forked processes share a connection.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import requests
from web3 import HTTPProvider
from web3.types import RPCEndpoint

from ledger.crashpoint import crashpoint
from ledger.errors import NodeNotReady, NodeProtocolError, NodeUnavailable

#: A call with its parameters.
Call = tuple[str, Sequence[object]]

#: Calls in one HTTP request. geth takes 1000 of them, and 25 MB of answers.
BATCH_MAX = 50

#: EIP-1474: the node gave up, or will not serve us now.
_NO_ANSWER = {-32002, -32005}
_REASONS = {401: "credentials", 403: "forbidden"}


class RpcRefused(NodeProtocolError):
    """The node refused a call. The texts of geth and anvil differ: whoever made the call decides by other means."""

    def __init__(self, method: str, rpc_code: int, message: str) -> None:
        super().__init__(f"{method}: {rpc_code} {message}")
        self.rpc_code = rpc_code
        self.message = message


class EthereumClient:
    """Calls to one node. `url` is `http://[user:password@]host:port[/path]`; no error text or log line repeats it."""

    def __init__(self, url: str, timeout_seconds: float = 30) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("the Ethereum RPC URL must be http://host:port or https://host:port")
        self._url = url
        self._where = f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
        self._timeout_seconds = timeout_seconds
        self._local = threading.local()
        _keep_calls_out_of_logs()

    def read(self, method: str, *params: object) -> Any:
        """A call that may be repeated; it is, once, when the connection turns out to be closed."""
        return self._result(method, self._patiently(method, lambda: self._once(method, params)))

    def read_many(self, calls: Sequence[Call], at_once: int = BATCH_MAX) -> list[Any]:
        """Answers in the order of the calls. Raises `RpcRefused` when one of them is refused."""
        answers = self.try_many(calls, at_once)
        for answer in answers:
            if isinstance(answer, RpcRefused):
                raise answer
        return answers

    def try_many(self, calls: Sequence[Call], at_once: int = BATCH_MAX) -> list[Any]:
        """As `read_many`, with an `RpcRefused` in the place of each answer that was refused."""
        answers: list[Any] = []
        for start in range(0, len(calls), at_once):
            answers += self._batch(calls[start : start + at_once])
        return answers

    def change(self, method: str, *params: object) -> Any:
        """A call that changes or sends something: never repeated here. `NodeUnavailable` leaves open if it acted."""
        crashpoint(f"ethereum.{method}.before")
        try:
            reply = self._once(method, params)
        except OSError as error:
            raise self._unavailable(method, error) from None
        result = self._result(method, reply)
        crashpoint(f"ethereum.{method}.after")
        return result

    def _batch(self, calls: Sequence[Call]) -> list[Any]:
        requests_made = [(RPCEndpoint(method), list(params)) for method, params in calls]
        name = f"batch of {calls[0][0]}"
        replies = self._patiently(name, lambda: self._ask(name, lambda http: http.make_batch_request(requests_made)))
        if not isinstance(replies, list):
            raise self._refusal(name, replies)
        # The library sorts by id and hopes for the best where one is missing; a swapped answer is another's money.
        ids = [reply.get("id") for reply in replies if isinstance(reply, dict)]
        ours = [i for i in ids if type(i) is int]
        if len(ours) != len(calls) or ours != list(range(ours[0], ours[0] + len(calls))):
            raise NodeProtocolError(f"{name}: the answers do not belong to the questions")
        return [self._item(method, reply) for (method, _), reply in zip(calls, replies, strict=True)]

    def _item(self, method: str, reply: Any) -> Any:
        try:
            return self._result(method, reply)
        except RpcRefused as refusal:
            return refusal

    def _patiently(self, method: str, ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except (requests.Timeout, requests.HTTPError) as error:
            raise self._unavailable(method, error) from None
        except OSError:
            pass  # an idle connection that the node had closed
        try:
            return ask()
        except OSError as error:
            raise self._unavailable(method, error) from None

    def _once(self, method: str, params: Sequence[object]) -> Any:
        return self._ask(method, lambda http: http.make_request(RPCEndpoint(method), list(params)))

    def _ask(self, method: str, ask: Callable[[HTTPProvider], Any]) -> Any:
        try:
            return ask(self._provider())
        except OSError:  # requests' errors are all of this kind
            self._discard()
            raise
        except Exception as error:  # noqa: BLE001  # the library raises whatever a garbled reply makes it stumble over
            self._discard()
            raise NodeProtocolError(f"{method}: unreadable reply ({type(error).__name__})") from None

    def _provider(self) -> HTTPProvider:
        """This thread's connection; a new one after an error and after a fork."""
        local = self._local
        if getattr(local, "pid", None) != os.getpid():
            session = requests.Session()
            session.trust_env = False  # no proxy of the environment stands between us and our node
            session.headers["Accept-Encoding"] = "identity"  # the node is near: packing costs more than it saves
            options = {"timeout": self._timeout_seconds, "allow_redirects": False}
            local.session = session
            local.provider = HTTPProvider(
                self._url, request_kwargs=options, session=session, exception_retry_configuration=None
            )
            local.pid = os.getpid()
        provider: HTTPProvider = local.provider
        return provider

    def _discard(self) -> None:
        """Forget the connection; close it unless it belongs to the process we were forked from."""
        if getattr(self._local, "pid", None) == os.getpid():
            self._local.session.close()
        self._local.__dict__.clear()

    def _result(self, method: str, reply: Any) -> Any:
        if not isinstance(reply, dict):
            raise NodeProtocolError(f"{method}: the answer is not an object")
        if reply.get("error") is not None:
            raise self._refusal(method, reply)
        if "result" not in reply:
            raise NodeProtocolError(f"{method}: the answer has no result")
        return reply["result"]

    def _refusal(self, method: str, reply: Any) -> Exception:
        error = reply.get("error") if isinstance(reply, dict) else None
        code = error.get("code") if isinstance(error, dict) else None
        if not isinstance(error, dict) or not isinstance(code, int):
            return NodeProtocolError(f"{method}: an error without a code")
        message = str(error.get("message", ""))[:300]
        if code in _NO_ANSWER:
            return NodeUnavailable(f"{method}: {code} {message}")
        if "indexing is in progress" in message:  # geth, just after its start: what it does not find may exist
            return NodeNotReady(f"{method}: {message}")
        return RpcRefused(method, code, message)

    def _unavailable(self, method: str, error: Exception) -> NodeUnavailable:
        if isinstance(error, requests.HTTPError) and error.response is not None:
            status = error.response.status_code
            detail = f"{method}: the node at {self._where} answers HTTP {status}"
            return NodeUnavailable(detail, reason=_REASONS.get(status, "unreachable"))
        reason = "timed out" if isinstance(error, requests.Timeout) else type(error).__name__
        return NodeUnavailable(f"{method}: no answer from the Ethereum node at {self._where} ({reason})")


def _keep_calls_out_of_logs() -> None:
    """The libraries log addresses of nodes, with the password in them, and whole answers at DEBUG."""
    for name in ("web3.providers.HTTPProvider", "urllib3.connectionpool"):
        logger = logging.getLogger(name)
        if _no_debug not in logger.filters:
            logger.addFilter(_no_debug)


_no_debug: Callable[[logging.LogRecord], bool] = lambda record: record.levelno > logging.DEBUG  # noqa: E731
