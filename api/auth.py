"""Who calls: the bearer key, checked in constant time and once more inside the call's own transaction."""

from __future__ import annotations

import hashlib
import ipaddress
import threading
import time
from typing import Any

from sqlalchemy import Row, bindparam, select, update

from api.errors import Problem
from jobs import keys
from jobs.keys import Keyring
from ledger.db import Database, Tx
from ledger.errors import DatabaseError
from ledger.schema import api_key

#: A proven key is looked up again after this time; `confirm` re-reads what may have ended it in every call.
REMEMBERED_SECONDS = 1.0

#: `last_used_at` is exact to this.
USED_EVERY_US = 15 * 60 * 1_000_000

_STANDING = select(api_key.c.revoked_at, api_key.c.expires_at).where(api_key.c.id == bindparam("key"))

_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="coffer"'}


class Gate:
    """Finds the key behind an Authorization header. Safe to share between threads."""

    def __init__(self, database: Database, ring: Keyring) -> None:
        self._database = database
        self._ring = ring
        self._lock = threading.Lock()
        self._known: dict[bytes, tuple[float, Row[Any]]] = {}

    def identify(self, header: str | None, remote: str | None) -> Row[Any]:
        """The key's row. Raises `Problem` 401 or 403; the reason never tells which part was wrong."""
        scheme, _, text = (header or "").partition(" ")
        token = keys.parse(text.strip()) if scheme.lower() == "bearer" else None
        if token is None:
            raise unauthorized("send Authorization: Bearer cf_…")
        if token.mode != self._ring.mode:
            raise unauthorized(f"this installation takes {self._ring.mode} keys only")
        digest = hashlib.sha256(text.encode("ascii", "replace")).digest()
        row = self._remembered(digest) or self._look_up(token, digest)
        _check_network(row, remote)
        return row

    def _remembered(self, digest: bytes) -> Row[Any] | None:
        with self._lock:
            until, row = self._known.get(digest, (0.0, None))
        return row if until > time.monotonic() else None

    def _look_up(self, token: keys.Token, digest: bytes) -> Row[Any]:
        row = self._database.read(lambda tx: tx.first(select(api_key).where(api_key.c.public_id == token.public_id)))
        stored = "0" * 64 if row is None else row.secret_hash
        if not self._ring.matches(token.secret, stored) or row is None:
            raise unauthorized("the key is unknown")
        now = self._database.read(lambda tx: tx.now) if row.expires_at is not None else 0
        if keys.state(row, now) != "active":
            raise unauthorized("the key has ended")
        self._note_use(row)
        with self._lock:
            if len(self._known) > 10_000:
                self._known.clear()
            self._known[digest] = (time.monotonic() + REMEMBERED_SECONDS, row)
        return row

    def _note_use(self, row: Row[Any]) -> None:
        def unit(tx: Tx) -> None:
            stale = api_key.c.last_used_at.is_(None) | (api_key.c.last_used_at < tx.now - USED_EVERY_US)
            tx.execute(update(api_key).where((api_key.c.id == row.id) & stale).values(last_used_at=tx.now))

        if row.last_used_at is not None and row.last_used_at > time.time_ns() // 1000 - USED_EVERY_US:
            return
        try:
            self._database.run(unit, "api.key_used")
        except DatabaseError:
            return  # a courtesy; the call itself will tell


def confirm(tx: Tx, row: Row[Any]) -> None:
    """That the key still stands, in the transaction that acts for it. Raises `Problem` 401."""
    now = tx.execute(_STANDING, {"key": row.id}).first()
    if now is None or keys.state(now, tx.now) != "active":
        raise unauthorized("the key has ended")


def require_scope(row: Row[Any], scope: str | None) -> None:
    """Raises `Problem` 403 naming the missing scope."""
    if scope is not None and scope not in row.scopes:
        raise Problem("scope_missing", f"this call needs the scope {scope}", scope=scope)


def unauthorized(detail: str) -> Problem:
    return Problem("unauthorized", detail, headers=dict(_CHALLENGE))


def _check_network(row: Row[Any], remote: str | None) -> None:
    if not row.cidrs:
        return
    try:
        address = ipaddress.ip_address(remote or "")
    except ValueError:
        raise Problem("address_not_allowed") from None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if not any(address in ipaddress.ip_network(cidr) for cidr in row.cidrs):
        raise Problem("address_not_allowed")
