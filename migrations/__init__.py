"""Schema versions: bring a database up to date, and refuse to work on any other version."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import inspect, text

from ledger.db import Database
from ledger.errors import SchemaMismatch

_FOLDER = Path(__file__).parent

#: The version that this program was written for; the newest file in `versions/`.
HEAD = "0003"


def head() -> str:
    return HEAD


def current(database: Database) -> str | None:
    """The version of the database, None when it is empty."""
    with database.engine.connect().execution_options(coffer_read=True) as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        return None if found is None else str(found)


def upgrade(database: Database) -> None:
    """Bring the schema to `head`. Safe to repeat; one at a time."""
    from alembic import command  # 12 MB that only this needs
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_FOLDER))
    config.attributes["engine"] = database.engine
    command.upgrade(config, HEAD)


def check(database: Database) -> None:
    """Raises `SchemaMismatch` unless the database is exactly at `head`."""
    there, here = current(database), head()
    if there != here:
        raise SchemaMismatch(
            f"the database is at version {there or 'none'}, this program needs {here}: run `coffer db upgrade`"
        )
