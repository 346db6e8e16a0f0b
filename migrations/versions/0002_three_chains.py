"""The first schema: access, journal, chains, exits of money, operations.

Revision ID: 0002
Revises: nothing. What was 0001 was never released; a database made by it is made anew.
"""
# ruff: noqa: E501  generated lines: the closed lists of states stand whole

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from ledger.types import Units, units_checks
from migrations import guards

revision = "0002"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "alarm",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("name", sa.String(length=48), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("detail", sa.String(length=512), nullable=False),
        sa.Column("open", sa.SmallInteger(), nullable=True),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("first_at", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alarm")),
        sa.UniqueConstraint("name", "subject", "open", name=op.f("uq_alarm_name_subject_open")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_table(
        "asset",
        sa.Column("code", sa.String(length=24), nullable=False),
        sa.Column("chain", sa.String(length=16), nullable=False),
        sa.Column("decimals", sa.SmallInteger(), nullable=False),
        sa.Column("contract", sa.String(length=128), nullable=True),
        sa.Column("enabled", sa.SmallInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_asset")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(length=128), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("target", sa.String(length=128), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("previous_hash", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_table(
        "audit_head",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("audit_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_head")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_table(
        "chain",
        sa.Column("name", sa.String(length=16), nullable=False),
        sa.Column("genesis_hash", sa.String(length=66), nullable=True),
        sa.Column("account_public_key", sa.String(length=512), nullable=True),
        sa.Column("hot_index", sa.BigInteger(), nullable=True),
        sa.Column("watched_count", sa.BigInteger(), nullable=False),
        sa.Column("tip_height", sa.BigInteger(), nullable=True),
        sa.Column("tip_hash", sa.String(length=66), nullable=True),
        sa.Column("final_height", sa.BigInteger(), nullable=True),
        sa.Column("scan_cursor", sa.Text(), nullable=True),
        sa.Column("fee_rate", sa.BigInteger(), nullable=True),
        sa.Column("fee_source", sa.String(length=16), nullable=True),
        sa.Column("health_reason", sa.String(length=32), nullable=True),
        sa.Column("health_detail", sa.String(length=512), nullable=True),
        sa.Column("scanned_at", sa.BigInteger(), nullable=True),
        sa.Column("health_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_chain")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_table(
        "installation",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("mode", sa.String(length=8), nullable=False),
        sa.Column("public_id", sa.String(length=40), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("mode IN ('test', 'live')", name=op.f("ck_installation_mode_known")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_installation")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_table(
        "lease",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("token", sa.String(length=32), nullable=True),
        sa.Column("owner", sa.String(length=128), nullable=True),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_lease")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_table(
        "pause",
        sa.Column("asset", sa.String(length=24), nullable=False),
        sa.Column("flow", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=255), nullable=False),
        sa.Column("actor", sa.String(length=128), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("asset", "flow", name=op.f("pk_pause")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_table(
        "payment",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("public_id", sa.String(length=40), nullable=False),
        sa.Column("chain", sa.String(length=16), nullable=False),
        sa.Column("asset", sa.String(length=24), nullable=False),
        sa.Column("purpose", sa.String(length=16), nullable=False),
        sa.Column("fee_asset", sa.String(length=24), nullable=False),
        sa.Column("units", Units(), nullable=False),
        sa.Column("call", sa.JSON(), nullable=True),
        sa.Column("mac", sa.String(length=64), nullable=True),
        sa.Column("created", sa.String(length=128), nullable=True),
        sa.Column("batched", sa.SmallInteger(), nullable=False),
        sa.Column("rate", sa.BigInteger(), nullable=False),
        sa.Column("rate_max", sa.BigInteger(), nullable=False),
        sa.Column("proposal", sa.JSON(), nullable=True),
        sa.Column("fee_max_units", Units(), nullable=True),
        sa.Column("fee_units", Units(), nullable=True),
        sa.Column("settled_candidate", sa.Integer(), nullable=True),
        sa.Column("candidates", sa.Integer(), nullable=False),
        sa.Column("settlements", sa.Integer(), nullable=False),
        sa.Column("txid", sa.String(length=66), nullable=True),
        sa.Column("height", sa.BigInteger(), nullable=True),
        sa.Column("bump_rate", sa.BigInteger(), nullable=True),
        sa.Column("declined", sa.String(length=64), nullable=True),
        sa.Column("resolution", sa.String(length=8), nullable=True),
        sa.Column("sent_at", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.String(length=24), nullable=False),
        sa.Column("status_reason", sa.String(length=64), nullable=True),
        sa.Column("status_detail", sa.String(length=512), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=True),
        sa.Column("lease_until", sa.BigInteger(), nullable=False),
        sa.Column("lease_token", sa.String(length=32), nullable=True),
        sa.Column("crashes", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("wakes", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "purpose IN ('withdrawal', 'sweep', 'gas', 'cold', 'split', 'fill', 'call')",
            name=op.f("ck_payment_purpose_known"),
        ),
        sa.CheckConstraint("resolution IN ('retry', 'refund')", name=op.f("ck_payment_resolution_known")),
        sa.CheckConstraint(
            "state IN ('building', 'reserved', 'signed', 'broadcast', 'confirming', 'bumping', 'settled', 'final', 'releasing', 'dead', 'review')",
            name=op.f("ck_payment_state_known"),
        ),
        *units_checks("units", positive=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payment")),
        sa.UniqueConstraint("public_id", name=op.f("uq_payment_public_id")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_index("ix_payment_due", "payment", ["due_at", "lease_until"], unique=False)
    op.create_index("ix_payment_purpose", "payment", ["chain", "purpose", "state"], unique=False)
    op.create_table(
        "policy",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("asset", sa.String(length=24), nullable=False),
        sa.Column("name", sa.String(length=48), nullable=False),
        sa.Column("value", sa.JSON(), nullable=True),
        sa.Column("actor", sa.String(length=128), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_policy")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_index("ix_policy_current", "policy", ["asset", "name", "id"], unique=False)
    op.create_table(
        "project",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("public_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_project")),
        sa.UniqueConstraint("name", name=op.f("uq_project_name")),
        sa.UniqueConstraint("public_id", name=op.f("uq_project_public_id")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_table(
        "task",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("name", sa.String(length=48), nullable=False),
        sa.Column("queue", sa.String(length=16), nullable=False),
        sa.Column("interval_us", sa.BigInteger(), nullable=False),
        sa.Column("progress", sa.JSON(), nullable=True),
        sa.Column("state", sa.String(length=24), nullable=False),
        sa.Column("status_reason", sa.String(length=64), nullable=True),
        sa.Column("status_detail", sa.String(length=512), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=True),
        sa.Column("lease_until", sa.BigInteger(), nullable=False),
        sa.Column("lease_token", sa.String(length=32), nullable=True),
        sa.Column("crashes", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("wakes", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_task")),
        sa.UniqueConstraint("name", name=op.f("uq_task_name")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_index("ix_task_due", "task", ["due_at", "lease_until"], unique=False)
    op.create_table(
        "transfer",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("transfer_key", sa.String(length=128), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("ref_kind", sa.String(length=16), nullable=False),
        sa.Column("ref_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transfer")),
        sa.UniqueConstraint("transfer_key", name=op.f("uq_transfer_transfer_key")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_index("ix_transfer_ref", "transfer", ["ref_kind", "ref_id"], unique=False)
    op.create_table(
        "transition",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("row_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("from_state", sa.String(length=24), nullable=True),
        sa.Column("to_state", sa.String(length=24), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=True),
        sa.Column("actor", sa.String(length=128), nullable=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transition")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_index("ix_transition_row", "transition", ["kind", "row_id", "id"], unique=False)
    op.create_table(
        "account",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("public_id", sa.String(length=40), nullable=False),
        sa.Column("project_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("reference", sa.String(length=128), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("frozen_reason", sa.String(length=64), nullable=True),
        sa.Column("frozen_at", sa.BigInteger(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("kind IN ('house', 'user', 'vendor', 'order')", name=op.f("ck_account_kind_known")),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_account_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account")),
        sa.UniqueConstraint("project_id", "reference", name=op.f("uq_account_project_id_reference")),
        sa.UniqueConstraint("public_id", name=op.f("uq_account_public_id")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_table(
        "api_key",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("public_id", sa.String(length=40), nullable=False),
        sa.Column("project_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("holder", sa.String(length=64), nullable=False),
        sa.Column("secret_hash", sa.String(length=64), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("cidrs", sa.JSON(), nullable=True),
        sa.Column("signed", sa.SmallInteger(), nullable=False),
        sa.Column("signing_version", sa.Integer(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.Column("last_used_at", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.String(length=128), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_api_key_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_key")),
        sa.UniqueConstraint("public_id", name=op.f("uq_api_key_public_id")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_index(op.f("ix_api_key_project_id"), "api_key", ["project_id"], unique=False)
    op.create_table(
        "candidate",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("payment_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("chain", sa.String(length=16), nullable=False),
        sa.Column("txid", sa.String(length=66), nullable=False),
        sa.Column(
            "raw",
            sa.Text().with_variant(mysql.MEDIUMTEXT(), "mariadb").with_variant(mysql.MEDIUMTEXT(), "mysql"),
            nullable=False,
        ),
        sa.Column(
            "payload",
            sa.Text().with_variant(mysql.MEDIUMTEXT(), "mariadb").with_variant(mysql.MEDIUMTEXT(), "mysql"),
            nullable=False,
        ),
        sa.Column("fee_units", Units(), nullable=False),
        sa.Column("rate", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        *units_checks("fee_units", positive=False),
        sa.ForeignKeyConstraint(["payment_id"], ["payment.id"], name=op.f("fk_candidate_payment_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_candidate")),
        sa.UniqueConstraint("chain", "txid", name=op.f("uq_candidate_chain_txid")),
        sa.UniqueConstraint("payment_id", "number", name=op.f("uq_candidate_payment_id_number")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_table(
        "event",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("public_id", sa.String(length=40), nullable=False),
        sa.Column("project_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=True),
        sa.Column("type", sa.String(length=64), nullable=False),
        sa.Column("resource_kind", sa.String(length=16), nullable=False),
        sa.Column("resource_id", sa.String(length=40), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_event_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event")),
        sa.UniqueConstraint("project_id", "sequence", name=op.f("uq_event_project_id_sequence")),
        sa.UniqueConstraint("public_id", name=op.f("uq_event_public_id")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_index("ix_event_unnumbered", "event", ["sequence", "id"], unique=False)
    op.create_table(
        "holding",
        sa.Column("chain", sa.String(length=16), nullable=False),
        sa.Column("asset", sa.String(length=24), nullable=False),
        sa.Column("idx", sa.BigInteger(), nullable=False),
        sa.Column("units", Units(), nullable=False),
        sa.Column("present", sa.SmallInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["asset"], ["asset.code"], name=op.f("fk_holding_asset")),
        sa.ForeignKeyConstraint(["chain"], ["chain.name"], name=op.f("fk_holding_chain")),
        sa.PrimaryKeyConstraint("chain", "asset", "idx", name=op.f("pk_holding")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_index("ix_holding_present", "holding", ["chain", "asset", "present", "idx"], unique=False)
    op.create_table(
        "idempotency",
        sa.Column("project_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("idempotency_key", sa.String(length=255), nullable=False),
        sa.Column("request_hash", sa.String(length=64), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=True),
        sa.Column(
            "body",
            sa.LargeBinary().with_variant(mysql.MEDIUMBLOB(), "mariadb").with_variant(mysql.MEDIUMBLOB(), "mysql"),
            nullable=True,
        ),
        sa.Column("headers", sa.JSON(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_idempotency_project_id")),
        sa.PrimaryKeyConstraint("project_id", "idempotency_key", name=op.f("pk_idempotency")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_table(
        "index_counter",
        sa.Column("chain", sa.String(length=16), nullable=False),
        sa.Column("next_index", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["chain"], ["chain.name"], name=op.f("fk_index_counter_chain")),
        sa.PrimaryKeyConstraint("chain", name=op.f("pk_index_counter")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_table(
        "ready_address",
        sa.Column("chain", sa.String(length=16), nullable=False),
        sa.Column("idx", sa.BigInteger(), nullable=False),
        sa.Column("address", sa.String(length=128), nullable=False),
        sa.ForeignKeyConstraint(["chain"], ["chain.name"], name=op.f("fk_ready_address_chain")),
        sa.PrimaryKeyConstraint("chain", "idx", name=op.f("pk_ready_address")),
        sa.UniqueConstraint("chain", "address", name=op.f("uq_ready_address_chain_address")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_table(
        "resource",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("chain", sa.String(length=16), nullable=False),
        sa.Column("resource_key", sa.String(length=128), nullable=False),
        sa.Column("payment_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("live", sa.SmallInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["payment_id"], ["payment.id"], name=op.f("fk_resource_payment_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_resource")),
        sa.UniqueConstraint("chain", "resource_key", "live", name=op.f("uq_resource_chain_resource_key_live")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_index(op.f("ix_resource_payment_id"), "resource", ["payment_id"], unique=False)
    op.create_table(
        "sweep",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("public_id", sa.String(length=40), nullable=False),
        sa.Column("chain", sa.String(length=16), nullable=False),
        sa.Column("asset", sa.String(length=24), nullable=False),
        sa.Column("idx", sa.BigInteger(), nullable=False),
        sa.Column("live", sa.SmallInteger(), nullable=True),
        sa.Column("units", Units(), nullable=False),
        sa.Column("gas_payment_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("payment_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("state", sa.String(length=24), nullable=False),
        sa.Column("status_reason", sa.String(length=64), nullable=True),
        sa.Column("status_detail", sa.String(length=512), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=True),
        sa.Column("lease_until", sa.BigInteger(), nullable=False),
        sa.Column("lease_token", sa.String(length=32), nullable=True),
        sa.Column("crashes", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("wakes", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "state IN ('planned', 'funding', 'sweeping', 'swept', 'abandoned')", name=op.f("ck_sweep_state_known")
        ),
        *units_checks("units", positive=True),
        sa.ForeignKeyConstraint(["gas_payment_id"], ["payment.id"], name=op.f("fk_sweep_gas_payment_id")),
        sa.ForeignKeyConstraint(["payment_id"], ["payment.id"], name=op.f("fk_sweep_payment_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sweep")),
        sa.UniqueConstraint("chain", "asset", "idx", "live", name=op.f("uq_sweep_chain_asset_idx_live")),
        sa.UniqueConstraint("public_id", name=op.f("uq_sweep_public_id")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_index("ix_sweep_due", "sweep", ["due_at", "lease_until"], unique=False)
    op.create_index(op.f("ix_sweep_gas_payment_id"), "sweep", ["gas_payment_id"], unique=False)
    op.create_index(op.f("ix_sweep_payment_id"), "sweep", ["payment_id"], unique=False)
    op.create_table(
        "address",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("public_id", sa.String(length=40), nullable=False),
        sa.Column("chain", sa.String(length=16), nullable=False),
        sa.Column("idx", sa.BigInteger(), nullable=False),
        sa.Column("address", sa.String(length=128), nullable=True),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("project_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("asset", sa.String(length=24), nullable=False),
        sa.Column("purpose_kind", sa.String(length=16), nullable=False),
        sa.Column("purpose_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("label", sa.String(length=128), nullable=True),
        sa.Column("expected_units", Units(), nullable=True),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("received_units", Units(), nullable=False),
        sa.Column("apart", sa.SmallInteger(), nullable=False),
        sa.Column("tagged", sa.SmallInteger(), nullable=False),
        sa.Column("request_state", sa.String(length=16), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "purpose_kind IN ('balance', 'treasury', 'refill', 'escrow', 'swap')",
            name=op.f("ck_address_purpose_kind_known"),
        ),
        sa.CheckConstraint(
            "request_state IN ('open', 'underpaid', 'paid', 'overpaid', 'expired')",
            name=op.f("ck_address_request_state_known"),
        ),
        sa.CheckConstraint("state IN ('pending', 'ready')", name=op.f("ck_address_state_known")),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_address_account_id")),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_address_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_address")),
        sa.UniqueConstraint("chain", "address", name=op.f("uq_address_chain_address")),
        sa.UniqueConstraint("chain", "idx", name=op.f("uq_address_chain_idx")),
        sa.UniqueConstraint("public_id", name=op.f("uq_address_public_id")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_index(op.f("ix_address_account_id"), "address", ["account_id"], unique=False)
    op.create_index("ix_address_request", "address", ["request_state", "expires_at"], unique=False)
    op.create_index("ix_address_untagged", "address", ["chain", "tagged", "state", "idx"], unique=False)
    op.create_index("ix_address_waiting", "address", ["chain", "state", "idx"], unique=False)
    op.create_table(
        "hold",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("hold_key", sa.String(length=128), nullable=False),
        sa.Column("account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("asset", sa.String(length=24), nullable=False),
        sa.Column("units", Units(), nullable=False),
        sa.Column("transfer_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        *units_checks("units", positive=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_hold_account_id")),
        sa.ForeignKeyConstraint(["asset"], ["asset.code"], name=op.f("fk_hold_asset")),
        sa.ForeignKeyConstraint(["transfer_id"], ["transfer.id"], name=op.f("fk_hold_transfer_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hold")),
        sa.UniqueConstraint("hold_key", name=op.f("uq_hold_hold_key")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_index(op.f("ix_hold_account_id"), "hold", ["account_id"], unique=False)
    op.create_table(
        "internal_transfer",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("public_id", sa.String(length=40), nullable=False),
        sa.Column("project_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("from_account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("to_account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("asset", sa.String(length=24), nullable=False),
        sa.Column("units", Units(), nullable=False),
        sa.Column("reference", sa.String(length=128), nullable=False),
        sa.Column("metadata", sa.JSON(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        *units_checks("units", positive=True),
        sa.ForeignKeyConstraint(["from_account_id"], ["account.id"], name=op.f("fk_internal_transfer_from_account_id")),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_internal_transfer_project_id")),
        sa.ForeignKeyConstraint(["to_account_id"], ["account.id"], name=op.f("fk_internal_transfer_to_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_internal_transfer")),
        sa.UniqueConstraint("project_id", "reference", name=op.f("uq_internal_transfer_project_id_reference")),
        sa.UniqueConstraint("public_id", name=op.f("uq_internal_transfer_public_id")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_table(
        "ledger_account",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("asset", sa.String(length=24), nullable=False),
        sa.CheckConstraint(
            "kind IN ('available', 'held', 'escrow', 'receivable', 'treasury_hot', 'treasury_cold', 'in_flight', 'network_fees', 'service_fees', 'inventory', 'suspense', 'dust', 'capital', 'reorg_loss', 'rounding')",
            name=op.f("ck_ledger_account_kind_known"),
        ),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_ledger_account_account_id")),
        sa.ForeignKeyConstraint(["asset"], ["asset.code"], name=op.f("fk_ledger_account_asset")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_account")),
        sa.UniqueConstraint("account_id", "kind", "asset", name=op.f("uq_ledger_account_account_id_kind_asset")),
        sa.UniqueConstraint("id", "asset", name=op.f("uq_ledger_account_id_asset")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_table(
        "request_nonce",
        sa.Column("api_key_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("nonce", sa.String(length=64), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["api_key_id"], ["api_key.id"], name=op.f("fk_request_nonce_api_key_id")),
        sa.PrimaryKeyConstraint("api_key_id", "nonce", name=op.f("pk_request_nonce")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_table(
        "withdrawal",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("public_id", sa.String(length=40), nullable=False),
        sa.Column("project_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("asset", sa.String(length=24), nullable=False),
        sa.Column("chain", sa.String(length=16), nullable=False),
        sa.Column("units", Units(), nullable=False),
        sa.Column("fee_units", Units(), nullable=False),
        sa.Column("address", sa.String(length=128), nullable=False),
        sa.Column("reference", sa.String(length=128), nullable=False),
        sa.Column("fee_from", sa.String(length=8), nullable=False),
        sa.Column("metadata", sa.JSON(), nullable=True),
        sa.Column("mac", sa.String(length=64), nullable=False),
        sa.Column("approvals_needed", sa.SmallInteger(), nullable=False),
        sa.Column("holds", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=24), nullable=False),
        sa.Column("status_reason", sa.String(length=64), nullable=True),
        sa.Column("status_detail", sa.String(length=512), nullable=True),
        sa.Column("payment_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("txid", sa.String(length=66), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_by", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("not_before", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("fee_from IN ('balance', 'amount')", name=op.f("ck_withdrawal_fee_from_known")),
        sa.CheckConstraint(
            "state IN ('pending_approval', 'queued', 'signed', 'broadcast', 'confirming', 'completed', 'cancelled', 'rejected', 'failed', 'review')",
            name=op.f("ck_withdrawal_state_known"),
        ),
        *units_checks("fee_units", positive=False),
        *units_checks("units", positive=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_withdrawal_account_id")),
        sa.ForeignKeyConstraint(["payment_id"], ["payment.id"], name=op.f("fk_withdrawal_payment_id")),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_withdrawal_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_withdrawal")),
        sa.UniqueConstraint("project_id", "reference", name=op.f("uq_withdrawal_project_id_reference")),
        sa.UniqueConstraint("public_id", name=op.f("uq_withdrawal_public_id")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_index("ix_withdrawal_limits", "withdrawal", ["account_id", "asset", "created_at"], unique=False)
    op.create_index(op.f("ix_withdrawal_payment_id"), "withdrawal", ["payment_id"], unique=False)
    op.create_index("ix_withdrawal_project", "withdrawal", ["project_id", "id"], unique=False)
    op.create_index("ix_withdrawal_queue", "withdrawal", ["chain", "asset", "state", "payment_id", "id"], unique=False)
    op.create_table(
        "approval",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("withdrawal_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("holder", sa.String(length=64), nullable=False),
        sa.Column("mac", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["withdrawal_id"], ["withdrawal.id"], name=op.f("fk_approval_withdrawal_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_approval")),
        sa.UniqueConstraint("withdrawal_id", "holder", name=op.f("uq_approval_withdrawal_id_holder")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_table(
        "balance",
        sa.Column(
            "ledger_account_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("units", Units(), nullable=False),
        *units_checks("units", positive=False),
        sa.ForeignKeyConstraint(
            ["ledger_account_id"], ["ledger_account.id"], name=op.f("fk_balance_ledger_account_id")
        ),
        sa.PrimaryKeyConstraint("ledger_account_id", name=op.f("pk_balance")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_table(
        "deposit",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("public_id", sa.String(length=40), nullable=False),
        sa.Column("chain", sa.String(length=16), nullable=False),
        sa.Column("asset", sa.String(length=24), nullable=False),
        sa.Column("output_key", sa.String(length=128), nullable=False),
        sa.Column("txid", sa.String(length=66), nullable=False),
        sa.Column("address", sa.String(length=128), nullable=False),
        sa.Column("address_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("project_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("units", Units(), nullable=False),
        sa.Column("seen", sa.String(length=12), nullable=False),
        sa.Column("seen_reason", sa.String(length=24), nullable=True),
        sa.Column("locked", sa.SmallInteger(), nullable=False),
        sa.Column("suspect", sa.String(length=32), nullable=True),
        sa.Column("height", sa.BigInteger(), nullable=True),
        sa.Column("block_hash", sa.String(length=66), nullable=True),
        sa.Column("coinbase", sa.Integer(), nullable=False),
        sa.Column("spendable_depth", sa.Integer(), nullable=False),
        sa.Column("confirmations_needed", sa.Integer(), nullable=True),
        sa.Column("late", sa.Integer(), nullable=False),
        sa.Column("credits", sa.Integer(), nullable=False),
        sa.Column("credited", sa.Integer(), nullable=False),
        sa.Column("credited_to", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("state", sa.String(length=24), nullable=False),
        sa.Column("status_reason", sa.String(length=64), nullable=True),
        sa.Column("status_detail", sa.String(length=512), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=True),
        sa.Column("lease_until", sa.BigInteger(), nullable=False),
        sa.Column("lease_token", sa.String(length=32), nullable=True),
        sa.Column("crashes", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("wakes", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("seen IN ('pool', 'confirmed', 'gone')", name=op.f("ck_deposit_seen_known")),
        sa.CheckConstraint(
            "state IN ('detected', 'confirming', 'credited', 'final', 'reversed', 'held', 'ignored')",
            name=op.f("ck_deposit_state_known"),
        ),
        *units_checks("units", positive=False),
        sa.CheckConstraint("credited IN (0, 1)", name=op.f("ck_deposit_credited_once")),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_deposit_account_id")),
        sa.ForeignKeyConstraint(["address_id"], ["address.id"], name=op.f("fk_deposit_address_id")),
        sa.ForeignKeyConstraint(["credited_to"], ["ledger_account.id"], name=op.f("fk_deposit_credited_to")),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_deposit_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deposit")),
        sa.UniqueConstraint("chain", "asset", "output_key", name=op.f("uq_deposit_chain_asset_output_key")),
        sa.UniqueConstraint("public_id", name=op.f("uq_deposit_public_id")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_index("ix_deposit_account", "deposit", ["account_id", "id"], unique=False)
    op.create_index(op.f("ix_deposit_address_id"), "deposit", ["address_id"], unique=False)
    op.create_index("ix_deposit_due", "deposit", ["due_at", "lease_until"], unique=False)
    op.create_index("ix_deposit_open", "deposit", ["chain", "state", "height"], unique=False)
    op.create_index("ix_deposit_project", "deposit", ["project_id", "id"], unique=False)
    op.create_table(
        "hold_end",
        sa.Column("hold_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("outcome", sa.String(length=8), nullable=False),
        sa.Column("transfer_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("outcome IN ('settled', 'voided')", name=op.f("ck_hold_end_outcome_known")),
        sa.ForeignKeyConstraint(["hold_id"], ["hold.id"], name=op.f("fk_hold_end_hold_id")),
        sa.ForeignKeyConstraint(["transfer_id"], ["transfer.id"], name=op.f("fk_hold_end_transfer_id")),
        sa.PrimaryKeyConstraint("hold_id", name=op.f("pk_hold_end")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_table(
        "payment_item",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("payment_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("withdrawal_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("live", sa.SmallInteger(), nullable=True),
        sa.Column("address", sa.String(length=128), nullable=False),
        sa.Column("units", Units(), nullable=False),
        sa.Column("source_idx", sa.BigInteger(), nullable=True),
        sa.Column("target_idx", sa.BigInteger(), nullable=True),
        *units_checks("units", positive=True),
        sa.ForeignKeyConstraint(["payment_id"], ["payment.id"], name=op.f("fk_payment_item_payment_id")),
        sa.ForeignKeyConstraint(["withdrawal_id"], ["withdrawal.id"], name=op.f("fk_payment_item_withdrawal_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payment_item")),
        sa.UniqueConstraint("withdrawal_id", "live", name=op.f("uq_payment_item_withdrawal_id_live")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_index(op.f("ix_payment_item_payment_id"), "payment_item", ["payment_id"], unique=False)
    op.create_table(
        "posting",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("transfer_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("asset", sa.String(length=24), nullable=False),
        sa.Column("debit_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("credit_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("units", Units(), nullable=False),
        *units_checks("units", positive=True),
        sa.CheckConstraint("debit_id <> credit_id", name=op.f("ck_posting_two_sides")),
        sa.ForeignKeyConstraint(
            ["credit_id", "asset"], ["ledger_account.id", "ledger_account.asset"], name="fk_posting_credit"
        ),
        sa.ForeignKeyConstraint(
            ["debit_id", "asset"], ["ledger_account.id", "ledger_account.asset"], name="fk_posting_debit"
        ),
        sa.ForeignKeyConstraint(["transfer_id"], ["transfer.id"], name=op.f("fk_posting_transfer_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_posting")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_index("ix_posting_credit", "posting", ["credit_id", "id"], unique=False)
    op.create_index("ix_posting_debit", "posting", ["debit_id", "id"], unique=False)
    op.create_index(op.f("ix_posting_transfer_id"), "posting", ["transfer_id"], unique=False)
    op.create_table(
        "snapshot",
        sa.Column("ledger_account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("posting_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("units", Units(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["ledger_account_id"], ["ledger_account.id"], name=op.f("fk_snapshot_ledger_account_id")
        ),
        sa.PrimaryKeyConstraint("ledger_account_id", "posting_id", name=op.f("pk_snapshot")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    guards.append_only(
        [
            "transfer",
            "posting",
            "hold",
            "hold_end",
            "transition",
            "audit",
            "policy",
            "candidate",
            "approval",
            "ready_address",
        ]
    )
    guards.no_delete(
        [
            "balance",
            "ledger_account",
            "withdrawal",
            "deposit",
            "payment",
            "payment_item",
            "account",
            "address",
            "event",
            "holding",
            "sweep",
        ]
    )
    guards.frozen_columns(
        "withdrawal",
        [
            "project_id",
            "account_id",
            "asset",
            "chain",
            "units",
            "fee_units",
            "address",
            "reference",
            "mac",
            "approvals_needed",
            "created_by",
        ],
    )
    guards.frozen_columns("deposit", ["chain", "asset", "output_key", "txid", "address", "units"])
    guards.frozen_columns(
        "payment_item", ["payment_id", "withdrawal_id", "address", "units", "source_idx", "target_idx"]
    )
    guards.frozen_columns("payment", ["chain", "asset", "purpose", "fee_asset", "units", "call", "mac", "batched"])
    guards.frozen_columns("asset", ["code", "chain", "decimals", "contract"])
    guards.frozen_columns("sweep", ["chain", "asset", "idx"])
    guards.frozen_columns("ledger_account", ["account_id", "kind", "asset"])
    guards.frozen_columns("snapshot", ["ledger_account_id", "posting_id", "units"])
    guards.frozen_columns("resource", ["chain", "resource_key", "payment_id"])
    guards.frozen_columns("address", ["chain", "idx", "account_id", "project_id", "asset"])
    guards.frozen_columns("event", ["public_id", "project_id", "type", "resource_kind", "resource_id", "data"])
    guards.frozen_columns("account", ["public_id", "project_id", "reference", "kind"])
    guards.set_once("address", "address")
    guards.set_once("event", "sequence")
    guards.frozen_columns("internal_transfer", ["from_account_id", "to_account_id", "asset", "units", "reference"])
    guards.final_states("withdrawal", ["cancelled", "rejected", "failed"])
    guards.final_states("payment", ["final", "dead"])
    guards.final_states("sweep", ["swept", "abandoned"])
