"""`coffer rates`: what coins are worth now, by whose word, and asking again."""

from __future__ import annotations

import click

from cli.context import acting, json_option, open_services, say_json, say_table
from jobs.rates import view as rates_view
from jobs.resolve import by_hand as resolve


@click.group()
def rates() -> None:
    """Exchange rates."""


@rates.command()
@click.option("--currency", default="USD", help="Swaps are priced in USD; others are shown only.")
@click.option("--sources", is_flag=True, help="What each exchange said, too.")
@json_option
def show(currency: str, sources: bool, as_json: bool) -> None:
    """The newest rate of each asset, and whether quotes may use it."""
    found = open_services().database.read(lambda tx: rates_view.present(tx, currency))
    if as_json:
        say_json(found)
        return
    titles = ("ASSET", currency, "USABLE", "AGE S", "SPREAD %", "PROBLEM", "DETAIL")
    names = ("price", "usable", "age_seconds", "spread_percent", "problem", "detail")
    say_table(titles, [(each["asset"], *(each[name] for name in names)) for each in found])
    if sources:
        click.echo()
        said = [(each["asset"], *_row(source)) for each in found for source in each["sources"]]
        say_table(("ASSET", "SOURCE", "PAIR", "BID", "ASK", "AT", "USED", "REASON"), said)


@rates.command()
@acting
def fetch(actor: str) -> None:
    """Have the rates worker ask the exchanges now."""
    open_services().database.run(lambda tx: resolve.run_task(tx, "rates", actor), "cli.run_task")
    click.echo("rates are due now")


def _row(source: dict[str, object]) -> tuple[object, ...]:
    return tuple(source[name] for name in ("source", "pair", "bid", "ask", "at", "used", "reason"))
