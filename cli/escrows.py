"""`coffer escrows`: those that wait for a person, and what reorganisations have frozen."""

from __future__ import annotations

import click
from sqlalchemy import select

from cli.context import acting, json_option, open_services, say_json, say_table
from jobs.escrow import frozen_parts
from jobs.escrow import resolve as resolve_escrows
from jobs.escrow.saga import DECISIONS
from jobs.escrow.state import State
from jobs.explain import amount
from jobs.trace import tell as trace_tell
from jobs.views import when
from ledger.db import Tx
from ledger.schema import account, escrow, frozen_part

STATES = tuple(str(state) for state in State)

#: States of one that is not over.
OPEN = ("awaiting_funds", "funded", "disputed")


@click.group()
def escrows() -> None:
    """Escrows: disputes, decisions, and what is frozen after a reorganisation."""


@escrows.command("list")
@click.option("--state", "states", multiple=True, type=click.Choice(STATES), help="Repeatable; all open ones if not.")
@click.option("--waiting", is_flag=True, help="Only those that wait for a person.")
@json_option
def list_(states: tuple[str, ...], waiting: bool, as_json: bool) -> None:
    """Open escrows, the oldest first, at most 200."""
    rows = open_services().database.read(lambda tx: _rows(tx, states or OPEN, waiting))
    if as_json:
        say_json(rows)
    else:
        titles = ("ID", "STATE", "REASON", "AMOUNT", "HELD", "ARBITER", "REFERENCE", "SINCE")
        say_table(titles, [tuple(row.values()) for row in rows])


def _rows(tx: Tx, states: tuple[str, ...], waiting: bool) -> list[dict[str, object]]:
    e = escrow.c
    query = select(escrow).where(e.state.in_(states))
    if waiting:
        undecided = e.status_reason.in_((*DECISIONS, "overpaid")) & e.state.in_(("awaiting_funds", "funded"))
        query = query.where((e.state == "disputed") | undecided)
    return [
        {
            "id": row.public_id,
            "state": row.state,
            "reason": row.status_reason,
            "amount": amount(tx, row.units, row.asset),
            "held": amount(tx, row.held_units, row.asset),
            "arbiter": row.arbiter,
            "reference": row.reference,
            "created_at": when(row.created_at),
        }
        for row in tx.all(query.order_by(e.id).limit(200))
    ]


@escrows.command("resolve")
@click.argument("escrow_id")
@click.option("--vendor", "share", required=True, metavar="AMOUNT", help="The vendor's part of the price; 0 or all.")
@acting
def resolve_(escrow_id: str, share: str, actor: str) -> None:
    """Decide a dispute: a part of the price to the vendor, the rest to the buyer."""
    run = open_services().database.run
    vendor, buyer = run(lambda tx: resolve_escrows.resolve_escrow(tx, escrow_id, share, actor), "cli.escrow_resolve")
    click.echo(f"{escrow_id} is resolved: {vendor} of the price to the vendor, {buyer} to the buyer")


@escrows.command("decide")
@click.argument("escrow_id")
@click.option("--accept", is_flag=True, help="Go on with what is there; the price changes accordingly.")
@click.option("--return", "back", is_flag=True, help="Give it back to the buyer.")
@acting
def decide(escrow_id: str, accept: bool, back: bool, actor: str) -> None:
    """Decide about what came too little, too much or too late, or left the chain again."""
    if accept is back:
        raise click.UsageError("say either --accept or --return")
    word, run = "accept" if accept else "return", open_services().database.run
    state = run(lambda tx: resolve_escrows.decide_escrow(tx, escrow_id, word, actor), "cli.escrow_decide")
    click.echo(f"{escrow_id} is {state}")


# What is frozen has a number and no id: shops never see it


@escrows.command("frozen")
@json_option
def frozen(as_json: bool) -> None:
    """Money that came from deposits which left the chain, and is not spent yet, whatever passed it on."""
    rows = open_services().database.read(_frozen)
    if as_json:
        say_json(rows)
    else:
        say_table(
            ("NUMBER", "AMOUNT", "ACCOUNT", "OF", "LIES IN", "DEPOSIT", "DEBTOR", "SINCE"),
            [tuple(r.values()) for r in rows],
        )


def _frozen(tx: Tx) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for part in frozen_parts.open_parts(tx):
        found.append(
            {
                "number": part.id,
                "amount": amount(tx, part.units, part.asset),
                "account": tx.value(select(account.c.public_id).where(account.c.id == part.account_id)),
                "of": trace_tell.name(tx, (part.kind, part.row_id)),
                "lies_in": part.place if part.place_id is None else trace_tell.name(tx, (part.place, part.place_id)),
                "deposit": part.deposit,
                "debtor": tx.value(select(account.c.public_id).where(account.c.id == part.debtor_id)),
                "since": when(part.created_at),
            }
        )
    return found


@escrows.command("thaw")
@click.argument("number", type=int)
@acting
def thaw(number: int, actor: str) -> None:
    """Let the account spend it. The debtor owes the house all the same."""
    run = open_services().database.run
    run(lambda tx: frozen_parts.thaw(tx, number, actor), "cli.thaw")
    click.echo(f"{number} is thawed")


@escrows.command("take")
@click.argument("number", type=int)
@acting
def take(number: int, actor: str) -> None:
    """Pay the debtor's debt with it. If the deposit comes back, the account gets it back from there."""
    paid = open_services().database.run(lambda tx: _taken(tx, number, actor), "cli.take")
    click.echo(f"{number} is taken: {paid} of the debt are paid")


def _taken(tx: Tx, number: int, actor: str) -> str:
    units = frozen_parts.take(tx, number, actor)
    return amount(tx, units, str(tx.value(select(frozen_part.c.asset).where(frozen_part.c.id == number))))
