"""`coffer accounts`: freeze, unfreeze, write off."""

from __future__ import annotations

import click

from cli.context import acting, open_services
from jobs.assets import asset_of
from jobs.explain import amount
from jobs.resolve import accounts as resolve_accounts
from ledger.db import Tx
from ledger.errors import InvalidInput


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
