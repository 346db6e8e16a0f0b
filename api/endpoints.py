"""How an endpoint is declared: one decorator tells the router, the gate and the OpenAPI document the same facts.

A handler of `read` gets (call, tx) and runs in a read transaction; one of `write` runs in the transaction that also
stores its answer (docs/adr/0004). Path parts, and `body` or `query` when declared, follow as keyword arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Blueprint
from pydantic import BaseModel

from api.declaration import Endpoint, Handler
from api.perform import perform


class Resource(Blueprint):
    """A Blueprint of one resource's endpoints, under /v1."""

    def __init__(self, name: str, import_name: str, about: str) -> None:
        super().__init__(name, import_name, url_prefix="/v1")
        self.about = about
        self.endpoints: list[Endpoint] = []

    def read(
        self, path: str, answer: type[BaseModel], *, method: str = "GET", **facts: Any
    ) -> Callable[[Handler], Handler]:
        """A call that writes nothing."""
        return self._declare(method, path, answers={200: answer}, **facts)

    def write(self, path: str, answers: dict[int, type[BaseModel]], **facts: Any) -> Callable[[Handler], Handler]:
        """A POST whose effect and answer are stored under its Idempotency-Key."""
        return self._declare("POST", path, answers=answers, write=True, keyed=True, **facts)

    def update(self, path: str, answer: type[BaseModel], **facts: Any) -> Callable[[Handler], Handler]:
        """A PATCH of named fields: the same however often it is repeated, so it needs no key."""
        return self._declare("PATCH", path, answers={200: answer}, write=True, **facts)

    def delete(self, path: str, answer: type[BaseModel], **facts: Any) -> Callable[[Handler], Handler]:
        """A DELETE: the same however often it is repeated, so it needs no key."""
        return self._declare("DELETE", path, answers={200: answer}, write=True, **facts)

    def _declare(self, method: str, path: str, **facts: Any) -> Callable[[Handler], Handler]:
        def register(handler: Handler) -> Handler:
            summary, _, description = (handler.__doc__ or handler.__name__).partition("\n")
            text = " ".join(description.split())
            endpoint = Endpoint(handler.__name__, self.name, method, path, handler, summary.rstrip("."), text, **facts)
            self.endpoints.append(endpoint)
            self.add_url_rule(path, handler.__name__, _view(endpoint), methods=[method])
            return handler

        return register


def _view(endpoint: Endpoint) -> Callable[..., Any]:
    def view(**path: str) -> Any:
        return perform(endpoint, path)

    return view
