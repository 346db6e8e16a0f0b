"""API keys of the project, managed by keys with the scope for it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field
from sqlalchemy import Row, select

from api.answers import Answer, created, ok
from api.call import Call
from api.endpoints import Resource
from api.sealed import open_seal, seal
from api.shapes import Moment, Name, Page, micros
from api.validation import Model, Shown
from jobs import keys
from jobs.views import maybe_when, when
from ledger.db import Tx
from ledger.schema import api_key

resource = Resource("api_keys", __name__, "Keys of the project")


class NewKey(Model):
    name: Name
    scopes: list[str] = Field(min_length=1, max_length=50, description="Not more than the calling key has")
    cidrs: list[str] | None = Field(None, min_length=1, max_length=50, description="Networks that it is valid from")
    signed: bool = Field(False, description="Calls that let money out must carry a signature")
    expires_at: Moment | None = None


class Rotation(Model):
    overlap_seconds: int = Field(
        3600, ge=0, le=keys.OVERLAP_MAX_SECONDS, description="How long the old key stays valid"
    )


class ApiKey(Shown):
    id: str
    name: str
    holder: str = Field(description="The person or program behind it; approvals count holders")
    scopes: list[str]
    cidrs: list[str] | None
    signed: bool
    status: Literal["active", "expired", "revoked"]
    expires_at: str | None
    revoked_at: str | None
    replaced_by: str | None = Field(description="The key that a rotation put in its place")
    last_used_at: str | None
    created_at: str
    created_by: str


class ApiKeyWithSecret(ApiKey):
    key: str = Field(description="Shown in this answer only")
    signing_secret: str | None = Field(description="For keys that sign; shown in this answer only")


class ApiKeyList(Shown):
    data: list[ApiKey]
    next_cursor: str | None
    has_more: bool


@resource.write(
    "/api_keys",
    {201: ApiKeyWithSecret},
    scope="keys:write",
    body=NewKey,
    errors=("scope_exceeded", "signature_required"),
    signed=True,
    finish=open_seal,
)
def create_key(call: Call, tx: Tx, body: NewKey) -> Answer:
    """Create a key of the same holder, with no more rights than the calling key."""
    expires_at = None if body.expires_at is None else micros(body.expires_at, "/expires_at")
    wish = keys.Wish(body.name, call.key.holder, body.scopes, body.cidrs, body.signed, expires_at)
    row, token = keys.create_within(tx, call.parts.ring, call.key, wish, call.actor)
    return created(_with_secret(call, tx, row, token), "/api_keys")


@resource.read("/api_keys", ApiKeyList, scope="keys:read", query=Page)
def list_keys(call: Call, tx: Tx, query: Page) -> Answer:
    """List keys, newest first; secrets are never shown again."""
    k = api_key.c
    scope = ("api_keys", call.project_id)
    before = call.parts.cursors.take(scope, query.cursor)
    wanted = select(api_key).where(k.project_id == call.project_id)
    wanted = wanted if before is None else wanted.where(k.id < before)
    rows = tx.all(wanted.order_by(k.id.desc()).limit(query.limit + 1))
    return ok(call.parts.cursors.page(scope, rows, query.limit, lambda r: [_render(tx, row) for row in r]))


@resource.read("/api_keys/<key_id>", ApiKey, scope="keys:read", etag=True)
def get_key(call: Call, tx: Tx, key_id: str) -> Answer:
    """Read a key."""
    return ok(_render(tx, keys.find(tx, call.project_id, key_id)))


@resource.write(
    "/api_keys/<key_id>/rotate",
    {201: ApiKeyWithSecret},
    scope="keys:write",
    body=Rotation,
    errors=("scope_exceeded", "state_conflict", "signature_required"),
    signed=True,
    finish=open_seal,
)
def rotate_key(call: Call, tx: Tx, key_id: str, body: Rotation) -> Answer:
    """Replace a key by a new one with the same rights; the old one ends after the overlap."""
    row, token = keys.rotate(tx, call.parts.ring, call.key, key_id, body.overlap_seconds, call.actor)
    return created(_with_secret(call, tx, row, token), "/api_keys")


@resource.delete("/api_keys/<key_id>", ApiKey, scope="keys:write")
def revoke_key(call: Call, tx: Tx, key_id: str) -> Answer:
    """Revoke a key, at once and for good."""
    return ok(_render(tx, keys.revoke(tx, call.project_id, key_id, call.actor)))


def _render(tx: Tx, row: Row[Any]) -> dict[str, Any]:
    return {
        "id": row.public_id,
        "name": row.name,
        "holder": row.holder,
        "scopes": row.scopes,
        "cidrs": row.cidrs,
        "signed": bool(row.signed),
        "status": keys.state(row, tx.now),
        "expires_at": maybe_when(row.expires_at),
        "revoked_at": maybe_when(row.revoked_at),
        "replaced_by": row.replaced_by,
        "last_used_at": maybe_when(row.last_used_at),
        "created_at": when(row.created_at),
        "created_by": row.created_by,
    }


def _with_secret(call: Call, tx: Tx, row: Row[Any], token: str) -> dict[str, Any]:
    """What is stored for a repeat: the key itself sealed, so that the database never holds it in clear."""
    secret = call.parts.ring.signing_secret(row.public_id, row.signing_version) if row.signed else None
    return _render(tx, row) | {"sealed": seal({"key": token, "signing_secret": secret}, row.public_id)}
