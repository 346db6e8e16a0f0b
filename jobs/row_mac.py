"""The MAC that binds what a withdrawal pays, and who approved it, to a key that the database does not hold.

HMAC-SHA256 (RFC 2104) over a canonical text. A row changed or made by hand has no
valid MAC and is not signed.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

_FIELDS = (
    "public_id",
    "project_id",
    "account_id",
    "asset",
    "chain",
    "units",
    "fee_units",
    "address",
    "reference",
    "approvals_needed",
    "created_by",
)


class RowMac:
    """Computes and checks row MACs under one key of at least 32 bytes."""

    def __init__(self, key: bytes) -> None:
        if len(key) < 32:
            raise ValueError("a row MAC key has at least 32 bytes")
        self._key = key

    def withdrawal(self, values: Any) -> str:
        """The MAC of a withdrawal given as a mapping or a row with the fixed columns."""
        get = values.get if isinstance(values, dict) else lambda name: getattr(values, name)
        return self._over("withdrawal", *(f"{name}={get(name)}" for name in _FIELDS))

    def approval(self, withdrawal_mac: str, holder: str) -> str:
        """The MAC of one person's approval of exactly that withdrawal."""
        return self._over("approval", withdrawal_mac, holder)

    def call(self, public_id: str, call: Mapping[str, Any]) -> str:
        """The MAC of a contract call that an operator ordered, as exactly that payment."""
        return self._over("call", public_id, *(f"{name}={call.get(name)}" for name in ("chain", "to", "data")))

    def of_heads(self) -> hmac.HMAC:
        """A MAC to be fed a whole file of exported heads. Its key is another one, so that no row's MAC is a file's."""
        return hmac.new(hmac.digest(self._key, b"coffer heads", "sha256"), digestmod=hashlib.sha256)

    def same(self, stored: str, computed: str) -> bool:
        """Compare in constant time."""
        return hmac.compare_digest(stored.encode("utf-8"), computed.encode("utf-8"))

    def _over(self, *parts: str) -> str:
        text = "".join(f"{len(part.encode('utf-8'))}:{part}" for part in parts)  # lengths: no two lists read alike
        return hmac.new(self._key, text.encode("utf-8"), hashlib.sha256).hexdigest()
