"""What keeps the engine running and accountable."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    UniqueConstraint,
)

from ledger.schema.base import key, link, moment, one_of, public_id, table, word
from ledger.schema.saga import due_index, saga_columns
from ledger.types import Id, Micros, Units, units_checks

#: Periodic work as rows: scan, batch, watch, sequence … A task has one state and is due again and again.
task = table(
    "task",
    key(),
    word("name", 48, unique=True),
    word("queue", 16),
    Column("interval_us", BigInteger, nullable=False),
    Column("progress", JSON, nullable=True),
    *saga_columns(),
    due_index("task"),
)

#: Named leases outside a row: one signer a wallet, one active scheduler.
lease = table(
    "lease",
    Column("name", String(64), primary_key=True),
    word("token", 32, null=True),
    word("owner", 128, null=True),
    Column("until", Micros, nullable=False, default=0),
)

transition = table(
    "transition",
    key(),
    word("kind", 16),
    Column("row_id", Id, nullable=False),
    word("from_state", 24, null=True),
    word("to_state", 24),
    word("reason", 64, null=True),
    word("actor", 128, null=True),
    moment("at"),
    Index("ix_transition_row", "kind", "row_id", "id"),
)

#: `sequence` is NULL until the sequencer numbers it; per project without a gap. Readers see numbered rows only.
event = table(
    "event",
    key(),
    public_id(),
    link("project_id", "project.id"),
    Column("sequence", BigInteger, nullable=True),
    word("type", 64),
    word("resource_kind", 16),
    word("resource_id", 40),
    Column("data", JSON, nullable=False),
    moment("created_at"),
    UniqueConstraint("project_id", "sequence"),
    Index("ix_event_unnumbered", "sequence", "id"),
)

internal_transfer = table(
    "internal_transfer",
    key(),
    public_id(),
    link("project_id", "project.id"),
    link("from_account_id", "account.id"),
    link("to_account_id", "account.id"),
    word("asset", 24),
    Column("units", Units, nullable=False),
    word("reference", 128),
    Column("metadata", JSON, nullable=True),
    moment("created_at"),
    UniqueConstraint("project_id", "reference"),
    *units_checks("units", positive=True),
)

pause = table(
    "pause",
    word("asset", 24),
    word("flow", 16),
    word("reason", 255),
    word("actor", 128),
    moment("at"),
    PrimaryKeyConstraint("asset", "flow"),
)

#: Why nothing is signed on a chain: one row a cause, until an operator takes it away.
halt = table(
    "halt",
    word("chain", 16),
    word("cause", 32),
    word("reason", 512),
    word("actor", 128),
    moment("at"),
    PrimaryKeyConstraint("chain", "cause"),
)

#: How far the signer's own record of a chain is known here: the number and hash of its newest entry.
signer_head = table(
    "signer_head",
    word("chain", 16),
    Column("entries", BigInteger, nullable=False),
    word("hash", 64),
    moment("at"),
    PrimaryKeyConstraint("chain"),
)

#: What left a wallet and no payment here made: by transaction id, or by the resource that is used where the chain tells
#: no more than that.
outgoing = table(
    "outgoing",
    key(),
    word("chain", 16),
    word("name", 128),
    Column("resources", JSON, nullable=False),
    Column("height", BigInteger, nullable=True),
    word("state", 12),
    word("actor", 128, null=True),  # who has looked into it
    word("note", 512, null=True),
    moment("seen_at"),
    UniqueConstraint("chain", "name"),
    one_of("state", ("before", "unknown", "accepted")),
)

#: A difference between books and chain that an operator lets stand: as long as it is this one, nothing pauses for it.
difference = table(
    "difference",
    Column("asset", String(24), ForeignKey("asset.code"), primary_key=True),
    Column("units", Units, nullable=False),
    Column("places", JSON, nullable=False),  # units missing by index
    word("reason", 512),
    word("actor", 128),
    moment("at"),
)

#: When this database was put in place from a backup: the marks it was taken at, and how far each chain's comparison is.
restoration = table(
    "restoration",
    key(),
    word("backup_id", 40),
    moment("taken_at"),
    moment("restored_at"),
    word("actor", 128),
    Column("marks", JSON, nullable=False),
    Column("report", JSON, nullable=True),
)

#: Versioned settings that are rows: the newest row of (asset, name) counts.
policy = table(
    "policy",
    key(),
    word("asset", 24),
    word("name", 48),
    Column("value", JSON, nullable=True),
    word("actor", 128),
    moment("at"),
    Index("ix_policy_current", "asset", "name", "id"),
)

#: Every operator act, each row carrying the hash of the one before.
audit = table(
    "audit",
    Column("id", Id, primary_key=True, autoincrement=False),
    moment("at"),
    word("actor", 128),
    word("action", 64),
    word("target", 128),
    Column("details", JSON, nullable=False),
    word("previous_hash", 64),
    word("hash", 64),
)

audit_head = table(
    "audit_head",
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("audit_id", Id, nullable=False),
    word("hash", 64),
)

alarm = table(
    "alarm",
    key(),
    word("name", 48),
    word("subject", 64),
    word("detail", 512),
    Column("open", SmallInteger, nullable=True),  # 1, or NULL once cleared
    Column("count", Integer, nullable=False, default=1),
    moment("first_at"),
    moment("last_at"),
    UniqueConstraint("name", "subject", "open"),
)
