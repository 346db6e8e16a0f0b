"""`coffer sweep`: what lies on indices until it is collected."""

from __future__ import annotations

from typing import Any

import click
from sqlalchemy import select

from cli.context import acting, json_option, open_services, say_json, say_table
from cli.explaining import tell
from jobs import tasks
from jobs.assets import chains_in_use
from jobs.explain import amount
from jobs.services import Services
from jobs.sweep import plan as sweep_plan
from jobs.views import when
from ledger import audit
from ledger.db import Tx
from ledger.errors import InvalidInput
from ledger.schema import sweep as table

ENDED = ("swept", "abandoned")


@click.group()
def sweep() -> None:
    """What lies on indices, and collecting it into the hot wallet."""


@sweep.command("list")
@click.argument("chain", required=False)
@click.option("--all", "everything", is_flag=True, help="Also sweeps that have ended, the newest 100.")
@json_option
def list_(chain: str | None, everything: bool, as_json: bool) -> None:
    """All that lies on indices of CHAIN (of all chains if not given) with what becomes of it, and sweeps under way."""
    services = open_services()
    found = services.database.read(lambda tx: _listing(tx, services, chain, everything))
    if as_json:
        say_json(found)
        return
    titles = ("CHAIN", "INDEX", "AMOUNT", "STAYS BECAUSE", "SWEEP")
    say_table(titles, [tuple(row.values()) for row in found["places"]], none="nothing lies on indices")
    click.echo("\nsweeps")
    say_table(("ID", "STATE", "REASON", "INDEX", "AMOUNT", "SINCE"), [tuple(row.values()) for row in found["sweeps"]])


@sweep.command()
@click.argument("chain", required=False)
@acting
def run(chain: str | None, actor: str) -> None:
    """Have the worker of CHAIN (of each chain if not given) decide now what is worth collecting."""
    services = open_services()

    def unit(tx: Tx) -> list[str]:
        names = _chains(tx, services, chain)
        for name in names:
            tasks.run_now(tx, f"sweep:{name}")
            audit.record(tx, actor, "sweep.run", name, {})
        return names

    names = services.database.run(unit, "cli.sweep")
    click.echo(f"{', '.join(names) or 'no chain'}: what is worth its fee is collected now")


@sweep.command()
@click.argument("sweep_id")
@json_option
def explain(sweep_id: str, as_json: bool) -> None:
    """One sweep as `coffer explain` tells it."""
    tell(sweep_id, as_json)


def _listing(tx: Tx, services: Services, chain: str | None, everything: bool) -> dict[str, list[dict[str, Any]]]:
    names = _chains(tx, services, chain)
    places = [
        {
            "chain": name,
            "index": place.idx,
            "amount": amount(tx, place.units, place.asset),
            "stays_because": place.reason,
            "sweep": place.sweep,
        }
        for name in names
        for place in sweep_plan.listing(tx, name)
    ]
    query = select(table).where(table.c.chain.in_(names)).order_by(table.c.id.desc()).limit(100)
    rows = tx.all(query if everything else query.where(table.c.state.not_in(ENDED)))
    sweeps = [
        {
            "id": row.public_id,
            "state": row.state,
            "reason": row.status_reason,
            "index": row.idx,
            "amount": amount(tx, row.units, row.asset),
            "created_at": when(row.created_at),
        }
        for row in rows
    ]
    return {"places": places, "sweeps": sweeps}


def _chains(tx: Tx, services: Services, wanted: str | None) -> list[str]:
    """The chains where money lies apart. Raises `InvalidInput` for another one."""
    there = [name for name in chains_in_use(tx) if services.address_book(name).apart]
    if wanted is None:
        return there
    if wanted not in there:
        raise InvalidInput("/chain", f"{wanted}: money lies on indices of {', '.join(there) or 'no chain'} only")
    return [wanted]
