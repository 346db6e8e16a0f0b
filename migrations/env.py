"""Alembic's entry: migrations run on the engine that `migrations.upgrade` hands over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from alembic import context
from sqlalchemy import Connection, text

from ledger.errors import SchemaMismatch
from ledger.schema import metadata

#: Seconds to wait for another process that is migrating the same database.
PATIENCE_SECONDS = 300


@contextmanager
def _alone(connection: Connection) -> Iterator[None]:
    """One process migrates a database at a time: MariaDB commits each DDL statement by itself, so two would collide
    half way. SQLite needs nothing: its migrations are transactions that hold the write lock."""
    if connection.dialect.name == "sqlite":
        yield
        return
    name = {"name": f"coffer:{connection.engine.url.database}", "patience": PATIENCE_SECONDS}
    if connection.execute(text("SELECT GET_LOCK(:name, :patience)"), name).scalar() != 1:
        raise SchemaMismatch("another process has been migrating this database for too long")
    connection.commit()  # the lock belongs to the connection, not to a transaction
    try:
        yield
    finally:
        connection.execute(text("SELECT RELEASE_LOCK(:name)"), name)


def run() -> None:
    engine = context.config.attributes["engine"]
    with engine.connect() as connection, _alone(connection):
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
