"""Who may ask: the installation, projects (shops), their keys, and what they asked already."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Column,
    ForeignKey,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    UniqueConstraint,
)
from sqlalchemy.dialects.mysql import MEDIUMBLOB

from ledger.schema.base import key, link, moment, one_of, public_id, table, word
from ledger.types import Id

installation = table(
    "installation",
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    word("mode", 8),
    word("public_id", 40),
    moment("created_at"),
    one_of("mode", ("test", "live")),
)

project = table("project", key(), public_id(), word("name", 64, unique=True), moment("created_at"))

api_key = table(
    "api_key",
    key(),
    public_id(),
    link("project_id", "project.id", index=True),
    word("name", 64),
    word("holder", 64),  # the person or program behind it; four eyes are two holders
    word("secret_hash", 64),
    Column("scopes", JSON, nullable=False),
    Column("cidrs", JSON, nullable=True),
    Column("signed", SmallInteger, nullable=False, default=0),  # exits of money must carry an HMAC signature
    Column("signing_version", Integer, nullable=False, default=1),
    moment("expires_at", null=True),
    moment("revoked_at", null=True),
    word("replaced_by", 40, null=True),  # public id of the successor that a rotation made
    moment("last_used_at", null=True),
    moment("created_at"),
    word("created_by", 128),
)

idempotency = table(
    "idempotency",
    Column("project_id", Id, ForeignKey("project.id"), nullable=False),
    word("idempotency_key", 255),
    word("request_hash", 64),
    Column("status", SmallInteger, nullable=True),
    Column("body", LargeBinary().with_variant(MEDIUMBLOB(), "mysql", "mariadb"), nullable=True),
    Column("headers", JSON, nullable=True),
    moment("created_at"),
    PrimaryKeyConstraint("project_id", "idempotency_key"),
)

request_nonce = table(
    "request_nonce",
    Column("api_key_id", Id, ForeignKey("api_key.id"), nullable=False),
    word("nonce", 64),
    moment("expires_at"),
    PrimaryKeyConstraint("api_key_id", "nonce"),
)

account = table(
    "account",
    key(),
    public_id(),
    link("project_id", "project.id"),
    word("reference", 128),
    word("kind", 16),
    word("frozen_reason", 64, null=True),
    moment("frozen_at", null=True),
    Column("version", Integer, nullable=False, default=1),
    moment("created_at"),
    moment("updated_at"),
    UniqueConstraint("project_id", "reference"),
    one_of("kind", ("house", "user", "vendor", "order")),
)
