"""One call as its handler sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row

from api.answers import dump, etag
from api.errors import Problem
from api.parts import Parts
from jobs.caller import Caller


@dataclass(frozen=True)
class Call:
    """`key` is the API key's row."""

    parts: Parts
    key: Row[Any]
    request_id: str
    if_match: str | None = None

    @property
    def project_id(self) -> int:
        return int(self.key.project_id)

    @property
    def caller(self) -> Caller:
        return Caller(self.project_id, self.key.id, self.key.holder, self.actor)

    @property
    def actor(self) -> str:
        """Who history and audit rows name."""
        return f"key:{self.key.public_id}"

    def require_match(self, shown: dict[str, Any]) -> None:
        """Raises `Problem` 412 when the client's If-Match is of another version than the one `shown` now."""
        if self.if_match is None or self.if_match.strip() == "*":
            return
        if etag(dump(shown)) not in [tag.strip() for tag in self.if_match.split(",")]:
            raise Problem("version_conflict", "the resource is no longer the one that was read")
