"""`coffer mirror`: what Redis shows of the database, written anew or compared."""

from __future__ import annotations

import sys

import click
from redis import Redis
from redis.exceptions import RedisError

from cli.context import open_services
from jobs.mirror import check as mirror_check
from jobs.mirror import keep as writer
from jobs.mirror.keep import Step
from ledger.db import Database

#: Differences printed one by one.
SHOWN_MAX = 20


@click.group()
def mirror() -> None:
    """What Redis shows of the database."""


@mirror.command()
def rebuild() -> None:
    """Forget the mirror and write it anew from the database. The engine goes on meanwhile; readers find part of it."""
    database, redis = _parts()
    try:
        done = writer.rebuild(database, redis, _progress if sys.stderr.isatty() else lambda _: None)
    except RedisError as error:
        raise click.ClickException(f"redis: {error}") from None
    click.echo(f"{done.orders} orders and {done.rows} rows of ownership histories written")


@mirror.command()
def check() -> None:
    """Compare every order and row, in both directions. Exit 1 naming what differs."""
    database, redis = _parts()
    try:
        verdict = mirror_check.check(database, redis)
    except RedisError as error:
        raise click.ClickException(f"redis: {error}") from None
    for difference in verdict.differences[:SHOWN_MAX]:
        click.echo(difference, err=True)
    if verdict.differences:
        more = len(verdict.differences) - SHOWN_MAX
        if more > 0:
            click.echo(f"and {more} more", err=True)
        sys.exit(1)
    click.echo(f"{verdict.orders} orders and {verdict.rows} rows of ownership histories agree")


def _parts() -> tuple[Database, Redis]:
    services = open_services()
    if services.redis is None:
        raise click.ClickException("COFFER_REDIS_URL is not set: there is no Redis to mirror to")
    return services.database, services.redis


def _progress(done: Step) -> None:
    click.echo(f"\r{done.orders} orders, {done.rows} rows …", err=True, nl=False)
