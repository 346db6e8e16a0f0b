"""The processes: api, worker, scheduler."""

from __future__ import annotations

import sys
from typing import Any

import click

import settings as settings_module
from ledger.founding import CHAINS
from workers import logs

#: As in `jobs.queues`, without importing the queue library for `coffer --help` and the API.
QUEUES = (*CHAINS, "tasks", "rates", "webhooks")


def _settings() -> settings_module.Settings:
    try:
        found = settings_module.load()
    except settings_module.SettingsError as error:
        raise click.ClickException(str(error).removeprefix("coffer: ")) from None
    logs.configure(found)
    return found


@click.command()
def api() -> None:
    """Serve the HTTP API with gunicorn, at COFFER_API_HOST and COFFER_API_PORT."""
    settings = _settings()
    if settings.api_secret is None:
        raise click.ClickException("COFFER_API_SECRET is needed by the API")
    _check_database(settings)
    from gunicorn.app.wsgiapp import WSGIApplication  # type: ignore[import-untyped]

    sys.argv = [
        "coffer api",
        "--config",
        "python:api.gunicorn_conf",
        "--logger-class",
        "cli.serving.Log",
        "api.wsgi:app",
    ]
    WSGIApplication("%(prog)s", prog="coffer api").run()


def _check_database(settings: settings_module.Settings) -> None:
    """Refuse here, in one line, what each gunicorn worker would only die of."""
    from jobs import bootstrap

    bootstrap.open_database(settings, pool_size=1).close()


@click.command()
@click.argument("queue", type=click.Choice(QUEUES))
def worker(queue: str) -> None:
    """Work on one QUEUE until SIGTERM."""
    from workers import worker as process

    _end(process.run(_settings(), queue))


@click.command()
def scheduler() -> None:
    """Wake periodic tasks until SIGTERM."""
    import scheduler as process

    _end(process.run(_settings()))


def _end(code: int) -> Any:
    # Threads that hang in a node call are daemons; without this, the interpreter's own end could wait for their locks.
    sys.stderr.flush()
    sys.exit(code)
