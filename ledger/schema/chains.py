"""What we know of each chain, and the addresses that we gave out on it."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Text,
    UniqueConstraint,
)

from ledger.schema.base import key, link, moment, one_of, public_id, table, word
from ledger.schema.saga import due_index, saga_columns
from ledger.types import Id, Units, units_checks

chain = table(
    "chain",
    Column("name", String(16), primary_key=True),
    word("genesis_hash", 66, null=True),  # fixed at the first contact with the node
    word("account_public_key", 512, null=True),
    Column("hot_index", BigInteger, nullable=True),  # the index that is the hot wallet itself, where there is one
    Column("watched_count", BigInteger, nullable=False, default=0),
    Column("tip_height", BigInteger, nullable=True),
    word("tip_hash", 66, null=True),
    Column("final_height", BigInteger, nullable=True),  # NULL: this chain does not say what it calls final
    Column("scan_cursor", Text, nullable=True),
    Column("fee_rate", BigInteger, nullable=True),
    word("fee_source", 16, null=True),
    word("health_reason", 32, null=True),  # NULL: the node may be relied on
    word("health_detail", 512, null=True),
    moment("scanned_at", null=True),
    moment("health_at", null=True),
)

#: Addresses that the wallet has made and stored ahead of use, on chains where no public key can derive them.
ready_address = table(
    "ready_address",
    Column("chain", String(16), ForeignKey("chain.name"), nullable=False),
    Column("idx", BigInteger, nullable=False),
    word("address", 128),
    PrimaryKeyConstraint("chain", "idx"),
    UniqueConstraint("chain", "address"),
)

#: What the books expect on each index where money lies apart until it is swept; no row means nothing. The hot wallet
#: itself has no row: it holds the rest of the treasury.
holding = table(
    "holding",
    Column("chain", String(16), ForeignKey("chain.name"), nullable=False),
    Column("asset", String(24), ForeignKey("asset.code"), nullable=False),
    Column("idx", BigInteger, nullable=False),
    Column("units", Units, nullable=False),
    Column("present", SmallInteger, nullable=False),  # 1 while `units` is not zero: what the sweep and sync look at
    moment("updated_at"),
    PrimaryKeyConstraint("chain", "asset", "idx"),
    Index("ix_holding_present", "chain", "asset", "present", "idx"),
)

index_counter = table(
    "index_counter",
    Column("chain", String(16), ForeignKey("chain.name"), primary_key=True),
    Column("next_index", BigInteger, nullable=False, default=0),
)

address = table(
    "address",
    key(),
    public_id(),
    word("chain", 16),
    Column("idx", BigInteger, nullable=False),
    word("address", 128, null=True),  # NULL until the account public key is known
    word("state", 8),  # pending: not watched by the node yet, so shown to nobody
    link("account_id", "account.id", index=True),
    link("project_id", "project.id"),
    word("asset", 24),
    word("purpose_kind", 16),
    Column("purpose_id", Id, nullable=False),
    word("label", 128, null=True),
    Column("expected_units", Units, nullable=True),
    moment("expires_at", null=True),
    Column("received_units", Units, nullable=False, default=0),
    Column("apart", SmallInteger, nullable=False, default=0),  # its money lies there until it is swept
    Column("tagged", SmallInteger, nullable=False, default=0),  # the wallet's own books say whose it is
    word("request_state", 16, null=True),  # payment requests only
    Column("version", Integer, nullable=False, default=1),
    moment("created_at"),
    moment("updated_at"),
    UniqueConstraint("chain", "idx"),
    UniqueConstraint("chain", "address"),
    one_of("state", ("pending", "ready")),
    one_of("purpose_kind", ("balance", "treasury", "refill", "escrow", "swap")),
    one_of("request_state", ("open", "underpaid", "paid", "overpaid", "expired")),
    Index("ix_address_waiting", "chain", "state", "idx"),
    Index("ix_address_request", "request_state", "expires_at"),
    Index("ix_address_untagged", "chain", "tagged", "state", "idx"),
)

DEPOSIT_STATES = ("detected", "confirming", "credited", "final", "reversed", "held", "ignored")

deposit = table(
    "deposit",
    key(),
    public_id(),
    word("chain", 16),
    word("asset", 24),
    word("output_key", 128),
    word("txid", 66),
    word("address", 128),
    link("address_id", "address.id", null=True, index=True),
    link("account_id", "account.id", null=True),
    link("project_id", "project.id", null=True),
    Column("units", Units, nullable=False),
    word("seen", 12),  # pool, confirmed or gone, as of the last scan
    word("seen_reason", 24, null=True),
    Column("locked", SmallInteger, nullable=False, default=0),  # the chain does not let it be spent yet
    word("suspect", 32, null=True),  # why a person must look before it is anybody's
    Column("height", BigInteger, nullable=True),
    word("block_hash", 66, null=True),
    Column("coinbase", Integer, nullable=False, default=0),
    Column("spendable_depth", Integer, nullable=False, default=1),
    Column("confirmations_needed", Integer, nullable=True),  # as last decided by policy
    Column("late", Integer, nullable=False, default=0),  # first seen after its address expired
    Column("credits", Integer, nullable=False, default=0),  # how often it was credited; a reversal needs another
    Column("credited", Integer, nullable=False, default=0),  # 1 while a credit stands
    Column("credited_to", Id, ForeignKey("ledger_account.id"), nullable=True),
    *saga_columns(),
    UniqueConstraint("chain", "asset", "output_key"),
    one_of("state", DEPOSIT_STATES),
    one_of("seen", ("pool", "confirmed", "gone")),
    CheckConstraint("credited IN (0, 1)", name="credited_once"),
    *units_checks("units", positive=False),
    Index("ix_deposit_account", "account_id", "id"),
    Index("ix_deposit_project", "project_id", "id"),
    Index("ix_deposit_open", "chain", "state", "height"),
    Index("ix_deposit_books", "chain", "asset", "credited", "seen"),
    due_index("deposit"),
)
