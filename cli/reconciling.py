"""`coffer reconcile`: the books against the chain, now."""

from __future__ import annotations

import sys
from dataclasses import asdict

import click

from cli.context import json_option, load_settings, open_services, say_json, say_table
from cli.nodes import chain_of, services_with_wallet
from jobs.assets import chains_in_use
from jobs.explain import amount
from jobs.reconcile import chain as books
from jobs.reconcile.chain import Report
from jobs.services import Services
from ledger.db import Tx
from ledger.errors import CofferError


@click.command()
@click.argument("asset", required=False)
@json_option
def reconcile(asset: str | None, as_json: bool) -> None:
    """Compare the books with the chain at one moment, of ASSET or of all. Exit 1 when anything is unexplained."""
    settings = load_settings()
    reports: list[Report] = []
    failed = False
    for chain in open_services(settings).database.read(lambda tx: _chains(tx, asset)):
        try:
            found = books.survey(services_with_wallet(chain, settings), chain)
        except CofferError as error:
            if asset is not None:
                raise
            click.echo(f"{chain}: {error.detail}", err=True)  # the others can be compared all the same
            failed = True
            continue
        if asset is not None:
            reports.append(found.of(asset))
            continue
        reports += [look.report for look in found.looks]
        for code, why in found.unread.items():
            click.echo(f"{code} cannot be compared: {why}", err=True)
            failed = True
    _show(open_services(settings), reports, asset, as_json)
    if failed or any(report.unexplained_units != 0 for report in reports):
        sys.exit(1)


def _chains(tx: Tx, asset: str | None) -> list[str]:
    return chains_in_use(tx) if asset is None else [chain_of(tx, asset)]


def _show(services: Services, reports: list[Report], asset: str | None, as_json: bool) -> None:
    if as_json:
        found = [asdict(report) for report in reports]
        say_json(found if asset is None else found[0])
        return
    for number, report in enumerate(reports):
        click.echo("\n" * (number > 0), nl=False)
        rows = services.database.read(
            lambda tx, r=report: [(name, amount(tx, units, r.asset)) for name, units in _lines(r)]  # type: ignore[misc]
        )
        say_table((f"{report.asset} AT BLOCK {report.height}", "AMOUNT"), rows)


def _lines(report: Report) -> list[tuple[str, int]]:
    return [
        ("on chain", report.chain_total_units),
        ("treasury by the books", report.treasury_units),
        ("+ seen, not in the books yet", report.uncredited_units),
        ("+ on its way out, still on chain", report.in_flight_units),
        ("+ doubtful: a person must decide", report.doubtful_units),
        ("+ surplus, followed until it is final", report.surplus_units),
        ("= unexplained", report.unexplained_units),
        ("on chain, and locked for some blocks", report.locked_units),
        ("on chain by the books' word (dust)", report.unread_units),
        ("owed to customers", report.owed_to_customers_units),
        ("suspense", report.suspense_units),
        ("dust", report.dust_units),
        ("service fees earned", report.service_fees_units),
        ("network fees paid", report.network_fees_units),
    ]
