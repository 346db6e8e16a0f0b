"""`coffer signer`: the record that the signer keeps outside the database."""

from __future__ import annotations

from pathlib import Path

import click

from cli.context import acting, json_option, load_settings, open_services, say_json, say_table
from jobs import bootstrap
from jobs.payment import second_line, succession
from jobs.services import Services
from jobs.signer.record import Record
from ledger.founding import CHAINS
from settings import Settings


@click.group()
def signer() -> None:
    """The signer's own record of what it signed. Run these where COFFER_SIGNER_DIR is."""


def _folder(settings: Settings) -> Path:
    if settings.signer_dir is None:
        raise click.ClickException("COFFER_SIGNER_DIR is not set")
    return Path(settings.signer_dir)


def _services() -> Services:
    settings = load_settings()
    services = open_services(settings)
    services.signer = bootstrap.signer(settings, services)
    return services


@signer.command("status")
@json_option
def status(as_json: bool) -> None:
    """Whose record it is, whether it is whole, and how far the database knows it."""
    settings = load_settings()
    services, record = open_services(settings), Record.open(_folder(settings))
    head, faults = record.head(), record.faults()
    known = services.database.read(second_line.heads)
    rows = [
        {"chain": chain, "known": known[chain].count if chain in known else 0, "ahead": len(ahead), "payments": count}
        for chain in CHAINS
        for ahead in [record.since(known[chain].count if chain in known else 0, chain)]
        for count in [sum(1 for _ in record.payments(chain))]
    ]
    if as_json:
        found = {"installation": record.installation(), "entries": head.count, "hash": head.hash, "faults": faults}
        say_json(found | {"chains": rows})
        return
    click.echo(f"{record.path}: {head.count} entries, of the installation {record.installation() or '(nobody yet)'}")
    for fault in faults:
        click.echo(f"broken: {fault}")
    say_table(("CHAIN", "KNOWN TO THE DATABASE", "AHEAD", "PAYMENTS"), [tuple(row.values()) for row in rows])


@signer.command("accept")
@click.argument("chain", type=click.Choice(CHAINS))
@click.option("--reason", required=True, help="What you found out. For the audit log.")
@acting
def accept(chain: str, reason: str, actor: str) -> None:
    """Take the record as it stands for the right one, after a halt for `signer_record` or `restored`.

    Compare with the chain first: what a lost record knew is known to nobody else. The halt for `signer_record` itself
    is lifted by `coffer lift-halt`; one for `restored` by `coffer quarantine begin`, and then `coffer quarantine lift`.
    """
    head = succession.accept(_services(), chain, reason, actor)
    click.echo(f"the record is known on {chain} up to entry {head.count}; see `coffer status` for what still halts it")
