"""The storefront: an API key, JSON over HTTP, and nothing else of Coffer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import requests

from devstack.demo.figures import Deviation

_TIMEOUT_SECONDS = 20
#: A call and its answer that are longer take two lines.
_LINE = 105


@dataclass(frozen=True)
class Answer:
    status: int
    media: str
    replayed: bool  #: the stored answer of an earlier call with the same key
    body: Any


class Shop:
    """Calls of one shop. `tell` gets a line for each call that is worth telling."""

    def __init__(self, url: str, key: str, tell: Callable[[str], None]) -> None:
        self._url = url
        self._tell = tell
        self._http = requests.Session()
        self._http.trust_env = False  # a proxy of the machine has nothing to do with 127.0.0.1
        self._http.headers["Authorization"] = f"Bearer {key}"

    def post(self, path: str, body: Mapping[str, Any], *, key: str) -> Any:
        """A POST that must succeed; its resource. `key` is the Idempotency-Key: one for each thing that is wanted."""
        answer = self.ask(path, body, key=key)
        if answer.status >= 300:
            raise Deviation(f"POST {path} was refused: {answer.status} {answer.body}")
        asked = f"POST {'/'.join(_cut(part) for part in path.split('/'))} {_short(body)}".rstrip()
        told = f"-> {answer.status} {answer.body.get('id', '')}"
        self._tell(asked + ("\n" if len(asked) + len(told) > _LINE else " ") + told)
        return answer.body

    def ask(self, path: str, body: Mapping[str, Any], *, key: str | None = None) -> Answer:
        """A POST with any outcome, told by nobody."""
        headers = {} if key is None else {"Idempotency-Key": key}
        found = self._http.post(self._url + path, json=body, headers=headers, timeout=_TIMEOUT_SECONDS)
        media = found.headers["Content-Type"].partition(";")[0]
        return Answer(found.status_code, media, found.headers.get("Idempotent-Replayed") == "true", found.json())

    def get(self, path: str, **query: str | int) -> Any:
        """A GET that must succeed; its body."""
        found = self._http.get(self._url + path, params=query, timeout=_TIMEOUT_SECONDS)
        if found.status_code != 200:
            raise Deviation(f"GET {path} was refused: {found.status_code} {found.text}")
        return found.json()


def _short(body: Mapping[str, Any]) -> str:
    """The body for a reader: ids and addresses cut to what tells them apart."""
    return " ".join(f"{name}={_cut(str(value))}" for name, value in body.items())


def _cut(text: str) -> str:
    return text if len(text) <= 26 else f"{text[:8]}..{text[-6:]}"
