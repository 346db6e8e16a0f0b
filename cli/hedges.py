"""`coffer hedges`: the house's orders on an exchange, and what became of those that nobody can tell."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, InvalidOperation

import click

from cli.context import acting, json_option, open_services, say_json, say_table
from jobs.hedge import resolve as hedge_resolve
from ledger.db import Tx


@click.group()
def hedges() -> None:
    """The house's orders on an exchange."""


@hedges.command("list")
@click.option("--all", "everything", is_flag=True, help="Also settled and failed ones.")
@json_option
def list_(everything: bool, as_json: bool) -> None:
    """What is under way, unclear or not settled, the newest first, at most 100."""
    rows = open_services().database.read(lambda tx: hedge_resolve.listing(tx, everything=everything))
    if as_json:
        say_json(rows)
        return
    names = ("id", "venue", "order", "state", "reason", "filled", "average_price", "client_order_id", "placed_at")
    titles = ("ID", "VENUE", "ORDER", "STATE", "REASON", "FILLED", "PRICE", "CLIENT ORDER ID", "PLACED")
    say_table(titles, [tuple(row[name] for name in names) for row in rows])


@hedges.command()
@click.argument("hedge_id")
@acting
def look(hedge_id: str, actor: str) -> None:
    """Have an unclear order looked up again. Nothing is ever sent a second time."""
    _act(lambda tx: hedge_resolve.look_again(tx, hedge_id, actor))
    click.echo(f"{hedge_id} is looked up again")


@hedges.command()
@click.argument("hedge_id")
@click.option("--filled", required=True, help="How much was traded, as the exchange shows it; 0 for nothing.")
@acting
def close(hedge_id: str, filled: str, actor: str) -> None:
    """Say what became of an unclear order, after looking at the exchange's own pages."""
    try:
        amount = Decimal(filled)
    except InvalidOperation:
        raise click.BadParameter("must be a plain decimal amount", param_hint="--filled") from None
    _act(lambda tx: hedge_resolve.close(tx, hedge_id, amount, actor))
    click.echo(f"{hedge_id} is closed")


@hedges.command()
@click.argument("hedge_id")
@acting
def settle(hedge_id: str, actor: str) -> None:
    """Say that the coins of a filled order were moved to or from the exchange: it counts no more."""
    _act(lambda tx: hedge_resolve.settle(tx, hedge_id, actor))
    click.echo(f"{hedge_id} is settled")


def _act(unit: Callable[[Tx], None]) -> None:
    open_services().database.run(unit, "cli.hedge")
