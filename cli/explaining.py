"""`coffer explain`: one timeline of everything that is known, and the safe next steps only."""

from __future__ import annotations

from typing import Any

import click
from sqlalchemy import Row

from cli.context import json_option, load_settings, open_services, say_json
from jobs.assets import DatabaseDirectory
from jobs.explain import Explanation
from jobs.explain import explain as gather
from jobs.payment.contents import stored
from jobs.services import Services
from jobs.views import when
from ledger.errors import CofferError
from ledger.schema import payment
from settings import Settings
from wallets import registry
from wallets.protocol import ChainWallet


@click.command()
@click.argument("text", metavar="ID")
@json_option
def explain(text: str, as_json: bool) -> None:
    """Everything that is known of ID: a public id, a txid, an address or a reference."""
    tell(text, as_json)


def tell(text: str, as_json: bool) -> None:
    """Print the explanation. Raises `NotFound`."""
    settings = load_settings()
    services = open_services(settings)
    found = services.database.read(lambda tx: gather(tx, text.strip()))
    node = _ask_node(services, settings, found)
    if as_json:
        say_json(_as_json(found, node))
    else:
        show(found, node)


def _ask_node(services: Services, settings: Settings, found: Explanation) -> list[str]:
    """Where the chain says each candidate stands; a node that cannot be asked is said so."""
    lines: list[str] = []
    wallets: dict[str, ChainWallet] = {}
    for candidate in found.candidates:
        try:
            if candidate.chain not in wallets:
                directory = DatabaseDirectory(services.database, candidate.chain)
                wallets[candidate.chain] = registry.wallet(candidate.chain, settings, directory)
            wallet = wallets[candidate.chain]
            status = wallet.look_up(stored(candidate, _payment(services, candidate.payment_id)))
        except CofferError as error:
            lines.append(f"{candidate.txid}: the node cannot be asked: {error.detail}")
            break  # it would only take as long again
        rivals = f", rivals {', '.join(status.conflicting)}" if status.conflicting else ""
        depth = f", {status.depth} blocks deep" if status.depth else ""
        lines.append(f"{candidate.txid}: {status.state}{depth}{rivals}")
    return lines


def _payment(services: Services, payment_id: int) -> Row[Any]:
    return services.database.read(lambda tx: tx.one(payment.select().where(payment.c.id == payment_id)))


def _as_json(found: Explanation, node: list[str]) -> dict[str, Any]:
    timeline = [{"at": when(m.at), "subject": m.subject, "what": m.what} for m in found.timeline]
    return {
        "subjects": found.subjects,
        "timeline": timeline,
        "paid_for": found.trace,
        "node": node,
        "alarms": found.alarms,
        "next_steps": found.actions,
    }


def show(found: Explanation, node: list[str]) -> None:
    """Print an explanation, as far as a node added `node` to it."""
    for subject in found.subjects:
        click.echo(_line(f"{subject['kind']} {subject['id']}"))
        for name, value in subject.items():
            if name not in ("kind", "id"):
                click.echo(_line(f"    {name}: {value}"))
    click.echo("\ntimeline")
    for moment in found.timeline:
        click.echo(_line(f"  {when(moment.at)}  {moment.subject}  {moment.what}"))
    for title, lines in (
        ("money", found.trace),
        ("node", node),
        ("alarms", found.alarms),
        ("safe next steps", found.actions),
    ):
        if lines:
            click.echo(f"\n{title}")
            for line in lines:
                click.echo(_line(f"  {line}"))


def _line(text: str) -> str:
    """One line, whatever a customer has written into a reference."""
    return "".join(c if c.isprintable() else "?" for c in text)
