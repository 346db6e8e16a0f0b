"""`coffer status` and `coffer alarms`."""

from __future__ import annotations

from typing import Any

import click

from cli import overview
from cli.context import json_option, load_settings, open_services, say_json, say_table


@click.command()
@json_option
def status(as_json: bool) -> None:
    """What needs attention, and where the money is."""
    settings = load_settings()
    found = open_services(settings).database.read(overview.of)
    redis = overview.waiting_in_redis(settings)
    for queue in found["queues"]:
        queue["in_redis"] = None if redis is None else redis[queue["queue"]]
    if as_json:
        say_json(found)
        return
    _part("queues", found["queues"])
    click.echo(f"\nscheduler: {found['scheduler']['active'] or 'none is active'}")
    for title in ("chains", "money", "stuck", "halts", "pauses", "alarms"):
        _part(title, found[title])


@click.command()
@json_option
def alarms(as_json: bool) -> None:
    """What is wrong now. Exit 0 also when there are some."""
    found = open_services().database.read(overview.alarms)
    if as_json:
        say_json(found)
    else:
        _rows(found)


def _part(title: str, rows: list[dict[str, Any]]) -> None:
    click.echo(f"\n{title}")
    _rows(rows)


def _rows(rows: list[dict[str, Any]]) -> None:
    titles = [name.upper().replace("_", " ") for name in rows[0]] if rows else []
    say_table(titles, [tuple(row.values()) for row in rows])
