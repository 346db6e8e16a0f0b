"""Request signatures: proof that the holder of a key's signing secret sent exactly this call, now and once.

HMAC-SHA256, hex, under the signing secret's bytes (given at creation as hex), over six lines joined by newlines:
method, path with query, X-Timestamp (Unix seconds), X-Nonce, Idempotency-Key, SHA-256 of the body in hex.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Any

from flask import Request
from sqlalchemy import Row, insert
from sqlalchemy.exc import IntegrityError

from api.errors import Problem
from jobs.keys import Keyring
from ledger.db import Tx
from ledger.schema import request_nonce

#: A timestamp may be this far from the database's clock; a nonce is remembered for longer than that.
WINDOW_SECONDS = 300

_NONCE = re.compile(r"[!-~]{16,64}", re.ASCII)
_SIGNATURE = re.compile(r"[0-9a-f]{64}", re.ASCII)
_TIMESTAMP = re.compile(r"[0-9]{10}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature that holds; what remains is that its time is near and its nonce new (`spend`)."""

    key_id: int
    timestamp: int
    nonce: str

    def spend(self, tx: Tx) -> None:
        """Use the nonce up, in the transaction of the call. Raises `Problem` 401."""
        now = tx.now // 1_000_000
        if abs(now - self.timestamp) > WINDOW_SECONDS:
            raise Problem("signature_invalid", f"X-Timestamp is more than {WINDOW_SECONDS} seconds away")
        expires = (self.timestamp + 2 * WINDOW_SECONDS) * 1_000_000
        try:
            tx.execute(insert(request_nonce).values(api_key_id=self.key_id, nonce=self.nonce, expires_at=expires))
        except IntegrityError:
            raise Problem("signature_invalid", "X-Nonce has been used") from None


def check(request: Request, raw: bytes, key: Row[Any], ring: Keyring, *, required: bool) -> Signature | None:
    """The request's signature; None when it has none and needs none. Raises `Problem` 401."""
    given = request.headers.get("X-Signature")
    if given is None:
        if required and key.signed:
            raise Problem("signature_required", "send X-Timestamp, X-Nonce and X-Signature")
        return None
    timestamp, nonce = request.headers.get("X-Timestamp", ""), request.headers.get("X-Nonce", "")
    if not (_TIMESTAMP.fullmatch(timestamp) and _NONCE.fullmatch(nonce) and _SIGNATURE.fullmatch(given)):
        raise Problem("signature_invalid", "X-Timestamp, X-Nonce or X-Signature is missing or malformed")
    path = request.path + ("?" + request.query_string.decode("ascii", "replace") if request.query_string else "")
    idempotency_key = request.headers.get("Idempotency-Key", "")
    secret = ring.signing_secret(key.public_id, key.signing_version)
    expected = sign(secret, request.method, path, timestamp, nonce, idempotency_key, raw)
    if not hmac.compare_digest(expected, given):
        raise Problem("signature_invalid", "X-Signature does not match this request")
    return Signature(key.id, int(timestamp), nonce)


def sign(secret: str, method: str, path: str, timestamp: str, nonce: str, idempotency_key: str, body: bytes) -> str:
    """What a client computes. `path` carries the query when there is one."""
    lines = [method, path, timestamp, nonce, idempotency_key, hashlib.sha256(body).hexdigest()]
    return hmac.new(bytes.fromhex(secret), "\n".join(lines).encode(), hashlib.sha256).hexdigest()
