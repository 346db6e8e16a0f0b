"""`coffer held` and `coffer deposits`: money that came in and belongs to nobody yet."""

from __future__ import annotations

import click
from sqlalchemy import select

from cli.context import acting, json_option, open_services, say_json, say_table
from cli.patience import patiently
from jobs.explain import amount
from jobs.resolve import by_hand as resolve
from jobs.views import when
from ledger.db import Tx
from ledger.schema import deposit, ledger_account


@click.group()
def held() -> None:
    """Deposits in suspense (unknown address) and dust (below the minimum)."""


@held.command("list")
@click.option("--dust", is_flag=True, help="Also those below the minimum.")
@json_option
def list_(dust: bool, as_json: bool) -> None:
    """Those that nobody has decided about."""
    rows = open_services().database.read(lambda tx: _undecided(tx, ("suspense", "dust") if dust else ("suspense",)))
    if as_json:
        say_json(rows)
    else:
        say_table(("ID", "STATE", "REASON", "AMOUNT", "ADDRESS", "TXID", "SEEN"), [tuple(row.values()) for row in rows])


def _undecided(tx: Tx, kinds: tuple[str, ...]) -> list[dict[str, object]]:
    d = deposit.c
    query = select(deposit).join(ledger_account, ledger_account.c.id == d.credited_to)
    query = query.where(d.state.in_(("held", "ignored")), ledger_account.c.kind.in_(kinds))
    return [
        {
            "id": row.public_id,
            "state": row.state,
            "reason": row.status_reason,
            "amount": amount(tx, row.units, row.asset),
            "address": row.address,
            "txid": row.txid,
            "seen_at": when(row.created_at),
        }
        for row in tx.all(query.order_by(d.id))
    ]


@click.group()
def deposits() -> None:
    """Decide about held deposits."""


@deposits.command("resolve")
@click.argument("deposit_id")
@click.option("--credit", "account_id", metavar="ACCOUNT", help="Give it to this customer.")
@click.option("--keep", is_flag=True, help="Book it as the house's own.")
@acting
def resolve_(deposit_id: str, account_id: str | None, keep: bool, actor: str) -> None:
    """Give a held or ignored deposit to a customer, or keep it. A reorganisation still takes it back from there."""
    if (account_id is None) is not keep:
        raise click.UsageError("say either --credit ACCOUNT or --keep")
    database = open_services().database
    if account_id is None:
        patiently(lambda: database.run(lambda tx: resolve.keep_deposit(tx, deposit_id, actor), "cli.keep"))
        click.echo(f"{deposit_id} is booked as the house's")
        return
    to = account_id
    patiently(lambda: database.run(lambda tx: resolve.credit_deposit(tx, deposit_id, to, actor), "cli.credit"))
    click.echo(f"{deposit_id} is credited to {to}")
