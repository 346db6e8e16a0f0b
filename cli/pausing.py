"""`coffer pause` and `coffer resume`; `coffer halt` and `coffer lift-halt`; `coffer claim-wallet`."""

from __future__ import annotations

import re

import click

from cli.context import acting, load_settings, open_services
from jobs import halting, tasks
from jobs.assets import DatabaseDirectory
from jobs.backup import quarantine
from jobs.reconcile import differences, outgoing
from ledger import audit, founding, halts, pauses
from ledger.db import Tx
from ledger.errors import StateConflict
from ledger.founding import CHAINS
from wallets import registry

_ASSET = click.argument("asset")
_FLOW = click.argument("flow", type=click.Choice([*pauses.FLOWS, pauses.EVERYTHING]))
_CHAIN = click.argument("chain", type=click.Choice(list(CHAINS)))


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
@click.option("--despite-difference", "despite", metavar="REASON", help="Books and chain differ; let that stand.")
@acting
def resume(asset: str, flow: str, despite: str | None, actor: str) -> None:
    """Let FLOW of ASSET go on. Other pauses that cover it stay.

    Refused while the latest comparison of books and chain shows the difference for which it was paused.
    """

    def unit(tx: Tx) -> bool:
        if despite is None:
            differences.check(tx, asset, flow)
        else:
            differences.accept(tx, asset, flow, despite, actor)
        for work in ("batch", "sweep", "hot"):
            tasks.wake_all(tx, work)
        return pauses.resume(tx, asset, flow, actor)

    if not open_services().database.run(unit, "cli.resume"):
        raise StateConflict(f"{flow} of {asset} are not paused by a row of their own; see `coffer status`")
    click.echo(f"{flow} of {asset} go on")


@click.command()
@_CHAIN
@click.option("--reason", required=True, help="For operators.")
@acting
def halt(chain: str, reason: str, actor: str) -> None:
    """Sign nothing more on CHAIN, whatever the asset. What was sent, or is about to be, goes on as the same bytes."""
    unit = lambda tx: halting.stop(tx, chain, "operator", reason, actor)  # noqa: E731  one expression, named by its use
    if not open_services().database.run(unit, "cli.halt"):
        raise StateConflict(f"{chain} is halted by an operator already; the first reason stays")
    click.echo(f"nothing more is signed on {chain}")


@click.command("claim-wallet")
@_CHAIN
@click.option("--reason", required=True, help="What became of the other installation; for the audit log.")
@acting
def claim_wallet(chain: str, reason: str, actor: str) -> None:
    """Mark CHAIN's wallet as this database's, whoever's it was. The other one must never pay from it again."""
    settings = load_settings()
    services = open_services(settings)
    wallet = registry.wallet(chain, settings, DatabaseDirectory(services.database, chain))
    wallet.open()
    before, ours = wallet.marked(), services.database.read(founding.public_id)
    told = {"before": before, "reason": reason[:512]}
    services.database.run(lambda tx: audit.record(tx, actor, "claim_wallet", chain, told), "cli.claim_wallet")
    wallet.mark(ours)
    click.echo(f"the {chain} wallet belongs to {ours}" + (f"; before, to {before}" if before else ""))


@click.command("lift-halt")
@_CHAIN
@click.argument("cause", type=click.Choice(halts.CAUSES))
@click.option("--reason", required=True, help="What you found out; for the audit log.")
@click.option("--accept", "names", multiple=True, metavar="NAME", help="Left by no payment here, and looked into.")
@acting
def lift_halt(chain: str, cause: str, reason: str, names: tuple[str, ...], actor: str) -> None:
    """Take one CAUSE away for which nothing is signed on CHAIN, once you have looked into it.

    What left by no payment here is accepted with that: it is told of no more, and its nonces count as used. What its
    halts name needs no --accept; while there is anything else, nothing is lifted.
    """

    if cause == quarantine.CAUSE:
        raise StateConflict(f"after a restore {chain} is compared first: `coffer quarantine lift {chain}`")

    def unit(tx: Tx) -> tuple[list[str], str | None]:
        told = " ".join(why for each, why in halts.all_of(tx, chain) if each in outgoing.CAUSES)
        if not halting.lift(tx, chain, cause, actor, reason):
            raise StateConflict(f"{chain} is not halted for {cause}; see `coffer status`")
        known = {*names, *re.split(r"[\s,]+", told)}
        found = outgoing.accept(tx, chain, known, reason, actor) if cause in outgoing.CAUSES else []
        return found, halts.reason(tx, chain)

    accepted, left = open_services().database.run(unit, "cli.lift_halt")
    for name in accepted:
        click.echo(f"accepted: {name}")
    click.echo(f"{chain} signs again" if left is None else f"lifted; nothing is signed on {chain} yet: {left}")
