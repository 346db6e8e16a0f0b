"""`coffer audit`: what operators did, and that nobody has changed the record of it."""

from __future__ import annotations

import click
from sqlalchemy import select

from cli.context import json_option, open_services, say_json, say_table
from jobs.views import when
from ledger import audit as log
from ledger.db import Tx
from ledger.errors import LedgerBroken
from ledger.schema import audit as table
from ledger.schema import audit_head


@click.group()
def audit() -> None:
    """What operators did."""


@audit.command("list")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000))
@click.option("--target", help="Of one id only.")
@json_option
def list_(limit: int, target: str | None, as_json: bool) -> None:
    """The newest acts, in the order in which they happened."""
    rows = open_services().database.read(lambda tx: _acts(tx, limit, target))
    if as_json:
        say_json(rows)
    else:
        say_table(("NO", "AT", "ACTOR", "ACTION", "TARGET", "DETAILS"), [tuple(row.values()) for row in rows])


def _acts(tx: Tx, limit: int, target: str | None) -> list[dict[str, object]]:
    query = select(table).order_by(table.c.id.desc()).limit(limit)
    if target is not None:
        query = query.where(table.c.target == target)
    return [
        {
            "number": row.id,
            "at": when(row.at),
            "actor": row.actor,
            "action": row.action,
            "target": row.target,
            "details": row.details,
        }
        for row in reversed(tx.all(query))
    ]


@audit.command()
def verify() -> None:
    """Walk the chain of hashes. Exit 1 when a row was changed, removed or added by hand."""
    faults, head = open_services().database.read(
        lambda tx: (log.faults(tx), tx.one(select(audit_head))), consistent=True
    )
    if faults:
        raise LedgerBroken("; ".join(faults))
    click.echo(f"{head.audit_id} rows, whole; head {head.hash}")
