"""`coffer accounts` and `coffer treasury`."""

from __future__ import annotations

import time

import click
from sqlalchemy import select, update

from cli.context import acting, open_services
from jobs import addresses, resolve_accounts
from jobs.assets import asset_of
from jobs.caller import Caller
from jobs.explain import amount
from jobs.services import Services
from ledger import audit
from ledger.accounts import HOUSE_ACCOUNT, HOUSE_PROJECT
from ledger.db import Tx
from ledger.errors import InvalidInput
from ledger.money import parse_amount
from ledger.schema import address as table


@click.group()
def accounts() -> None:
    """Freeze, unfreeze and write off."""


@accounts.command()
@click.argument("account_id")
@click.option("--reason", required=True, help="At most 64 characters; callers see it.")
@acting
def freeze(account_id: str, reason: str, actor: str) -> None:
    """Stop an account from spending. Deposits still come in."""
    run = open_services().database.run
    run(lambda tx: resolve_accounts.freeze_account(tx, account_id, reason, actor), "cli.freeze")
    click.echo(f"{account_id} is frozen")


@accounts.command()
@click.argument("account_id")
@acting
def unfreeze(account_id: str, actor: str) -> None:
    """Let an account spend again, unless it owes the house."""
    run = open_services().database.run
    run(lambda tx: resolve_accounts.unfreeze_account(tx, account_id, actor), "cli.unfreeze")
    click.echo(f"{account_id} may spend again")


@accounts.command("write-off")
@click.argument("account_id")
@click.argument("asset")
@acting
def write_off(account_id: str, asset: str, actor: str) -> None:
    """Take what an account owes in ASSET after a reorganisation as the house's loss."""

    def unit(tx: Tx) -> str:
        if asset_of(tx, asset) is None:
            raise InvalidInput("/asset", f"{asset} is not an asset of this installation")
        return amount(tx, resolve_accounts.write_off(tx, account_id, asset, actor), asset)

    lost = open_services().database.run(unit, "cli.write_off")
    click.echo(f"{lost} of {account_id} are written off as the house's loss")


@click.group()
def treasury() -> None:
    """Addresses of the house."""


@treasury.command("address")
@click.argument("asset")
@click.option("--label", help="For yourself.")
@click.option("--wait", "wait_seconds", default=30, show_default=True, help="Seconds until the node must watch it.")
@acting
def address_(asset: str, label: str | None, wait_seconds: int, actor: str) -> None:
    """A new address for the house's own money: what comes there is booked as capital, not to a customer."""
    services = open_services()
    public_id = services.database.run(lambda tx: _issue(tx, services, asset, label, actor), "cli.treasury")
    until = time.monotonic() + wait_seconds
    while (text := services.database.read(lambda tx: _ready(tx, public_id))) is None:
        if time.monotonic() > until:
            raise click.ClickException(f"{public_id} is not watched by the node yet; ask `coffer explain {public_id}`")
        time.sleep(0.25)
    click.echo(text)


@treasury.command()
@click.argument("asset")
@click.argument("loss")
@click.option("--reason", required=True, help="What happened, for the audit log.")
@acting
def loss(asset: str, loss: str, reason: str, actor: str) -> None:
    """Book LOSS, an amount of ASSET that left the hot wallet by no payment of ours, as the house's loss."""

    def unit(tx: Tx) -> None:
        coin = asset_of(tx, asset)
        if coin is None:
            raise InvalidInput("/asset", f"{asset} is not an asset of this installation")
        resolve_accounts.book_loss(tx, asset, parse_amount(loss, coin), reason, actor)

    open_services().database.run(unit, "cli.loss")
    click.echo(f"{loss} {asset} are booked as the house's loss; `coffer reconcile {asset}` shows what is left")


def _issue(tx: Tx, services: Services, code: str, label: str | None, actor: str) -> str:
    asset = asset_of(tx, code)
    if asset is None:
        raise InvalidInput("/asset", f"{code} is not an asset of this installation")
    house = Caller(HOUSE_PROJECT, None, actor, actor)
    row = addresses.issue(tx, house, addresses.Wish(HOUSE_ACCOUNT, asset, label=label), services)
    tx.execute(update(table).where(table.c.id == row.id).values(purpose_kind="treasury"))
    audit.record(tx, actor, "treasury.address", row.public_id, {"asset": code, "index": row.idx})
    return str(row.public_id)


def _ready(tx: Tx, public_id: str) -> str | None:
    """The address once the node watches it: shown earlier, what is sent there could be missed."""
    row = tx.one(select(table.c.address, table.c.state).where(table.c.public_id == public_id))
    return row.address if row.state == "ready" else None
