"""Signatures of webhooks by the Standard Webhooks scheme (https://www.standardwebhooks.com, v1, symmetric).

An endpoint's secret is derived from one master key, its public id and a version, so the database holds none. While a
secret is being replaced, the one before signs as well: a receiver may change over at any moment of the overlap.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any

from sqlalchemy import Row

PREFIX = "whsec_"


class WebhookKeys:
    """All that is derived from COFFER_WEBHOOK_KEY (at least 32 bytes)."""

    def __init__(self, master: bytes) -> None:
        if len(master) < 32:
            raise ValueError("the webhook key has at least 32 bytes")
        self._master = master

    def secret(self, endpoint_id: str, version: int) -> str:
        """What the receiver checks with: `whsec_` and the base64 of 32 bytes. `endpoint_id` is the public one."""
        return PREFIX + base64.b64encode(self._raw(endpoint_id, version)).decode("ascii")

    def signatures(self, endpoint: Row[Any], message_id: str, timestamp: int, body: bytes, now: int) -> str:
        """The `webhook-signature` header: one `v1,…` a secret that is valid, separated by spaces. `now` in micros."""
        versions = [endpoint.secret_version]
        if endpoint.secret_version > 1 and (endpoint.previous_secret_until or 0) > now:
            versions.append(endpoint.secret_version - 1)
        raw = [self._raw(endpoint.public_id, version) for version in versions]
        return " ".join(sign(secret, message_id, timestamp, body) for secret in raw)

    def _raw(self, endpoint_id: str, version: int) -> bytes:
        label = f"coffer/webhook/{endpoint_id}/{version}".encode("ascii")
        return hmac.new(self._master, label, hashlib.sha256).digest()


def sign(secret: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """`v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`; `timestamp` in seconds."""
    signed = f"{message_id}.{timestamp}.".encode("ascii") + body
    return "v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode("ascii")
