"""The log of webhook deliveries, and sending again."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from api.answers import Answer, ok
from api.call import Call
from api.endpoints import Resource
from api.lists import narrowed
from api.shapes import PublicId, Range
from api.validation import Model, Shown
from jobs.webhooks import endpoints as webhook_endpoints
from jobs.webhooks import log as webhook_log
from ledger.db import Tx
from ledger.schema import webhook_delivery

resource = Resource("webhook_deliveries", __name__, "What was sent to webhook endpoints, and how they answered")

Status = Literal["pending", "delivered", "failed"]


class WebhookDeliverySummary(Shown):
    id: str
    endpoint: str
    event: str | None = Field(description="null: a ping")
    type: str
    resource: str = Field(description="What the event is about; its events arrive in order")
    redelivery: bool
    status: Status
    status_reason: str | None = Field(description="Of the last attempt, or what it waits for")
    tries: int = Field(description="Attempts of the schedule that have been used")
    next_attempt_at: str | None = Field(description="null while pending: it waits for an earlier event, or an endpoint")
    delivered_at: str | None
    created_at: str
    updated_at: str


class WebhookAttempt(Shown):
    number: int
    at: str
    http_status: int | None
    error: str | None = Field(description="Why there was no answer: `timeout`, `address_refused`, `tls_failed` …")
    milliseconds: int
    answer: str | None = Field(description="How the answer's body began")


class WebhookDelivery(WebhookDeliverySummary):
    attempts: list[WebhookAttempt]


class WebhookDeliveryList(Shown):
    data: list[WebhookDeliverySummary]
    next_cursor: str | None
    has_more: bool


class WebhookDeliveries(Shown):
    data: list[WebhookDelivery]


class DeliveryQuery(Range):
    endpoint: PublicId | None = None
    event: PublicId | None = None
    status: Status | None = None
    type: Annotated[str, StringConstraints(max_length=64)] | None = None


class Resend(Model):
    endpoint: PublicId | None = Field(None, description="One endpoint; all enabled ones that want it if not given")


@resource.read("/webhook_deliveries", WebhookDeliveryList, scope="webhooks:read", query=DeliveryQuery)
def list_webhook_deliveries(call: Call, tx: Tx, query: DeliveryQuery) -> Answer:
    """List deliveries, newest first."""
    d = webhook_delivery.c
    wanted = webhook_log.page(call.project_id)
    if query.endpoint is not None:
        row = webhook_endpoints.find(tx, call.project_id, query.endpoint, deleted=True)
        wanted = wanted.where(d.endpoint_id == row.id)
    if query.event is not None:
        wanted = wanted.where(d.event_id == webhook_log.find_event(tx, call.project_id, query.event).id)
    if query.type is not None:
        wanted = wanted.where(d.type == query.type)
    scope, rows = narrowed(call, tx, "webhook_deliveries", wanted, webhook_delivery, query)
    page = call.parts.cursors.page(scope, rows, query.limit, lambda r: webhook_log.views(tx, [row.id for row in r]))
    return ok(page)


@resource.read("/webhook_deliveries/<delivery_id>", WebhookDelivery, scope="webhooks:read", etag=True)
def get_webhook_delivery(call: Call, tx: Tx, delivery_id: str) -> Answer:
    """Read a delivery with every attempt."""
    return ok(webhook_log.view(tx, webhook_log.find(tx, call.project_id, delivery_id).id))


@resource.write(
    "/webhook_deliveries/<delivery_id>/redeliver",
    {202: WebhookDelivery},
    scope="webhooks:write",
    errors=("state_conflict",),
)
def redeliver_webhook(call: Call, tx: Tx, delivery_id: str) -> Answer:
    """Send the same event again, now. One that is still pending is brought forward; otherwise it is a new delivery."""
    row = webhook_log.find(tx, call.project_id, delivery_id)
    return Answer(202, webhook_log.view(tx, webhook_log.redeliver(tx, row)))


@resource.write(
    "/events/<event_id>/resend",
    {202: WebhookDeliveries},
    scope="webhooks:write",
    body=Resend,
    errors=("state_conflict",),
)
def resend_event(call: Call, tx: Tx, event_id: str, body: Resend) -> Answer:
    """Send an event again: to one endpoint, or to every enabled one that wants it."""
    ids = webhook_log.resend(tx, call.project_id, event_id, body.endpoint)
    return Answer(202, {"data": [webhook_log.view(tx, row_id) for row_id in ids]})
