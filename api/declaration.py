"""What is declared of one call: the router, the gate, the transaction and the OpenAPI document read the same facts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from api.answers import Answer

Handler = Callable[..., Answer]
Finish = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class Endpoint:
    """One call. `answers` maps each success status to the model of its body; `errors` are the codes of its own,
    beyond what every call may meet. `finish` adds to the body what is not stored (secrets, pictures)."""

    name: str
    tag: str
    method: str
    path: str
    handler: Handler
    summary: str
    description: str
    scope: str | None
    answers: dict[int, type[BaseModel]]
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    errors: tuple[str, ...] = ()
    write: bool = False
    keyed: bool = False  #: takes an Idempotency-Key
    signed: bool = False  #: a key that must sign must sign this
    etag: bool = False
    finish: Finish | None = None
