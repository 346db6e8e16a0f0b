"""`coffer tasks`: periodic work, and doing it now."""

from __future__ import annotations

import click
from sqlalchemy import select

from cli.context import acting, json_option, open_services, say_json, say_table
from jobs.resolve import by_hand as resolve
from jobs.views import maybe_when, when
from ledger.db import Tx
from ledger.schema import task


@click.group()
def tasks() -> None:
    """Periodic work."""


@tasks.command("list")
@json_option
def list_(as_json: bool) -> None:
    """Every task with its interval and how it went last."""
    rows = open_services().database.read(_rows)
    if as_json:
        say_json(rows)
    else:
        titles = ("NAME", "QUEUE", "EVERY S", "LAST", "DUE", "FAILURES", "REASON")
        say_table(titles, [tuple(row.values()) for row in rows])


def _rows(tx: Tx) -> list[dict[str, object]]:
    return [
        {
            "name": row.name,
            "queue": row.queue,
            "interval_seconds": row.interval_us / 1_000_000,
            "last_at": when(row.updated_at),
            "due_at": maybe_when(row.due_at),
            "failures": row.attempts,
            "reason": row.status_reason,
        }
        for row in tx.all(select(task).order_by(task.c.queue, task.c.name))
    ]


@tasks.command()
@click.argument("name")
@acting
def run(name: str, actor: str) -> None:
    """Have a worker do NAME now."""
    open_services().database.run(lambda tx: resolve.run_task(tx, name, actor), "cli.run_task")
    click.echo(f"{name} is due now")
