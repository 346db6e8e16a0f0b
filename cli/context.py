"""What commands share: settings, the database, who acts, and how things are printed."""

from __future__ import annotations

import getpass
import json
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import Any, TypeVar

import click

import settings as settings_module
from jobs import bootstrap
from jobs.backup import make
from jobs.services import Services
from jobs.signer.record import Record
from settings import Settings
from workers import logs

F = TypeVar("F", bound=Callable[..., Any])


def load_settings() -> Settings:
    """The settings of a command. A variable that is missing or wrong ends it with one line."""
    logs.configure_command()
    try:
        return settings_module.load()
    except settings_module.SettingsError as error:
        raise click.ClickException(str(error).removeprefix("coffer: ")) from None


def open_services(settings: Settings | None = None) -> Services:
    """Database, address books and wake-ups; no wallet. Raises when schema or mode are not this program's."""
    return bootstrap.services(settings or load_settings(), pool_size=2)


def signer_records(settings: Settings) -> list[Record]:
    """The signer's records that lie below its folder, for reading."""
    return [Record.open(folder) for folder in make.records_below(settings.signer_dir).values()]


def default_actor() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without a user database
        return "unknown"


def acting(command: F) -> F:
    """Adds `--as NAME`; the command gets `actor`, as audit and history rows show it."""

    @click.option("--as", "as_name", metavar="NAME", help="Who acts, for the audit log; the OS user by default.")
    @wraps(command)
    def run(*args: Any, as_name: str | None, **kwargs: Any) -> Any:
        name = default_actor() if as_name is None else as_name.strip()
        if not name or len(name) > 64 or not name.isprintable():
            raise click.BadParameter("1 to 64 printable characters", param_hint="--as")
        return command(*args, actor=f"operator:{name}", **kwargs)

    return run  # type: ignore[return-value]


#: Adds `--json`; the command gets `as_json`.
json_option = click.option("--json", "as_json", is_flag=True, help="For machines.")


def say_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, default=str))


def say_table(titles: Sequence[str], rows: Iterable[Sequence[Any]], *, none: str = "none") -> None:
    """Columns as wide as their widest cell; `none` when there is no row."""
    cells = [[_cell(value) for value in row] for row in rows]
    if not cells:
        click.echo(none)
        return
    widths = [max(len(row[i]) for row in [list(titles), *cells]) for i in range(len(titles))]
    for row in [list(titles), *cells]:
        click.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def _cell(value: Any) -> str:
    """One line, whatever a customer or a node has written into it."""
    text = "-" if value is None else str(value)
    return "".join(c if c.isprintable() else "?" for c in text)
