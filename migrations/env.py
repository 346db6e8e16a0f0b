"""Alembic's entry: migrations run on the engine that `migrations.upgrade` hands over."""

from __future__ import annotations

from alembic import context

from ledger.schema import metadata


def run() -> None:
    engine = context.config.attributes["engine"]
    with engine.connect() as connection:
        context.configure(
            connection=connection,
            target_metadata=metadata,
            compare_type=True,
            render_as_batch=False,
            transaction_per_migration=True,
            user_module_prefix="ledger.types.",
        )
        with context.begin_transaction():
            context.run_migrations()


run()
