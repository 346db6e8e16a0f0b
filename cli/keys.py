"""`coffer keys`: the first keys of a shop, and the end of any."""

from __future__ import annotations

from datetime import UTC, datetime

import click
from sqlalchemy import select

from cli.context import acting, json_option, load_settings, open_services, say_json, say_table
from cli.projects import find_or_make
from jobs import keys as api_keys
from jobs.keys import SCOPES, Keyring, Wish
from jobs.views import maybe_when
from ledger import audit
from ledger.db import Tx
from ledger.errors import InvalidInput, NotFound
from ledger.schema import api_key, project
from settings import Settings


@click.group()
def keys() -> None:
    """API keys."""


@keys.command()
@click.option("--project", "project_name", required=True, help="Made when it is not there.")
@click.option("--name", required=True, help="What the key is for.")
@click.option("--scope", "scopes", multiple=True, required=True, metavar="SCOPE", help="Repeatable; `all` for all.")
@click.option("--holder", required=True, help="The person or program behind it; approvals count holders.")
@click.option("--cidr", "cidrs", multiple=True, metavar="NETWORK", help="Where it is valid from. Repeatable.")
@click.option("--expires", type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]), help="UTC.")
@click.option("--signed", is_flag=True, help="Exits of money must carry an HMAC signature.")
@json_option
@acting
def create(
    project_name: str,
    name: str,
    scopes: tuple[str, ...],
    holder: str,
    cidrs: tuple[str, ...],
    expires: datetime | None,
    signed: bool,
    as_json: bool,
    actor: str,
) -> None:
    """Make a key and print it, this once."""
    settings = load_settings()
    ring = _ring(settings)
    ends = None if expires is None else int(expires.replace(tzinfo=UTC).timestamp()) * 1_000_000
    wish = Wish(name, holder, SCOPES if "all" in scopes else scopes, cidrs or None, signed, ends)

    def unit(tx: Tx) -> dict[str, object]:
        owner = find_or_make(tx, project_name, actor)
        row, token = api_keys.create(tx, ring, owner.id, wish, actor)
        made: dict[str, object] = {"id": row.public_id, "key": token, "project": owner.name, "holder": row.holder}
        made |= {"scopes": row.scopes, "cidrs": row.cidrs, "expires_at": maybe_when(row.expires_at)}
        secret = ring.signing_secret(row.public_id, row.signing_version) if signed else None
        return made | {"signed": signed, "signing_secret": secret}

    made = open_services(settings).database.run(unit, "cli.key")
    if as_json:
        say_json(made)
    else:
        click.echo(f"{made['key']}\n")
        click.echo(f"key {made['id']} of {made['holder']} in project {made['project']}. It is shown only this once.")
        if signed:
            click.echo(f"signing secret: {made['signing_secret']}")


@keys.command("list")
@click.option("--project", "project_name", help="Of one project only.")
@json_option
def list_(project_name: str | None, as_json: bool) -> None:
    """Keys without their secrets."""

    def read(tx: Tx) -> list[dict[str, object]]:
        query = select(api_key, project.c.name.label("project")).join(project, project.c.id == api_key.c.project_id)
        if project_name is not None:
            query = query.where(project.c.name == project_name)
        return [
            {
                "id": row.public_id,
                "project": row.project,
                "name": row.name,
                "holder": row.holder,
                "state": api_keys.state(row, tx.now),
                "scopes": row.scopes,
                "last_used_at": maybe_when(row.last_used_at),
            }
            for row in tx.all(query.order_by(api_key.c.id))
        ]

    rows = open_services().database.read(read)
    if as_json:
        say_json(rows)
    else:
        titles = ("ID", "PROJECT", "NAME", "HOLDER", "STATE", "SCOPES", "LAST USED")
        say_table(titles, [[*list(r.values())[:5], _scopes(r["scopes"]), r["last_used_at"]] for r in rows])


@keys.command()
@click.argument("key_id")
@click.option("--reason", default="", help="For the audit log.")
@acting
def revoke(key_id: str, reason: str, actor: str) -> None:
    """End a key at once."""

    def unit(tx: Tx) -> None:
        owner = tx.value(select(api_key.c.project_id).where(api_key.c.public_id == key_id))
        if owner is None:
            raise NotFound(f"no key {key_id}")
        api_keys.revoke(tx, owner, key_id, actor)
        if reason:
            audit.record(tx, actor, "api_key.revoke_reason", key_id, {"reason": reason[:255]})

    open_services().database.run(unit, "cli.revoke")
    click.echo(f"{key_id} is revoked")


def _ring(settings: Settings) -> Keyring:
    if settings.api_secret is None:
        raise InvalidInput("", "COFFER_API_SECRET is needed to make keys")
    return Keyring(bytes.fromhex(settings.api_secret.get_secret_value()), settings.mode)


def _scopes(scopes: object) -> str:
    assert isinstance(scopes, list)
    return "all" if set(scopes) == SCOPES.keys() else " ".join(scopes)
