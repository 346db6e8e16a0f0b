"""Where a project wants to be told of its events, and every attempt to tell it."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Column, Index, Integer, UniqueConstraint

from ledger.schema.base import key, link, moment, one_of, public_id, table, word
from ledger.schema.saga import due_index, saga_columns

#: Secrets are derived from a master key, the id and `secret_version`; the database holds none.
webhook_endpoint = table(
    "webhook_endpoint",
    key(),
    public_id(),
    link("project_id", "project.id", index=True),
    word("url", 512),
    word("description", 255, null=True),
    Column("events", JSON, nullable=False),  # type names, `<resource>.*`, or `*`
    word("state", 8),
    word("disabled_reason", 64, null=True),
    Column("secret_version", Integer, nullable=False, default=1),
    moment("previous_secret_until", null=True),  # the version before still signs until then
    Column("cursor", BigInteger, nullable=False, default=0),  # sequence of the last event that has its delivery row
    moment("failing_since", null=True),
    moment("delivered_at", null=True),
    Column("version", Integer, nullable=False, default=1),
    moment("created_at"),
    moment("updated_at"),
    one_of("state", ("enabled", "disabled", "deleted")),
)

DELIVERY_STATES = ("pending", "delivered", "failed")

#: One event for one endpoint. `round` counts redeliveries: each is a row of its own.
webhook_delivery = table(
    "webhook_delivery",
    key(),
    public_id(),
    link("project_id", "project.id"),
    word("queue", 16),
    link("endpoint_id", "webhook_endpoint.id"),
    link("event_id", "event.id", null=True),  # NULL: a test ping
    Column("round", Integer, nullable=False, default=0),
    word("type", 64),
    word("resource_id", 40),
    Column("tries", Integer, nullable=False, default=0),
    moment("delivered_at", null=True),
    *saga_columns(),
    UniqueConstraint("endpoint_id", "event_id", "round"),
    one_of("state", DELIVERY_STATES),
    due_index("webhook_delivery"),
    Index("ix_webhook_delivery_order", "endpoint_id", "resource_id", "state", "id"),
    Index("ix_webhook_delivery_project", "project_id", "id"),
    Index("ix_webhook_delivery_ready", "endpoint_id", "due_at", "lease_until"),  # so that no endpoint hides the others
)

webhook_attempt = table(
    "webhook_attempt",
    key(),
    link("delivery_id", "webhook_delivery.id"),
    Column("number", Integer, nullable=False),
    Column("status", Integer, nullable=True),  # of the HTTP answer; NULL: there was none
    word("error", 128, null=True),
    word("excerpt", 1024, null=True),  # how the answer began
    Column("milliseconds", Integer, nullable=False),
    moment("at"),
    UniqueConstraint("delivery_id", "number"),
)
