"""`coffer projects`: the shops of this installation."""

from __future__ import annotations

from typing import Any

import click
from sqlalchemy import Row, insert, select

from cli.context import acting, json_option, open_services, say_json, say_table
from jobs.views import when
from ledger import audit
from ledger.db import Tx
from ledger.errors import InvalidInput, NotFound, StateConflict
from ledger.ids import new_id
from ledger.schema import project


@click.group()
def projects() -> None:
    """Shops: who keys, accounts and references belong to."""


@projects.command("list")
@json_option
def list_(as_json: bool) -> None:
    """All projects."""
    rows = open_services().database.read(lambda tx: tx.all(select(project).order_by(project.c.id)))
    shown = [{"id": row.public_id, "name": row.name, "created_at": when(row.created_at)} for row in rows]
    if as_json:
        say_json(shown)
    else:
        say_table(("ID", "NAME", "CREATED"), [tuple(row.values()) for row in shown])


@projects.command()
@click.argument("name")
@acting
def create(name: str, actor: str) -> None:
    """Make a project."""
    row = open_services().database.run(lambda tx: make(tx, name, actor), "cli.project")
    click.echo(row.public_id)


def find(tx: Tx, name: str) -> Row[Any]:
    """A project by name or id. Raises `NotFound`."""
    p = project.c
    row = tx.first(select(project).where((p.name == name) | (p.public_id == name)))
    if row is None:
        raise NotFound(f"no project {name}")
    return row


def make(tx: Tx, name: str, actor: str) -> Row[Any]:
    """A new project; audited. Raises `StateConflict` for a name in use."""
    if not 1 <= len(name) <= 64 or not name.isprintable() or name != name.strip():
        raise InvalidInput("/name", "must be 1 to 64 printable characters")
    if tx.value(select(project.c.id).where(project.c.name == name)) is not None:
        raise StateConflict(f"there is a project {name} already")
    public_id = new_id("pj")
    tx.execute(insert(project).values(public_id=public_id, name=name, created_at=tx.now))
    audit.record(tx, actor, "project.create", public_id, {"name": name})
    return tx.one(select(project).where(project.c.public_id == public_id))


def find_or_make(tx: Tx, name: str, actor: str) -> Row[Any]:
    """The project of this name, made when it is not there."""
    audit_first(tx)
    row = tx.first(select(project).where(project.c.name == name))
    return make(tx, name, actor) if row is None else row


def audit_first(tx: Tx) -> None:
    """Take the audit log's lock, so that two commands at once do not both make the same project."""
    from ledger.schema import audit_head

    tx.one(select(audit_head.c.id).with_for_update())
