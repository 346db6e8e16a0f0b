"""What a handler returns, and the bytes that are stored and sent."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Stored:
    """An answer as bytes, as the idempotency row keeps it."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, JSON object, headers."""

    status: int
    body: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)

    def stored(self) -> Stored:
        return Stored(self.status, dump(self.body), self.headers)


def ok(body: dict[str, Any]) -> Answer:
    return Answer(200, body)


def created(body: dict[str, Any], path: str, status: int = 201) -> Answer:
    """A new resource; `path` is where it can be read, from /v1 on."""
    return Answer(status, body, {"Location": f"/v1{path}/{body['id']}"})


def dump(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8")


def etag(body: bytes) -> str:
    """A strong validator of these bytes: confirmations change a deposit's answer without a new row version."""
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'
