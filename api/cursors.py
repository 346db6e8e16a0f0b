"""Opaque list cursors: signed, and valid only for the list and the filters they were given for."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from api.errors import invalid

T = TypeVar("T")

_MAC_BYTES = 12


class Cursors:
    """Makes and reads cursors under one key."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def give(self, scope: Sequence[Any], position: int) -> str:
        """A cursor for what follows `position` in the list that `scope` (name, project, filters) describes."""
        text = str(position).encode("ascii")
        return base64.urlsafe_b64encode(self._mac(scope, text) + text).decode("ascii").rstrip("=")

    def take(self, scope: Sequence[Any], cursor: str | None) -> int | None:
        """The position. Raises `Problem` 422 for any text that was not given for this list."""
        if cursor is None:
            return None
        try:
            raw = base64.urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        except (UnicodeEncodeError, ValueError):
            raise invalid("cursor", "is not a cursor of this list", "cursor_invalid") from None
        mac, text = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(scope, text)):
            raise invalid("cursor", "is not a cursor of this list", "cursor_invalid")
        return int(text)

    def page(
        self,
        scope: Sequence[Any],
        rows: Sequence[Any],
        limit: int,
        render: Callable[[list[Any]], list[dict[str, Any]]],
    ) -> dict[str, Any]:
        """`rows` were fetched with limit + 1, newest first: the one too many tells that there are more."""
        shown = list(rows[:limit])
        more = len(rows) > limit
        last = self.give(scope, shown[-1].id) if more else None
        return {"data": render(shown), "next_cursor": last, "has_more": more}

    def _mac(self, scope: Sequence[Any], text: bytes) -> bytes:
        place = json.dumps([str(part) for part in scope]).encode("utf-8")
        return hmac.new(self._key, place + b"\n" + text, hashlib.sha256).digest()[:_MAC_BYTES]
