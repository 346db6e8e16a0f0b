"""`coffer swaps`: those that are under way, and the ones that a person must decide about."""

from __future__ import annotations

from typing import Any

import click
from sqlalchemy import or_, select

from cli.context import acting, json_option, open_services, say_json, say_table
from jobs.explain import amount
from jobs.next_steps import next_steps
from jobs.swap import resolve as swap_resolve
from jobs.swap import view as swap_view
from jobs.swap.state import State
from jobs.views import when
from ledger.db import Tx
from ledger.errors import NotFound
from ledger.schema import swap

STATES = tuple(str(state) for state in State)
#: What may still move by itself; an expired one only once something has come for it.
UNDER_WAY = (State.AWAITING_DEPOSIT, State.EXECUTED, State.PAYING_OUT, State.REFUNDING)
LIST_MAX = 200


@click.group()
def swaps() -> None:
    """Swaps that are under way, and what to do about one that is stuck."""


@swaps.command("list")
@click.option("--state", "states", multiple=True, type=click.Choice(STATES), help="Repeatable; all under way if not.")
@json_option
def list_(states: tuple[str, ...], as_json: bool) -> None:
    """Swaps that are under way, the oldest first, at most 200. HELD is what came in and waits with them."""
    rows = open_services().database.read(lambda tx: _list(tx, states))
    if as_json:
        say_json(rows)
    else:
        titles = ("ID", "STATE", "REASON", "SELLS", "BUYS", "HELD", "SINCE")
        say_table(titles, [tuple(row.values()) for row in rows])


def _list(tx: Tx, states: tuple[str, ...]) -> list[dict[str, Any]]:
    s = swap.c
    under_way = or_(s.state.in_([str(state) for state in UNDER_WAY]), s.held_units > 0)
    wanted = s.state.in_(states) if states else under_way
    return [
        {
            "id": row.public_id,
            "state": row.state,
            "reason": row.status_reason,
            "sells": amount(tx, row.sell_units, row.sell_asset),
            "buys": amount(tx, row.buy_units, row.buy_asset),
            "held": amount(tx, row.held_units, row.sell_asset) if row.held_units else None,
            "since": when(row.updated_at),
        }
        for row in tx.all(select(swap).where(wanted).order_by(s.id).limit(LIST_MAX))
    ]


@swaps.command("show")
@click.argument("swap_id")
def show(swap_id: str) -> None:
    """One swap as the API shows it, and what may be done about it."""
    say_json(open_services().database.read(lambda tx: _show(tx, swap_id)))


def _show(tx: Tx, public_id: str) -> dict[str, Any]:
    row = tx.first(select(swap).where(swap.c.public_id == public_id))
    if row is None:
        raise NotFound(f"no swap {public_id}")
    return swap_view.swaps(tx, [row.id])[0] | {"next_steps": next_steps(tx, "swap", row)}


@swaps.command("refund")
@click.argument("swap_id")
@click.option("--to-balance", is_flag=True, help="Into the account's balance, whatever address was given.")
@acting
def refund(swap_id: str, to_balance: bool, actor: str) -> None:
    """Give back what waits with a swap: nothing is exchanged any more."""
    run = open_services().database.run
    state = run(lambda tx: swap_resolve.refund(tx, swap_id, actor, to_balance=to_balance), "cli.swap_refund")
    where = "in the account's balance" if to_balance else "going back"
    click.echo(f"{swap_id} is {state}; what waited with it is {where}")
