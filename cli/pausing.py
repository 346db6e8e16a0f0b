"""`coffer pause` and `coffer resume`."""

from __future__ import annotations

import click

from cli.context import acting, open_services
from jobs import tasks
from ledger import pauses
from ledger.db import Tx
from ledger.errors import StateConflict

_ASSET = click.argument("asset")
_FLOW = click.argument("flow", type=click.Choice([*pauses.FLOWS, pauses.EVERYTHING]))


@click.command()
@_ASSET
@_FLOW
@click.option("--reason", required=True, help="Shown to callers.")
@acting
def pause(asset: str, flow: str, reason: str, actor: str) -> None:
    """Stop FLOW of ASSET (either may be '*' for all). What was sent goes on to its end; nothing new leaves."""
    if not open_services().database.run(lambda tx: pauses.stop(tx, asset, flow, reason[:255], actor), "cli.pause"):
        raise StateConflict(f"{flow} of {asset} are paused already; the first reason stays")
    click.echo(f"{flow} of {asset} are paused")


@click.command()
@_ASSET
@_FLOW
@acting
def resume(asset: str, flow: str, actor: str) -> None:
    """Let FLOW of ASSET go on. Other pauses that cover it stay."""

    def unit(tx: Tx) -> bool:
        for work in ("batch", "sweep", "hot"):
            tasks.wake_all(tx, work)
        return pauses.resume(tx, asset, flow, actor)

    if not open_services().database.run(unit, "cli.resume"):
        raise StateConflict(f"{flow} of {asset} are not paused by a row of their own; see `coffer status`")
    click.echo(f"{flow} of {asset} go on")
