"""`coffer status` and `coffer alarms`."""

from __future__ import annotations

from typing import Any

import click

from cli import overview
from cli.context import acting, json_option, load_settings, open_services, say_json, say_table
from jobs.resolve import alarms as resolve


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
@click.option("--close", nargs=2, metavar="NAME SUBJECT", help="Say that you have looked at what ends in no other way.")
@json_option
@acting
def alarms(close: tuple[str, str] | None, as_json: bool, actor: str) -> None:
    """What is wrong now. Exit 0 also when there are some.

    An alarm closes when its cause is gone, or when somebody decides about what it names. By hand are closed those that
    tell of what has happened and cannot be decided: final_deposit_moved, swap_changed.
    """
    database = open_services().database
    if close is not None:
        database.run(lambda tx: resolve.close(tx, *close, actor), "cli.close_alarm")
        click.echo(f"{close[0]} of {close[1]} is closed")
        return
    found = database.read(overview.alarms)
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
