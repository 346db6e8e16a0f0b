"""The MAC that binds what a withdrawal pays, who approved it, and what a swap pays whom, to a key no database holds.

HMAC-SHA256 (RFC 2104) over a canonical text. A row changed or made by hand has no
valid MAC and is not signed.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_SEALED, _NONCE_BYTES = "sealed:", 12

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


class Unsealable(ValueError):
    """A text that was not sealed under this key and for this name."""


class RowMac:
    """Computes and checks row MACs under one key of at least 32 bytes, and seals what rows must not show."""

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

    def seal(self, text: str, name: str) -> str:
        """The text under AES-256-GCM (NIST SP 800-38D), to be opened by the same name only."""
        nonce = os.urandom(_NONCE_BYTES)
        return _SEALED + b64encode(nonce + self._cipher().encrypt(nonce, text.encode("utf-8"), name.encode())).decode()

    def unseal(self, text: str, name: str) -> str:
        """What was sealed by this name. Raises `Unsealable`."""
        if not self.is_sealed(text):
            raise Unsealable("not sealed")
        try:
            sealed = b64decode(text.removeprefix(_SEALED), validate=True)
            return self._cipher().decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], name.encode()).decode("utf-8")
        except (InvalidTag, ValueError) as error:
            raise Unsealable(f"not sealed under this key as {name}") from error

    @staticmethod
    def is_sealed(text: str) -> bool:
        return text.startswith(_SEALED)

    def _cipher(self) -> AESGCM:
        return AESGCM(hmac.digest(self._key, b"coffer signed bytes", "sha256"))

    def same(self, stored: str, computed: str) -> bool:
        """Compare in constant time."""
        return hmac.compare_digest(stored.encode("utf-8"), computed.encode("utf-8"))

    def _columns(self, kind: str, values: Any, names: Sequence[str]) -> str:
        get = values.get if isinstance(values, dict) else lambda name: getattr(values, name)
        return self._over(kind, *(f"{name}={get(name)}" for name in names))

    def _over(self, *parts: str) -> str:
        text = "".join(f"{len(part.encode('utf-8'))}:{part}" for part in parts)  # lengths: no two lists read alike
        return hmac.new(self._key, text.encode("utf-8"), hashlib.sha256).hexdigest()
