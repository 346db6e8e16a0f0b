"""`coffer inventory`: what the house has for swaps, filling and emptying it, and what it earns."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from cli.context import acting, json_option, open_services, say_json, say_table
from cli.patience import surely
from jobs.assets import asset_of
from jobs.swap import inventory as house
from jobs.swap import inventory_report
from jobs.swap.inventory_report import Report, shown
from jobs.views import when
from ledger.db import Tx
from ledger.errors import InvalidInput
from ledger.money import format_units, parse_amount

DAY_US = 86_400 * 1_000_000


@click.group()
def inventory() -> None:
    """What the house has for swaps."""


@inventory.command()
@json_option
def show(as_json: bool) -> None:
    """Free and reserved, the bounds of the alarms, and the capital that could be added."""
    rows = [_row(each) for each in open_services().database.read(house.positions)]
    if as_json:
        say_json(rows)
        return
    titles = ("ASSET", "FREE", "RESERVED", "LOW", "HIGH", "CAPITAL", "NOTE")
    say_table(titles, [tuple(row.values()) for row in rows])


def _row(each: house.Position) -> dict[str, Any]:
    names = ("free", "reserved", "low", "high", "capital")
    units = {name: format_units(getattr(each, name), each.decimals) for name in names}
    return {"asset": each.asset} | units | {"note": each.note}


@inventory.command()
@click.argument("asset")
@click.argument("amount")
@acting
def fund(asset: str, amount: str, actor: str) -> None:
    """Set AMOUNT of the house's own ASSET aside for swaps."""
    key, database = house.new_key(), open_services().database
    surely(database, lambda tx: house.fund(tx, asset, _units(tx, asset, amount), actor, key), "cli.fund")
    click.echo(f"{amount} {asset} of capital are inventory now")


@inventory.command()
@click.argument("asset")
@click.argument("amount")
@acting
def withdraw(asset: str, amount: str, actor: str) -> None:
    """Give AMOUNT of free inventory back to the house's capital."""
    key, database = house.new_key(), open_services().database
    surely(database, lambda tx: house.withdraw(tx, asset, _units(tx, asset, amount), actor, key), "cli.withdraw")
    click.echo(f"{amount} {asset} of inventory are capital again")


@inventory.command()
@click.option("--since", type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]), help="UTC; 30 days ago if not given.")
@json_option
def report(since: datetime | None, as_json: bool) -> None:
    """What customers swapped since then, what that earned, and what the position is worth now."""
    database = open_services().database
    start = database.now() - 30 * DAY_US if since is None else int(since.replace(tzinfo=UTC).timestamp()) * 1_000_000
    found = database.read(lambda tx: inventory_report.report(tx, start), consistent=True)
    if as_json:
        say_json(_sums(found, start) | {"assets": _assets(found)})
        return
    say_table(
        ("ASSET", "POSITION", "PRICE", "SOLD TO US", "BOUGHT FROM US", "SERVICE FEES", "ROUNDING"),
        [tuple(row.values()) for row in _assets(found)],
    )
    click.echo()
    say_table(("SINCE", when(start)), [(name, value) for name, value in _sums(found, start).items() if name != "since"])


def _sums(found: Report, start: int) -> dict[str, Any]:
    names = ("volume", "spread", "service_fees", "rounding", "profit", "value")
    sums = {name: shown(getattr(found, name)) for name in names}
    return {"since": when(start), "swaps": found.swaps, "currency": found.currency} | sums


def _assets(found: Report) -> list[dict[str, Any]]:
    rows = []
    for each in found.positions:
        moved, price = found.turnover[each.asset], found.prices.get(each.asset)
        units = {"position": each.free + each.reserved}
        first = {name: format_units(value, each.decimals) for name, value in units.items()}
        names = ("sold", "bought", "service_fees", "rounding")
        rest = {name: format_units(getattr(moved, name), each.decimals) for name in names}
        rows.append({"asset": each.asset} | first | {"price": None if price is None else f"{price:f}"} | rest)
    return rows


def _units(tx: Tx, code: str, amount: str) -> int:
    coin = asset_of(tx, code)
    if coin is None:
        raise InvalidInput("/asset", f"{code} is not an asset of this installation")
    return parse_amount(amount, coin)
