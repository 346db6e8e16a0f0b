"""Who owned what, when and why: one hash chain for each deposit, order and escrow."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, PrimaryKeyConstraint, UniqueConstraint

from ledger.schema.base import key, link, moment, one_of, table, word
from ledger.types import Id, Units, units_checks

SUBJECTS = ("deposit", "order", "escrow")

#: Append-only. `account_id` in `place` (a kind of ledger account) owns `units` of the subject after this row.
ownership = table(
    "ownership",
    key(),
    word("subject_kind", 16),
    Column("subject_id", Id, nullable=False),
    Column("number", Integer, nullable=False),
    word("event", 24),
    link("account_id", "account.id", index=True),
    word("place", 16),
    word("asset", 24),
    Column("units", Units, nullable=False),
    word("reason", 64, null=True),
    word("cause_kind", 16),  # what moved it: a deposit, an escrow, a transfer, a withdrawal
    Column("cause_id", Id, nullable=False),
    moment("at"),
    word("previous_hash", 64),
    word("hash", 64),
    UniqueConstraint("subject_kind", "subject_id", "number"),
    one_of("subject_kind", SUBJECTS),
    *units_checks("units", positive=False),
    Index("ix_ownership_cause", "cause_kind", "cause_id"),
)

#: The newest link of each chain, locked by whoever adds one.
ownership_head = table(
    "ownership_head",
    word("subject_kind", 16),
    Column("subject_id", Id, nullable=False),
    Column("number", Integer, nullable=False),
    word("hash", 64),
    PrimaryKeyConstraint("subject_kind", "subject_id"),
)
