"""Webhook endpoints: where the project wants to be told of its events."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError
from sqlalchemy import Row, select

from api import auth
from api.answers import Answer, created, ok
from api.call import Call
from api.endpoints import Resource
from api.sealed import open_seal, seal
from api.shapes import Label, Page
from api.validation import Model, Shown
from api.webhook_deliveries import WebhookDelivery
from jobs.webhooks import endpoints
from jobs.webhooks import log as webhook_log
from ledger.db import Tx
from ledger.schema import webhook_endpoint

resource = Resource("webhook_endpoints", __name__, "Where the project is told of its events")

Url = Annotated[
    str,
    StringConstraints(min_length=1, max_length=512),
    Field(description="https, of a public address", examples=["https://shop.example/coffer"]),
]
EventNames = Annotated[
    list[Annotated[str, StringConstraints(max_length=64)]],
    Field(min_length=1, max_length=100, description="`deposit.credited`, `deposit.*` or `*`"),
]


class NewWebhookEndpoint(Model):
    url: Url
    events: EventNames = Field(default_factory=lambda: ["*"])
    description: Label | None = None


class WebhookEndpointChanges(Model):
    url: Url | None = None
    events: EventNames | None = None
    description: Label | None = Field(None, description="null removes it")

    @model_validator(mode="after")
    def _something(self) -> WebhookEndpointChanges:
        if not self.model_fields_set:
            raise PydanticCustomError("field_required", "name at least one field to change")
        for name in ("url", "events"):
            if name in self.model_fields_set and getattr(self, name) is None:
                raise PydanticCustomError("type_wrong", f"{name} cannot be null")
        return self


class SecretRotation(Model):
    overlap_seconds: int = Field(
        86_400, ge=0, le=endpoints.OVERLAP_MAX_SECONDS, description="How long the old secret signs as well"
    )


class WebhookEndpoint(Shown):
    id: str
    url: str
    description: str | None
    events: list[str]
    status: Literal["enabled", "disabled", "deleted"]
    status_reason: str | None = Field(description="Of a disabled one: `customer`, `operator`, `failing`, `gone`")
    failing_since: str | None = Field(description="The first of the attempts that have failed since the last success")
    last_delivered_at: str | None
    previous_secret_until: str | None = Field(description="Until then two signatures are sent")
    created_at: str
    updated_at: str


class WebhookEndpointWithSecret(WebhookEndpoint):
    secret: str = Field(description="`whsec_…`; shown in this answer only")


class WebhookEndpointList(Shown):
    data: list[WebhookEndpoint]
    next_cursor: str | None
    has_more: bool


@resource.write(
    "/webhook_endpoints",
    {201: WebhookEndpointWithSecret},
    scope="webhooks:write",
    body=NewWebhookEndpoint,
    errors=("url_invalid", "limit_exceeded", "state_conflict", "scope_missing"),
    finish=open_seal,
)
def create_webhook_endpoint(call: Call, tx: Tx, body: NewWebhookEndpoint) -> Answer:
    """Add an endpoint. It gets what happens from now on, in order for each resource, at least once.

    The key needs `events:read` as well: that is what an endpoint is told.
    """
    auth.require_scope(call.key, "events:read")  # what the endpoint gets is what that scope shows
    guard = call.parts.services.require_webhooks().guard
    row = endpoints.create(tx, call.project_id, body.url, body.events, body.description, guard, call.actor)
    return created(_with_secret(call, row), "/webhook_endpoints")


@resource.read("/webhook_endpoints", WebhookEndpointList, scope="webhooks:read", query=Page)
def list_webhook_endpoints(call: Call, tx: Tx, query: Page) -> Answer:
    """List endpoints, newest first."""
    e = webhook_endpoint.c
    scope = ("webhook_endpoints", call.project_id)
    before = call.parts.cursors.take(scope, query.cursor)
    wanted = select(webhook_endpoint).where(e.project_id == call.project_id, e.state != "deleted")
    wanted = wanted if before is None else wanted.where(e.id < before)
    rows = tx.all(wanted.order_by(e.id.desc()).limit(query.limit + 1))
    return ok(call.parts.cursors.page(scope, rows, query.limit, lambda found: [endpoints.view(row) for row in found]))


@resource.read("/webhook_endpoints/<endpoint_id>", WebhookEndpoint, scope="webhooks:read", etag=True)
def get_webhook_endpoint(call: Call, tx: Tx, endpoint_id: str) -> Answer:
    """Read an endpoint."""
    return ok(endpoints.view(endpoints.find(tx, call.project_id, endpoint_id)))


@resource.update(
    "/webhook_endpoints/<endpoint_id>",
    WebhookEndpoint,
    scope="webhooks:write",
    body=WebhookEndpointChanges,
    errors=("url_invalid", "state_conflict", "version_conflict", "scope_missing"),
    etag=True,
)
def change_webhook_endpoint(call: Call, tx: Tx, endpoint_id: str, body: WebhookEndpointChanges) -> Answer:
    """Change its URL, its events or its description; fields that are not sent stay."""
    auth.require_scope(call.key, "events:read")
    row = _matched(call, tx, endpoint_id)
    guard = call.parts.services.require_webhooks().guard
    return ok(endpoints.view(endpoints.change(tx, row, body.model_dump(exclude_unset=True), guard, call.actor)))


@resource.delete("/webhook_endpoints/<endpoint_id>", WebhookEndpoint, scope="webhooks:write")
def delete_webhook_endpoint(call: Call, tx: Tx, endpoint_id: str) -> Answer:
    """Delete an endpoint for good; what waits for it is given up."""
    row = endpoints.find(tx, call.project_id, endpoint_id, deleted=True, locked=True)
    return ok(endpoints.view(endpoints.delete(tx, row, call.actor)))


@resource.write(
    "/webhook_endpoints/<endpoint_id>/enable",
    {200: WebhookEndpoint},
    scope="webhooks:write",
    errors=("version_conflict",),
    etag=True,
)
def enable_webhook_endpoint(call: Call, tx: Tx, endpoint_id: str) -> Answer:
    """Switch an endpoint on; it gets all that has happened since it was switched off."""
    return ok(endpoints.view(endpoints.enable(tx, _matched(call, tx, endpoint_id), call.actor)))


@resource.write(
    "/webhook_endpoints/<endpoint_id>/disable",
    {200: WebhookEndpoint},
    scope="webhooks:write",
    errors=("version_conflict",),
    etag=True,
)
def disable_webhook_endpoint(call: Call, tx: Tx, endpoint_id: str) -> Answer:
    """Switch an endpoint off; it keeps its place in the sequence."""
    return ok(endpoints.view(endpoints.disable(tx, _matched(call, tx, endpoint_id), "customer", call.actor)))


@resource.write(
    "/webhook_endpoints/<endpoint_id>/rotate_secret",
    {200: WebhookEndpointWithSecret},
    scope="webhooks:write",
    body=SecretRotation,
    errors=("state_conflict", "version_conflict"),
    finish=open_seal,
)
def rotate_webhook_secret(call: Call, tx: Tx, endpoint_id: str, body: SecretRotation) -> Answer:
    """Give an endpoint a new secret; until the overlap is over, the old one signs as well."""
    row = endpoints.rotate(tx, _matched(call, tx, endpoint_id), body.overlap_seconds, call.actor)
    return ok(_with_secret(call, row))


@resource.write("/webhook_endpoints/<endpoint_id>/test", {202: WebhookDelivery}, scope="webhooks:write")
def ping_webhook_endpoint(call: Call, tx: Tx, endpoint_id: str) -> Answer:
    """Send a ping: one message, tried once, also while the endpoint is disabled. Its delivery tells how it went."""
    row = endpoints.find(tx, call.project_id, endpoint_id, locked=True)
    return Answer(202, webhook_log.view(tx, webhook_log.ping(tx, row)))


def _matched(call: Call, tx: Tx, public_id: str) -> Row[Any]:
    row = endpoints.find(tx, call.project_id, public_id, locked=True)
    call.require_match(endpoints.view(row))
    return row


def _with_secret(call: Call, row: Row[Any]) -> dict[str, Any]:
    """What is stored for a repeat: the secret sealed, so that the database never holds it in clear."""
    secret = call.parts.services.require_webhooks().keys.secret(row.public_id, row.secret_version)
    return endpoints.view(row) | {"sealed": seal({"secret": secret}, row.public_id)}
