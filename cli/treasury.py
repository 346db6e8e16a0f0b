"""`coffer treasury`: the house's own money."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import click
from sqlalchemy import select

from cli.context import acting, json_option, open_services, say_json, say_table
from cli.patience import surely
from jobs import treasury as house
from jobs.assets import asset_of
from jobs.explain import amount
from jobs.resolve import accounts as resolve_accounts
from jobs.services import Services
from ledger.db import Tx
from ledger.errors import InvalidInput
from ledger.money import parse_amount
from ledger.schema import address as table


@click.group()
def treasury() -> None:
    """The house's own money."""


@treasury.command()
@json_option
def status(as_json: bool) -> None:
    """Where it lies, by the books, and what is not worth collecting, or waits for something."""
    services = open_services()
    found = services.database.read(lambda tx: _status(tx, services))
    if as_json:
        say_json(found)
        return
    titles = ("ASSET", "HOT", "ON INDICES", "COLD", "IN FLIGHT")
    say_table(titles, [tuple(row.values()) for row in found["assets"]])
    click.echo("\nleft on indices")
    say_table(("CHAIN", "INDEX", "AMOUNT", "REASON"), [tuple(row.values()) for row in found["left"]])


def _status(tx: Tx, services: Services) -> Mapping[str, list[dict[str, Any]]]:
    rows = [asdict(each) for each in house.by_asset(tx)]
    left = [
        {"chain": chain, "index": place.idx, "amount": amount(tx, place.units, place.asset), "reason": place.reason}
        for chain, places in house.left_behind(tx, services).items()
        for place in places
    ]
    return {"assets": [_amounts(tx, row) for row in rows], "left": left}


def _amounts(tx: Tx, row: dict[str, Any]) -> dict[str, Any]:
    code = row.pop("asset")
    return {"asset": code} | {name: amount(tx, units, code) for name, units in row.items()}


@treasury.command("address")
@click.argument("asset")
@click.option("--refill", is_flag=True, help="For money that comes back from cold: no capital, it was ours before.")
@click.option("--label", help="For yourself.")
@click.option("--wait", "wait_seconds", default=30, show_default=True, help="Seconds until the node must watch it.")
@acting
def address_(asset: str, refill: bool, label: str | None, wait_seconds: int, actor: str) -> None:
    """An address for the house's own money: what comes there is booked as capital, not to a customer."""
    services = open_services()

    def unit(tx: Tx) -> str:
        return str(house.address_for(tx, services, asset, actor, refill=refill, label=label).public_id)

    public_id = services.database.run(unit, "cli.treasury")
    until = time.monotonic() + wait_seconds
    while (text := services.database.read(lambda tx: _ready(tx, public_id))) is None:
        if time.monotonic() > until:
            raise click.ClickException(f"{public_id} is not watched by the node yet; ask `coffer explain {public_id}`")
        time.sleep(0.25)
    click.echo(text)


def _ready(tx: Tx, public_id: str) -> str | None:
    """The address once the node watches it: shown earlier, what is sent there could be missed."""
    row = tx.one(select(table.c.address, table.c.state).where(table.c.public_id == public_id))
    return row.address if row.state == "ready" else None


@treasury.command()
@click.argument("asset")
@click.argument("loss")
@click.option("--reason", required=True, help="What happened, for the audit log.")
@acting
def loss(asset: str, loss: str, reason: str, actor: str) -> None:
    """Book LOSS, an amount of ASSET that left the hot wallet by no payment of ours, as the house's loss."""

    key = resolve_accounts.loss_key()

    def unit(tx: Tx) -> None:
        coin = asset_of(tx, asset)
        if coin is None:
            raise InvalidInput("/asset", f"{asset} is not an asset of this installation")
        resolve_accounts.book_loss(tx, asset, parse_amount(loss, coin), reason, actor, key)

    surely(open_services().database, unit, "cli.loss")
    click.echo(f"{loss} {asset} are booked as the house's loss; `coffer reconcile {asset}` shows what is left")
