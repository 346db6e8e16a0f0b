"""`coffer verify-history`: that nobody has changed who owned what."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from cli.context import open_services
from jobs.ownership import export as ownership_export
from jobs.ownership import verify as ownership_verify
from jobs.ownership.verify import Verdict
from jobs.services import Services


@click.command("verify-history")
@click.argument("subject", required=False, metavar="[SUBJECT]")
@click.option("--against", type=click.Path(path_type=Path), help="A file of heads: is each still on its chain?")
@click.option("--export", "target", type=click.Path(path_type=Path), help="Write a file of heads, if all is whole.")
def verify_history(subject: str | None, against: Path | None, target: Path | None) -> None:
    """Recompute the ownership history of one deposit, order or escrow (its id), or all of them. Exit 1 naming the first
    broken row of each. `--export` and `--against` need COFFER_ROW_MAC_KEY, and look at all."""
    if subject is not None and (against or target):
        raise click.UsageError("a file of heads is of all histories: leave SUBJECT out")
    services = open_services()
    verdict = _verify(services, subject)
    faults = list(verdict.faults)
    if against is not None:
        faults += ownership_export.check(services.database, services.require_mac(), against)
    for fault in faults:
        click.echo(fault, err=True)
    if faults:
        sys.exit(1)
    click.echo(f"{verdict.chains} histories with {verdict.rows} rows, whole")
    if against is not None:
        click.echo(f"every head in {against} is on its chain")
    if target is not None:
        _export(services, target)


def _verify(services: Services, subject: str | None) -> Verdict:
    if subject is not None:
        return services.database.read(lambda tx: ownership_verify.verify_one(tx, subject.strip()), consistent=True)
    return ownership_verify.verify(services.database, _progress if sys.stderr.isatty() else lambda _: None)


def _progress(verdict: Verdict) -> None:
    click.echo(f"\r{verdict.chains} histories …", err=True, nl=False)


def _export(services: Services, target: Path) -> None:
    try:
        count = ownership_export.write(services.database, services.require_mac(), target)
    except OSError as error:
        raise click.ClickException(f"{target}: {error.strerror}") from None
    click.echo(f"{count} heads written to {target}")
