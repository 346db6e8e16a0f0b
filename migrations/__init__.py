"""Schema versions: bring a database up to date, and refuse to work on any other version."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from ledger.db import Database
from ledger.errors import SchemaMismatch

_FOLDER = Path(__file__).parent


def _config(database: Database) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER))
    config.attributes["engine"] = database.engine
    return config


def head() -> str:
    """The version that this program was written for."""
    config = Config()
    config.set_main_option("script_location", str(_FOLDER))
    found = ScriptDirectory.from_config(config).get_current_head()
    if found is None:
        raise SchemaMismatch("this program has no migrations")
    return found


def current(database: Database) -> str | None:
    """The version of the database, None when it is empty."""
    with database.engine.connect().execution_options(coffer_read=True) as connection:
        return MigrationContext.configure(connection).get_current_revision()


def upgrade(database: Database) -> None:
    """Bring the schema to `head`. Safe to repeat; one at a time."""
    command.upgrade(_config(database), "head")


def check(database: Database) -> None:
    """Raises `SchemaMismatch` unless the database is exactly at `head`."""
    there, here = current(database), head()
    if there != here:
        raise SchemaMismatch(
            f"the database is at version {there or 'none'}, this program needs {here}: run `coffer db upgrade`"
        )
