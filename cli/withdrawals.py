"""`coffer withdrawals`: those that are open, and what a person may decide about them."""

from __future__ import annotations

import click
from sqlalchemy import select

from cli.context import acting, json_option, load_settings, open_services, say_json, say_table, signer_records
from cli.nodes import services_with_wallet
from cli.patience import patiently
from jobs.explain import amount
from jobs.resolve import by_hand as resolve
from jobs.resolve import paid_before
from jobs.views import when
from ledger.db import Tx
from ledger.schema import withdrawal

STATES = ("pending_approval", "queued", "signed", "broadcast", "confirming", "review")


@click.group()
def withdrawals() -> None:
    """Open withdrawals, and those that wait for a person."""


@withdrawals.command("list")
@click.option("--state", "states", multiple=True, type=click.Choice(STATES), help="Repeatable; all open ones if not.")
@json_option
def list_(states: tuple[str, ...], as_json: bool) -> None:
    """Open withdrawals, the oldest first, at most 200."""
    rows = open_services().database.read(lambda tx: _open(tx, states or STATES))
    if as_json:
        say_json(rows)
    else:
        say_table(
            ("ID", "STATE", "REASON", "AMOUNT", "ADDRESS", "TXID", "SINCE"), [tuple(row.values()) for row in rows]
        )


def _open(tx: Tx, states: tuple[str, ...]) -> list[dict[str, object]]:
    w = withdrawal.c
    return [
        {
            "id": row.public_id,
            "state": row.state,
            "reason": row.status_reason,
            "amount": amount(tx, row.units, row.asset),
            "address": row.address,
            "txid": row.txid,
            "created_at": when(row.created_at),
        }
        for row in tx.all(select(withdrawal).where(w.state.in_(states)).order_by(w.id).limit(200))
    ]


@withdrawals.command("cancel")
@click.argument("withdrawal_id")
@acting
def cancel(withdrawal_id: str, actor: str) -> None:
    """Give the money of a withdrawal back that has joined no payment; what its account owes is repaid with it."""
    run = open_services().database.run
    run(lambda tx: resolve.cancel_withdrawal(tx, withdrawal_id, actor), "cli.cancel")
    click.echo(f"{withdrawal_id} is cancelled; amount and fee are back with the customer")


@withdrawals.command("resolve")
@click.argument("withdrawal_id")
@click.option("--refund", is_flag=True, help="Give the money back; only when nothing of it can be on its way.")
@click.option("--requeue", is_flag=True, help="Pay it after all; refused if its row is not what the API committed.")
@click.option("--paid", metavar="TXID", help="It was paid by this transaction before the database was restored.")
@click.option(
    "--by-word", is_flag=True, help="With --paid or --refund, where the signer's record was lost: you have looked."
)
@acting
def resolve_(withdrawal_id: str, refund: bool, requeue: bool, paid: str | None, by_word: bool, actor: str) -> None:
    """Decide about a withdrawal in review. One whose payment may still confirm is decided with that payment."""
    if [refund, requeue, paid is not None].count(True) != 1 or (by_word and requeue):
        raise click.UsageError("say one of --refund, --requeue and --paid TXID")
    services = open_services()
    if paid is not None:
        _settle(withdrawal_id, paid, actor, by_word=by_word)
        return
    run = services.database.run
    if refund:
        paid_before.check_unsigned(services, signer_records(load_settings()), withdrawal_id, by_word=by_word)
        patiently(lambda: run(lambda tx: resolve.refund_withdrawal(tx, withdrawal_id, actor), "cli.refund"))
        click.echo(f"{withdrawal_id} has failed; amount and fee are back with the customer")
        return
    mac = services.require_mac()
    patiently(lambda: run(lambda tx: resolve.requeue_withdrawal(tx, withdrawal_id, mac, actor), "cli.requeue"))
    click.echo(f"{withdrawal_id} is queued again")


def _settle(withdrawal_id: str, txid: str, actor: str, *, by_word: bool) -> None:
    settings = load_settings()
    chain = open_services(settings).database.read(lambda tx: resolve.by_id(tx, withdrawal, withdrawal_id).chain)
    services = open_services(settings) if by_word else services_with_wallet(chain, settings)
    paid_before.prove(services, signer_records(settings), withdrawal_id, txid, by_word=by_word)
    how = "an operator's word" if by_word else "the signer's record"
    run = services.database.run
    patiently(lambda: run(lambda tx: paid_before.settle(tx, withdrawal_id, txid, how, actor), "cli.paid"))
    click.echo(f"{withdrawal_id} is completed: {txid} paid it")
