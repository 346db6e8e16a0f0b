"""API keys: made, found, rotated, revoked. The database holds a keyed hash of each secret, never the secret.

A key reads `cf_<mode>_<id>_<secret>`. Request signing uses another secret, derived from the master for each key and
version and shown once; it never travels afterwards.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, insert, select, update

from ledger import audit
from ledger.db import Tx
from ledger.errors import InvalidInput, NotFound, Refused, StateConflict
from ledger.ids import is_id, new_id
from ledger.schema import api_key

#: Every scope with what it allows. Reading and writing are apart; nothing implies anything else.
SCOPES: dict[str, str] = {
    "accounts:read": "see accounts and their balances",
    "accounts:write": "create accounts",
    "addresses:read": "see addresses and payment requests",
    "addresses:write": "ask for addresses",
    "deposits:read": "see deposits",
    "transfers:read": "see transfers between accounts",
    "transfers:write": "move money between accounts of the project",
    "withdrawals:read": "see withdrawals",
    "withdrawals:create": "request, preview and cancel withdrawals",
    "withdrawals:approve": "approve and reject withdrawals",
    "escrows:read": "see escrows and who owned what",
    "escrows:write": "make, fund, release, refund, dispute and cancel escrows",
    "escrows:arbitrate": "decide disputed escrows",
    "swaps:read": "see quotes and swaps",
    "swaps:write": "ask for quotes and accept them",
    "webhooks:read": "see webhook endpoints and their deliveries",
    "webhooks:write": "make, change, test and delete webhook endpoints, deliver again",
    "events:read": "read the event sequence",
    "keys:read": "see the project's API keys",
    "keys:write": "create, rotate and revoke API keys, never with more than its own rights",
    "ledger:read": "read the entries of accounts",
    "admin": "operate the installation",
}

OVERLAP_MAX_SECONDS = 7 * 86_400

_TOKEN = re.compile(r"cf_(test|live)_([0-9a-f]{32})_([0-9a-f]{48})", re.ASCII)


class ScopeExceeded(Refused):
    """The new key would have more rights than the key that makes it."""

    code = "scope_exceeded"


@dataclass(frozen=True, slots=True)
class Token:
    """A key as it is sent, taken apart; nothing in it is proven yet."""

    mode: str
    public_id: str
    secret: str


@dataclass(frozen=True, slots=True)
class Wish:
    """What a new key shall be. `holder` is the person or program behind it; four eyes are two holders."""

    name: str
    holder: str
    scopes: Collection[str]
    cidrs: Collection[str] | None = None
    signed: bool = False  #: exits of money must carry an HMAC signature
    expires_at: int | None = None  #: microseconds


class Keyring:
    """All that is derived from the API's master secret (at least 32 bytes)."""

    def __init__(self, master: bytes, mode: str) -> None:
        if len(master) < 32:
            raise ValueError("the API secret has at least 32 bytes")
        self._master = master
        self.mode = mode
        self._pepper = self.derive("api-key-pepper")

    def derive(self, label: str) -> bytes:
        """A 32-byte key of its own for each use."""
        return hmac.new(self._master, f"coffer/{label}".encode(), hashlib.sha256).digest()

    def hash(self, secret: str) -> str:
        return hmac.new(self._pepper, secret.encode("ascii"), hashlib.sha256).hexdigest()

    def matches(self, secret: str, stored: str) -> bool:
        """In constant time."""
        return hmac.compare_digest(self.hash(secret), stored)

    def token(self, public_id: str, secret: str) -> str:
        return f"cf_{self.mode}_{public_id.removeprefix('ak_')}_{secret}"

    def signing_secret(self, public_id: str, version: int) -> str:
        """What the holder signs requests with, 64 hex digits."""
        return self.derive(f"request-signing/{public_id}/{version}").hex()


def parse(text: str) -> Token | None:
    """A key taken apart, None when it has not the shape of one."""
    match = _TOKEN.fullmatch(text)
    return None if match is None else Token(match[1], f"ak_{match[2]}", match[3])


def create(tx: Tx, ring: Keyring, project_id: int, wish: Wish, actor: str) -> tuple[Row[Any], str]:
    """(row, token). The token exists nowhere else: it is for the holder's eyes. Audited. Raises `InvalidInput`."""
    _check(tx, wish)
    secret, public_id = secrets.token_hex(24), new_id("ak")
    values = {
        "public_id": public_id,
        "project_id": project_id,
        "name": wish.name,
        "holder": wish.holder,
        "secret_hash": ring.hash(secret),
        "scopes": sorted(set(wish.scopes)),
        "cidrs": sorted(set(wish.cidrs)) if wish.cidrs else None,
        "signed": int(wish.signed),
        "signing_version": 1,
        "expires_at": wish.expires_at,
        "created_at": tx.now,
        "created_by": actor,
    }
    row_id = tx.insert(insert(api_key).values(values))
    told = {"name": wish.name, "holder": wish.holder, "scopes": values["scopes"], "signed": wish.signed}
    audit.record(tx, actor, "api_key.create", public_id, told)
    return tx.one(select(api_key).where(api_key.c.id == row_id)), ring.token(public_id, secret)


def create_within(tx: Tx, ring: Keyring, maker: Row[Any], wish: Wish, actor: str) -> tuple[Row[Any], str]:
    """As `create`, by another key of the project and within its rights: scopes, networks, expiry, signature, holder.

    Raises `ScopeExceeded`. The holder is the maker's: a key for another person would be a second pair of eyes.
    """
    if wish.holder != maker.holder:
        raise ScopeExceeded("the new key must have the same holder as the key that makes it")
    _check_within(maker, wish.scopes, wish.cidrs, wish.signed, wish.expires_at)
    return create(tx, ring, maker.project_id, wish, actor)


def rotate(
    tx: Tx, ring: Keyring, maker: Row[Any], public_id: str, overlap_seconds: int, actor: str
) -> tuple[Row[Any], str]:
    """A successor with the same rights; the old key ends after the overlap. Raises `NotFound`, `ScopeExceeded`,
    `StateConflict` for a key that has ended, or has its successor: another one would end with the old key's overlap."""
    old = find(tx, maker.project_id, public_id, locked=True)
    if state(old, tx.now) != "active":
        raise StateConflict("the key has ended", status=state(old, tx.now))
    if old.replaced_by is not None:
        raise StateConflict(f"the key has been replaced by {old.replaced_by}", status="active")
    wish = Wish(old.name, old.holder, old.scopes, old.cidrs, bool(old.signed), old.expires_at)
    made = create_within(tx, ring, maker, wish, actor)
    ends = min(filter(None, (old.expires_at, tx.now + overlap_seconds * 1_000_000)))
    ended = {"expires_at": ends, "replaced_by": made[0].public_id}
    tx.execute(update(api_key).where(api_key.c.id == old.id).values(ended))
    audit.record(tx, actor, "api_key.rotate", public_id, {"successor": made[0].public_id, "ends_at": ends})
    return made


def revoke(tx: Tx, project_id: int, public_id: str, actor: str) -> Row[Any]:
    """End a key at once; a repeat changes nothing. Audited. Raises `NotFound`."""
    row = find(tx, project_id, public_id, locked=True)
    if row.revoked_at is None:
        tx.execute(update(api_key).where(api_key.c.id == row.id).values(revoked_at=tx.now))
        audit.record(tx, actor, "api_key.revoke", public_id, {})
    return find(tx, project_id, public_id)


def find(tx: Tx, project_id: int, public_id: str, *, locked: bool = False) -> Row[Any]:
    """One of the project's keys. Raises `NotFound`."""
    query = select(api_key).where(api_key.c.public_id == public_id, api_key.c.project_id == project_id)
    row = tx.first(query.with_for_update() if locked else query) if is_id(public_id, "ak") else None
    if row is None:
        raise NotFound("no such API key")
    return row


def state(row: Row[Any], now: int) -> str:
    """`active`, `expired` or `revoked`."""
    if row.revoked_at is not None:
        return "revoked"
    return "expired" if row.expires_at is not None and row.expires_at <= now else "active"


def _check(tx: Tx, wish: Wish) -> None:
    unknown = sorted(set(wish.scopes) - SCOPES.keys())
    if unknown or not wish.scopes:
        raise InvalidInput("/scopes", f"unknown: {', '.join(unknown)}" if unknown else "at least one is needed")
    for number, cidr in enumerate(wish.cidrs or ()):
        try:
            ipaddress.ip_network(cidr)
        except ValueError:
            raise InvalidInput(f"/cidrs/{number}", "must be a network such as 203.0.113.0/24") from None
    if wish.expires_at is not None and wish.expires_at <= tx.now:
        raise InvalidInput("/expires_at", "must be in the future")


def _check_within(
    maker: Row[Any],
    scopes: Collection[str],
    cidrs: Collection[str] | None,
    signed: bool,
    expires_at: int | None,
) -> None:
    more = sorted(set(scopes) - set(maker.scopes))
    if more:
        raise ScopeExceeded(f"the key that makes it lacks {', '.join(more)}")
    if maker.signed and not signed:
        raise ScopeExceeded("a key that must sign makes only keys that must sign")
    if maker.expires_at is not None and (expires_at is None or expires_at > maker.expires_at):
        raise ScopeExceeded("it would outlive the key that makes it")
    if maker.cidrs and not (cidrs and all(_inside(cidr, maker.cidrs) for cidr in cidrs)):
        raise ScopeExceeded("it would be valid from more networks than the key that makes it")


def _inside(cidr: str, networks: Collection[str]) -> bool:
    try:
        inner = ipaddress.ip_network(cidr)
    except ValueError:
        return True  # `create` refuses it by name
    outer = [ipaddress.ip_network(network) for network in networks]
    return any(inner.version == net.version and inner.subnet_of(net) for net in outer)  # type: ignore[arg-type]
