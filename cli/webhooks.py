"""`coffer webhooks`: where shops want their events, and what came of sending them."""

from __future__ import annotations

from typing import Any

import click
from sqlalchemy import Row, func, select

from cli.context import acting, json_option, open_services, say_json, say_table
from jobs.views import when
from jobs.webhooks import endpoints as webhook_endpoints
from jobs.webhooks import log as webhook_log
from jobs.webhooks.events import TYPES
from ledger import audit
from ledger.db import Tx
from ledger.schema import project, webhook_delivery, webhook_endpoint

STATES = ("pending", "delivered", "failed")

_E, _D = webhook_endpoint.c, webhook_delivery.c


@click.group()
def webhooks() -> None:
    """Endpoints of shops, and what was delivered to them."""


@webhooks.command("list")
@click.option("--state", type=click.Choice(["enabled", "disabled"]), help="Both if not given.")
@json_option
def list_(state: str | None, as_json: bool) -> None:
    """Endpoints of all projects."""
    rows = open_services().database.read(lambda tx: _endpoints(tx, state))
    if as_json:
        say_json(rows)
    else:
        titles = ("ID", "PROJECT", "STATUS", "REASON", "URL", "FAILING SINCE", "PENDING")
        say_table(titles, [tuple(row.values()) for row in rows])


def _endpoints(tx: Tx, state: str | None) -> list[dict[str, Any]]:
    query = select(webhook_endpoint, project.c.name.label("shop")).join(project, project.c.id == _E.project_id)
    query = query.where(_E.state != "deleted" if state is None else _E.state == state).order_by(_E.id)
    return [
        {
            "id": row.public_id,
            "project": row.shop,
            "status": row.state,
            "status_reason": row.disabled_reason,
            "url": row.url,
            "failing_since": None if row.failing_since is None else when(row.failing_since),
            "pending": _counts(tx, row)["pending"],
        }
        for row in tx.all(query)
    ]


def _counts(tx: Tx, endpoint: Row[Any]) -> dict[str, int]:
    query = select(_D.state, func.count().label("number")).where(_D.endpoint_id == endpoint.id).group_by(_D.state)
    found = {str(row.state): int(row.number) for row in tx.all(query)}
    return {state: found.get(state, 0) for state in STATES}


@webhooks.command()
@click.argument("endpoint_id")
def show(endpoint_id: str) -> None:
    """One endpoint, and how many of its deliveries are in which state."""

    def unit(tx: Tx) -> dict[str, Any]:
        row = webhook_endpoints.find(tx, None, endpoint_id, deleted=True)
        return webhook_endpoints.view(row) | {"given_up_to_sequence": row.cursor, "deliveries": _counts(tx, row)}

    say_json(open_services().database.read(unit))


@webhooks.command()
@click.argument("endpoint_id")
@acting
def enable(endpoint_id: str, actor: str) -> None:
    """Switch an endpoint on; it gets all that has happened since it was switched off."""

    def unit(tx: Tx) -> None:
        webhook_endpoints.enable(tx, webhook_endpoints.find(tx, None, endpoint_id, locked=True), actor)

    open_services().database.run(unit, "cli.webhooks.enable")
    click.echo(f"{endpoint_id} is enabled")


@webhooks.command()
@click.argument("endpoint_id")
@acting
def disable(endpoint_id: str, actor: str) -> None:
    """Switch an endpoint off; it keeps its place in the sequence."""

    def unit(tx: Tx) -> None:
        webhook_endpoints.disable(tx, webhook_endpoints.find(tx, None, endpoint_id, locked=True), "operator", actor)

    open_services().database.run(unit, "cli.webhooks.disable")
    click.echo(f"{endpoint_id} is disabled")


@webhooks.command()
@click.argument("endpoint_id", required=False)
@click.option("--state", type=click.Choice(STATES), help="All if not given.")
@click.option("--type", "type_", type=click.Choice(TYPES), metavar="EVENT", help="Of one type of event.")
@json_option
def deliveries(endpoint_id: str | None, state: str | None, type_: str | None, as_json: bool) -> None:
    """Deliveries to ENDPOINT_ID (to all if not given), newest first, at most 200."""

    def unit(tx: Tx) -> list[dict[str, Any]]:
        query = select(_D.id)
        if endpoint_id is not None:
            query = query.where(_D.endpoint_id == webhook_endpoints.find(tx, None, endpoint_id, deleted=True).id)
        query = query if state is None else query.where(_D.state == state)
        query = query if type_ is None else query.where(_D.type == type_)
        return webhook_log.views(tx, [row.id for row in tx.all(query.order_by(_D.id.desc()).limit(200))])

    rows = open_services().database.read(unit)
    if as_json:
        say_json(rows)
        return
    names = ("id", "endpoint", "type", "resource", "status", "status_reason", "tries", "next_attempt_at")
    say_table([name.upper().replace("_", " ") for name in names], [[row[name] for name in names] for row in rows])


@webhooks.command()
@click.argument("delivery_id")
def delivery(delivery_id: str) -> None:
    """One delivery with every attempt."""
    say_json(open_services().database.read(lambda tx: webhook_log.view(tx, webhook_log.find(tx, None, delivery_id).id)))


@webhooks.command()
@click.argument("delivery_id")
@acting
def redeliver(delivery_id: str, actor: str) -> None:
    """Send a delivery's event again, now; one that is still pending is brought forward."""

    def unit(tx: Tx) -> str:
        row_id = webhook_log.redeliver(tx, webhook_log.find(tx, None, delivery_id))
        audit.record(tx, actor, "webhook_delivery.redeliver", delivery_id, {})
        return str(webhook_log.views(tx, [row_id])[0]["id"])

    click.echo(open_services().database.run(unit, "cli.webhooks.redeliver"))
