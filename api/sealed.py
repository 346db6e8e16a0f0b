"""Secrets inside stored answers: a repeat with the same Idempotency-Key shows them again, the database cannot."""

from __future__ import annotations

import json
import os
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Row, select

from api.parts import parts
from ledger.db import Tx
from ledger.schema import api_key

_NONCE_BYTES = 12


def seal(secrets: dict[str, Any], resource_id: str) -> str:
    """AES-256-GCM under a key from the API's master secret, bound to the resource."""
    nonce = os.urandom(_NONCE_BYTES)
    text = json.dumps(secrets).encode("utf-8")
    return (nonce + _cipher().encrypt(nonce, text, resource_id.encode("ascii"))).hex()


def openers(tx: Tx, key: Row[Any]) -> list[str]:
    """The API keys whose sealed answers are opened for this one: itself, and those that it came in the place of, which
    had its rights. Another key of the same person may have fewer, and would find more in such an answer than it may
    give to a key that it makes."""
    k = api_key.c
    query = select(k.public_id, k.replaced_by).where(k.project_id == key.project_id, k.replaced_by.is_not(None))
    replaced = {row.replaced_by: row.public_id for row in tx.all(query)}
    found = [str(key.public_id)]
    while (older := replaced.pop(found[-1], None)) is not None:
        found.append(older)
    return found


def open_seal(body: dict[str, Any]) -> dict[str, Any]:
    """The answer with its secrets in the place of the seal."""
    sealed = bytes.fromhex(body["sealed"])
    nonce, text = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
    shown = {name: value for name, value in body.items() if name != "sealed"}
    return shown | json.loads(_cipher().decrypt(nonce, text, body["id"].encode("ascii")))


def _cipher() -> AESGCM:
    return AESGCM(parts().ring.derive("sealed-answers"))
