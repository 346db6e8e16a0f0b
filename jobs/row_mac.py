"""The MAC that binds what a withdrawal pays, who approved it, and what a swap pays whom, to a key no database holds.

HMAC-SHA256 (RFC 2104) over a canonical text. A row changed or made by hand has no
valid MAC and is not signed.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
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

#: What a worker asks withdrawals by, long after the request: whose swap it is, by which quote, what moves, and whom it
#: may pay.
_SWAP_FIELDS = (
    "public_id",
    "project_id",
    "account_id",
    "quote_id",
    "sell_asset",
    "buy_asset",
    "sell_units",
    "buy_units",
    "network_fee_units",
    "slippage_ppm",
    "reference",
    "payout_address",
    "refund_address",
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
        return self._columns("withdrawal", values, _FIELDS)

    def swap(self, values: Any) -> str:
        """The MAC of a swap, likewise."""
        return self._columns("swap", values, _SWAP_FIELDS)

    def approval(self, withdrawal_mac: str, holder: str) -> str:
        """The MAC of one person's approval of exactly that withdrawal."""
        return self._over("approval", withdrawal_mac, holder)

    def call(self, public_id: str, call: Mapping[str, Any]) -> str:
        """The MAC of a contract call that an operator ordered, as exactly that payment."""
        return self._over("call", public_id, *(f"{name}={call.get(name)}" for name in ("chain", "to", "data")))

    def of_heads(self) -> hmac.HMAC:
        """A MAC to be fed a whole file of exported heads. Its key is another one, so that no row's MAC is a file's."""
        return hmac.new(hmac.digest(self._key, b"coffer heads", "sha256"), digestmod=hashlib.sha256)

    def manifest(self, text: str) -> str:
        """The MAC of what a backup says of itself."""
        return self._over("manifest", text)

    def same(self, stored: str, computed: str) -> bool:
        """Compare in constant time."""
        return hmac.compare_digest(stored.encode("utf-8"), computed.encode("utf-8"))

    def _columns(self, kind: str, values: Any, names: Sequence[str]) -> str:
        get = values.get if isinstance(values, dict) else lambda name: getattr(values, name)
        return self._over(kind, *(f"{name}={get(name)}" for name in names))

    def _over(self, *parts: str) -> str:
        text = "".join(f"{len(part.encode('utf-8'))}:{part}" for part in parts)  # lengths: no two lists read alike
        return hmac.new(self._key, text.encode("utf-8"), hashlib.sha256).hexdigest()
