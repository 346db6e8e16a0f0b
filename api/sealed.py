"""Secrets inside stored answers: a repeat with the same Idempotency-Key shows them again, the database cannot."""

from __future__ import annotations

import json
import os
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from api.parts import parts

_NONCE_BYTES = 12


def seal(secrets: dict[str, Any], resource_id: str) -> str:
    """AES-256-GCM under a key from the API's master secret, bound to the resource."""
    nonce = os.urandom(_NONCE_BYTES)
    text = json.dumps(secrets).encode("utf-8")
    return (nonce + _cipher().encrypt(nonce, text, resource_id.encode("ascii"))).hex()


def open_seal(body: dict[str, Any]) -> dict[str, Any]:
    """The answer with its secrets in the place of the seal."""
    sealed = bytes.fromhex(body["sealed"])
    nonce, text = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
    shown = {name: value for name, value in body.items() if name != "sealed"}
    return shown | json.loads(_cipher().decrypt(nonce, text, body["id"].encode("ascii")))


def _cipher() -> AESGCM:
    return AESGCM(parts().ring.derive("sealed-answers"))
