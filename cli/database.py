"""`coffer db`: make the schema, check what is there."""

from __future__ import annotations

import click
from sqlalchemy import select

import migrations
from cli.context import load_settings
from jobs import bootstrap
from ledger import audit, balances
from ledger.errors import LedgerBroken
from ledger.schema import installation


@click.group()
def db() -> None:
    """Make and check the database."""


@db.command()
def upgrade() -> None:
    """Bring the database to this program's schema and write the rows that must exist. Safe to repeat."""
    settings = load_settings()
    bootstrap.upgrade(settings)
    click.echo(f"the database is at schema {migrations.head()}, mode {settings.mode}")


@db.command()
@click.option("--books", is_flag=True, help="Also recompute every balance and walk the audit log.")
def check(books: bool) -> None:
    """Check safe settings, schema and mode; with --books also the ledger itself. Exit 1 on any fault."""
    settings = load_settings()
    database = bootstrap.open_database(settings, pool_size=1)
    name = database.read(lambda tx: tx.value(select(installation.c.public_id)))
    click.echo(f"{name}: settings, schema {migrations.head()} and mode {settings.mode} are right")
    if books:
        faults = database.read(lambda tx: balances.faults(tx) + audit.faults(tx), consistent=True)
        if faults:
            raise LedgerBroken("; ".join(faults))
        click.echo("every balance is the sum of its postings, and the audit log is whole")
