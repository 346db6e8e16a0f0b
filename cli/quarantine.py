"""`coffer quarantine`: what a restored installation must have looked into before it pays again."""

from __future__ import annotations

import sys
from dataclasses import asdict

import click

from cli.context import acting, json_option, load_settings, open_services, say_json, say_table, signer_records
from cli.nodes import services_with_wallet
from jobs import bootstrap
from jobs.backup import assign, make, quarantine
from jobs.backup.compare import Comparison, compare
from jobs.backup.lift import lift
from jobs.views import when
from ledger.db import Tx
from ledger.errors import CofferError
from settings import Settings
from wallets import registry


@click.group("quarantine", invoke_without_command=True)
@click.pass_context
@json_option
def quarantine_(context: click.Context, as_json: bool) -> None:
    """Compare what was restored with the chains. Exit 1 while something is unexplained."""
    if context.invoked_subcommand is None and not compare_all(load_settings(), as_json):
        sys.exit(1)


@quarantine_.command("lift")
@click.argument("chain")
@click.option("--accept", metavar="REASON", help="Go on although something is unexplained; audited.")
@acting
def lift_(chain: str, accept: str | None, actor: str) -> None:
    """Compare CHAIN once more, and let it sign and send again when everything is explained."""
    settings = load_settings()
    services = open_services(settings)
    services.database.read(lambda tx: quarantine.check_held(tx, chain))
    found = of_chain(settings, chain)
    _say(found)
    records = signer_records(settings)
    waiting = lift(services, found, records, accept, actor)
    click.echo(f"\n{chain} is out of quarantine")
    for public_id in waiting:
        click.echo(f"  {public_id} waits for a person: it may have been paid after the backup was made")


@quarantine_.command("begin")
@click.option(
    "--record-lost", is_flag=True, help="The signer's record is not of now: it was lost, or is a copy as well."
)
@click.option("--skip-indices", default=quarantine.SKIP, show_default=True, type=click.IntRange(0, 100_000))
@acting
def begin_(record_lost: bool, skip_indices: int, actor: str) -> None:
    """For a database that came back in another way than by `coffer restore`: a snapshot, a replica, a copied file. With
    no worker running."""
    settings = load_settings()
    services = open_services(settings)
    chains = registry.chains()
    records = dict.fromkeys(chains, "restored" if record_lost else "survived")
    books = {chain: services.address_book(chain) for chain in chains}

    def unit(tx: Tx) -> None:
        quarantine.begin(tx, quarantine.Beginning("by_hand", tx.now, records, actor, skip_indices), books)

    services.database.run(unit, "quarantine_begin")
    click.echo("in quarantine: nothing is signed or sent before each chain was compared")


@quarantine_.command()
@click.argument("address")
@click.argument("account")
@click.option("--asset", required=True, help="What the address was given out for.")
@acting
def give(address: str, account: str, asset: str, actor: str) -> None:
    """Say that ADDRESS, given out after the backup was made, is ACCOUNT's: what came there, and will, is credited.

    Deposits that somebody has decided about stay where they are. Those that are held because the chain's stories about
    them differ are still to be decided: `coffer deposits resolve`.
    """
    services = open_services()
    given = assign.give(services, address, account, asset, actor)
    click.echo(f"{address} is of {account}; {len(given.credited)} deposits credited")
    for public_id in given.credited:
        click.echo(f"  {public_id}")
    for public_id in given.doubtful:
        click.echo(f"  {public_id} stays held, as its stories differ: `coffer deposits resolve` once you have looked")


def compare_all(settings: Settings, as_json: bool = False) -> bool:
    """Compare every chain that is in quarantine and tell it; whether all of it is explained."""
    services = open_services(settings)
    row, held = services.database.read(lambda tx: (quarantine.current(tx), quarantine.held_chains(tx)))
    if not as_json:
        click.echo(f"restored from {row.backup_id} of {when(row.taken_at)}")
    found: list[Comparison] = []
    whole = True
    for chain in held:
        try:
            found.append(of_chain(settings, chain))
        except CofferError as error:
            click.echo(f"{chain}: {error.detail}", err=True)
            whole = False
    if as_json:
        say_json([asdict(each) | {"paid": sorted(each.paid)} for each in found])
    else:
        for each in found:
            _say(each)
    return whole and not any(each.unexplained for each in found)


def of_chain(settings: Settings, chain: str) -> Comparison:
    """The comparison of one chain, by its node; long calls get the time that they need."""
    patient = make.patient(settings)
    services = services_with_wallet(chain, patient)
    return compare(services, bootstrap.runtime(services), chain, signer_records(settings))


def _say(found: Comparison) -> None:
    record = "knows what was signed since" if found.knows_signed else "ends with the backup"
    click.echo(f"\n{found.chain} at block {found.tip.height}; the signer's record {record}")
    rows = [("!" if each.open else "", each.kind, each.subject, each.detail) for each in found.findings]
    say_table(("", "WHAT", "WHICH", "FOUND"), rows, none="nothing happened since the backup that can be seen")
