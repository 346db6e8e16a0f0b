"""Every way out: withdrawals, and the payments that alone reach a chain."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Column, Index, Integer, SmallInteger, Text, UniqueConstraint
from sqlalchemy.dialects.mysql import MEDIUMTEXT

from ledger.schema.base import key, link, moment, one_of, public_id, table, word
from ledger.schema.saga import due_index, saga_columns
from ledger.types import Id, Units, units_checks

_long_text = Text().with_variant(MEDIUMTEXT(), "mysql", "mariadb")

WITHDRAWAL_STATES = (
    "pending_approval",
    "queued",
    "signed",
    "broadcast",
    "confirming",
    "completed",
    "cancelled",
    "rejected",
    "failed",
    "review",
)

withdrawal = table(
    "withdrawal",
    key(),
    public_id(),
    link("project_id", "project.id"),
    link("account_id", "account.id"),
    word("asset", 24),
    word("chain", 16),
    Column("units", Units, nullable=False),  # what the payee receives
    Column("fee_units", Units, nullable=False),  # what the customer is charged on top
    word("address", 128),
    word("reference", 128),
    word("fee_from", 8),
    Column("metadata", JSON, nullable=True),
    word("mac", 64),
    Column("approvals_needed", SmallInteger, nullable=False, default=0),
    Column("holds", Integer, nullable=False, default=1),  # which hold generation is the live one
    word("state", 24),
    word("status_reason", 64, null=True),
    word("status_detail", 512, null=True),
    link("payment_id", "payment.id", null=True, index=True),
    word("txid", 66, null=True),
    Column("version", Integer, nullable=False, default=1),
    Column("created_by", Id, nullable=True),
    moment("not_before"),  # stepped aside until then
    moment("created_at"),
    moment("updated_at"),
    UniqueConstraint("project_id", "reference"),
    one_of("state", WITHDRAWAL_STATES),
    one_of("fee_from", ("balance", "amount")),
    *units_checks("units", positive=True),
    *units_checks("fee_units", positive=False),
    Index("ix_withdrawal_queue", "chain", "asset", "state", "payment_id", "id"),
    Index("ix_withdrawal_limits", "account_id", "asset", "created_at"),
    Index("ix_withdrawal_project", "project_id", "id"),
)

#: One row a person; `mac` binds it to the withdrawal, so that the signer can count heads itself.
approval = table(
    "approval",
    key(),
    link("withdrawal_id", "withdrawal.id"),
    word("holder", 64),
    word("mac", 64),
    moment("created_at"),
    UniqueConstraint("withdrawal_id", "holder"),
)

PAYMENT_STATES = (
    "building",
    "reserved",
    "signed",
    "broadcast",
    "confirming",
    "bumping",
    "settled",
    "final",
    "releasing",
    "dead",
    "review",
)

#: withdrawal: pays customers. sweep: collects what lies on indices. gas: coin for a token sweep's fee. cold: to the
#: cold address. split: own outputs ahead of use. fill: uses up a nonce that nothing else will. call: contracts.
PAYMENT_PURPOSES = ("withdrawal", "sweep", "gas", "cold", "split", "fill", "call")

payment = table(
    "payment",
    key(),
    public_id(),
    word("chain", 16),
    word("asset", 24),
    word("purpose", 16),
    word("fee_asset", 24),  # the chain's own coin, which pays the network
    Column("units", Units, nullable=False),  # sum of its outputs
    Column("call", JSON, nullable=True),  # a contract call or deployment instead of outputs: {"to", "data", "note"}
    word("mac", 64, null=True),  # binds a call to the key that the database does not hold
    word("created", 128, null=True),  # the contract that it deployed
    Column("batched", SmallInteger, nullable=False, default=0),  # one transaction moves the money of many indices
    Column("rate", BigInteger, nullable=False),
    Column("rate_max", BigInteger, nullable=False),
    Column("proposal", JSON, nullable=True),
    Column("fee_max_units", Units, nullable=True),  # the ceiling, fixed when its resources are reserved
    Column("fee_units", Units, nullable=True),  # of the newest candidate; of the settled one once settled
    Column("settled_candidate", Integer, nullable=True),
    Column("candidates", Integer, nullable=False, default=0),
    Column("settlements", Integer, nullable=False, default=0),
    word("txid", 66, null=True),
    Column("height", BigInteger, nullable=True),
    Column("bump_rate", BigInteger, nullable=True),  # an operator's order to bump
    word("declined", 64, null=True),  # why it is let go without having been sent
    word("resolution", 8, null=True),  # an operator's choice for a dead payment: retry or refund
    moment("sent_at", null=True),
    *saga_columns(),
    one_of("state", PAYMENT_STATES),
    one_of("purpose", PAYMENT_PURPOSES),
    one_of("resolution", ("retry", "refund")),
    *units_checks("units", positive=False),
    due_index("payment"),
    Index("ix_payment_purpose", "chain", "purpose", "state"),
)

payment_item = table(
    "payment_item",
    key(),
    link("payment_id", "payment.id", index=True),
    link("withdrawal_id", "withdrawal.id", null=True),
    Column("live", SmallInteger, nullable=True),  # 1, or NULL once the payment is dead
    word("address", 128),
    Column("units", Units, nullable=False),
    Column("source_idx", BigInteger, nullable=True),  # the index whose money moves; NULL: the hot wallet's
    Column("target_idx", BigInteger, nullable=True),  # the own index that is paid, -1 the hot wallet; NULL: others
    UniqueConstraint("withdrawal_id", "live"),
    *units_checks("units", positive=True),
)

SWEEP_STATES = ("planned", "funding", "sweeping", "swept", "abandoned")

#: One collection of what lies on an index: its gas first where it needs some, then the money itself.
sweep = table(
    "sweep",
    key(),
    public_id(),
    word("chain", 16),
    word("asset", 24),
    Column("idx", BigInteger, nullable=False),
    Column("live", SmallInteger, nullable=True),  # 1, or NULL once it has ended: one at a time for each index
    Column("units", Units, nullable=False),
    link("gas_payment_id", "payment.id", null=True, index=True),
    link("payment_id", "payment.id", null=True, index=True),
    *saga_columns(),
    UniqueConstraint("chain", "asset", "idx", "live"),
    one_of("state", SWEEP_STATES),
    *units_checks("units", positive=True),
    due_index("sweep"),
)

candidate = table(
    "candidate",
    key(),
    link("payment_id", "payment.id"),
    Column("number", Integer, nullable=False),
    word("chain", 16),
    word("txid", 66),
    Column("raw", _long_text, nullable=False),
    Column("payload", _long_text, nullable=False),
    Column("fee_units", Units, nullable=False),
    Column("rate", BigInteger, nullable=False),
    moment("created_at"),
    UniqueConstraint("payment_id", "number"),
    UniqueConstraint("chain", "txid"),
    *units_checks("fee_units", positive=False),
)

#: Exclusive things (inputs, key images, nonces). `live` 1 while a payment that can still confirm owns it.
resource = table(
    "resource",
    key(),
    word("chain", 16),
    word("resource_key", 128),
    link("payment_id", "payment.id", null=True, index=True),  # NULL: used before this database knew the wallet
    Column("live", SmallInteger, nullable=True),
    moment("created_at"),
    UniqueConstraint("chain", "resource_key", "live"),
)
