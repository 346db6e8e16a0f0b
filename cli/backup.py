"""`coffer backup` and `coffer restore`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from cli.context import acting, json_option, load_settings, say_json, say_table
from jobs.backup import make, quarantine
from jobs.backup import restore as restoring
from jobs.backup.manifest import Manifest
from jobs.views import when

_FOLDER = click.argument("folder", type=click.Path(file_okay=False, path_type=Path))


@click.command()
@_FOLDER
@click.option("--without", multiple=True, metavar="CHAIN", help="Leave this chain's wallet files out. Repeatable.")
@click.option("--check", is_flag=True, help="Make none: only see whether the one in FOLDER is whole.")
@json_option
def backup(folder: Path, without: tuple[str, ...], check: bool, as_json: bool) -> None:
    """Copy database, wallet files and the signer's record into FOLDER, which must be empty, while everything works."""
    settings = load_settings()
    found = restoring.check(settings, folder) if check else make.make(settings, folder, without)
    if as_json:
        say_json(asdict(found))
        return
    _say(found)
    click.echo(
        "\nNot in it: COFFER_ROW_MAC_KEY, wallet passphrases, and the key of the seed file. Without them it is worth "
        "nothing, to anybody. Keep them elsewhere."
    )


def _say(found: Manifest) -> None:
    click.echo(f"{found.backup_id} of {when(found.taken_at)}, installation {found.installation}, {found.dialect}\n")
    say_table(("FILE", "SHA-256"), found.files.items())
    click.echo()
    rows = [
        (name, mark["next_index"], mark["resources"], mark["tip_height"])
        for name, mark in found.marks["chains"].items()
        if mark["tip_height"] is not None
    ]
    say_table(("CHAIN", "NEXT INDEX", "RESOURCES USED", "READ UP TO BLOCK"), rows)


@click.command()
@_FOLDER
@click.option("--verify", is_flag=True, help="Compare with every chain at once; needs the nodes.")
@click.option(
    "--skip-indices",
    default=quarantine.SKIP,
    show_default=True,
    type=click.IntRange(0, 100_000),
    help="Address indices of each chain that may have been given out since the backup.",
)
@acting
def restore(folder: Path, verify: bool, skip_indices: int, actor: str) -> None:
    """Put the backup in FOLDER in place, where nothing is, and into quarantine: nothing is signed or sent before each
    chain was compared (see `coffer quarantine`)."""
    settings = load_settings()
    done = restoring.restore(settings, folder, actor, skip_indices)
    click.echo(f"{done.manifest.backup_id} of {when(done.manifest.taken_at)} is in place, in quarantine")
    for name, put_back in done.wallets.items():
        click.echo(f"  {name} wallet: {'put back' if put_back else 'one lay there, and was left alone'}")
    told = {
        restoring.SURVIVED: "goes on after the backup: what was signed since is known",
        restoring.RESTORED: "ends with the backup: nobody knows what was signed since",
    }
    for name in sorted(done.wallets):
        click.echo(f"  {name}, signer's record: {told[done.records[name]]}")
    if verify:
        from cli.quarantine import compare_all

        compare_all(settings)
