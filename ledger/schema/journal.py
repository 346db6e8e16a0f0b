"""The journal: append-only double entry. `guards.py` makes the database itself refuse a change."""

from __future__ import annotations

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    UniqueConstraint,
)

from ledger.schema.base import key, link, moment, one_of, table, word
from ledger.types import Id, Units, units_checks

#: Kinds of a customer. `escrow` and `swap` hold what waits for an escrow or a swap of the customer's.
CUSTOMER_KINDS = ("available", "held", "escrow", "swap", "receivable")

#: What a customer owns; a receivable is owed to us.
OWED_KINDS = ("available", "held", "escrow", "swap")

#: Kinds with a balance row that can never be negative: the customers', and what the house may give in swaps, free
#: (`inventory`) and promised to one (`reserved`).
GUARDED_KINDS = (*CUSTOMER_KINDS, "inventory", "reserved")

#: The other kinds of the house; they have no balance row to fight over and are summed from snapshots.
HOUSE_KINDS = (
    "treasury_hot",
    "treasury_cold",
    "in_flight",
    "network_fees",
    "service_fees",
    "suspense",
    "dust",
    "capital",
    "reorg_loss",
    "rounding",
)

asset = table(
    "asset",
    Column("code", String(24), primary_key=True),
    word("chain", 16),
    Column("decimals", SmallInteger, nullable=False),
    word("contract", 128, null=True),
    Column("enabled", SmallInteger, nullable=False, default=1),
    moment("created_at"),
)

ledger_account = table(
    "ledger_account",
    key(),
    link("account_id", "account.id"),
    word("kind", 16),
    Column("asset", String(24), ForeignKey("asset.code"), nullable=False),
    UniqueConstraint("account_id", "kind", "asset"),
    UniqueConstraint("id", "asset"),
    one_of("kind", GUARDED_KINDS + HOUSE_KINDS),
)

balance = table(
    "balance",
    Column("ledger_account_id", Id, ForeignKey("ledger_account.id"), primary_key=True, autoincrement=False),
    Column("units", Units, nullable=False),
    *units_checks("units", positive=False),
)

transfer = table(
    "transfer",
    key(),
    word("transfer_key", 128, unique=True),
    word("kind", 32),
    word("ref_kind", 16),
    Column("ref_id", Id, nullable=False),
    moment("created_at"),
    Index("ix_transfer_ref", "ref_kind", "ref_id"),
)

posting = table(
    "posting",
    key(),
    link("transfer_id", "transfer.id", index=True),
    word("asset", 24),
    Column("debit_id", Id, nullable=False),
    Column("credit_id", Id, nullable=False),
    Column("units", Units, nullable=False),
    ForeignKeyConstraint(["debit_id", "asset"], ["ledger_account.id", "ledger_account.asset"], name="fk_posting_debit"),
    ForeignKeyConstraint(
        ["credit_id", "asset"], ["ledger_account.id", "ledger_account.asset"], name="fk_posting_credit"
    ),
    CheckConstraint("debit_id <> credit_id", name="two_sides"),
    *units_checks("units", positive=True),
    Index("ix_posting_debit", "debit_id", "id"),
    Index("ix_posting_credit", "credit_id", "id"),
)

hold = table(
    "hold",
    key(),
    word("hold_key", 128, unique=True),
    link("account_id", "account.id", index=True),
    Column("asset", String(24), ForeignKey("asset.code"), nullable=False),
    Column("units", Units, nullable=False),
    link("transfer_id", "transfer.id"),
    moment("created_at"),
    *units_checks("units", positive=True),
)

#: At most one row a hold: its primary key is what makes an end final.
hold_end = table(
    "hold_end",
    Column("hold_id", Id, ForeignKey("hold.id"), primary_key=True, autoincrement=False),
    word("outcome", 8),
    link("transfer_id", "transfer.id"),
    moment("created_at"),
    one_of("outcome", ("settled", "voided")),
)

snapshot = table(
    "snapshot",
    Column("ledger_account_id", Id, ForeignKey("ledger_account.id"), nullable=False),
    Column("posting_id", Id, nullable=False),
    Column("units", Units, nullable=False),
    moment("created_at"),
    PrimaryKeyConstraint("ledger_account_id", "posting_id"),
)
