"""`coffer reconcile`: the books against the chain, now."""

from __future__ import annotations

import sys
from dataclasses import asdict

import click

from cli.context import json_option, load_settings, open_services, say_json, say_table
from cli.nodes import chain_of, services_with_wallet
from jobs import reconcile as books
from jobs.explain import amount
from jobs.reconcile import Report


@click.command()
@click.argument("asset", default="BTC")
@json_option
def reconcile(asset: str, as_json: bool) -> None:
    """Compare the books with the chain at one moment. Exit 1 when anything is unexplained."""
    settings = load_settings()
    chain = open_services(settings).database.read(lambda tx: chain_of(tx, asset))
    services = services_with_wallet(chain, settings)
    report = books.of_asset(services, asset, chain)
    if as_json:
        say_json(asdict(report))
    else:
        rows = services.database.read(lambda tx: [(name, amount(tx, units, asset)) for name, units in _lines(report)])
        say_table((f"{asset} AT BLOCK {report.height}", "AMOUNT"), rows)
    if report.unexplained_units != 0:
        sys.exit(1)


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
