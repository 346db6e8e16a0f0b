"""`coffer payments`: what is on its way to a chain."""

from __future__ import annotations

import click
from sqlalchemy import select

from cli.context import acting, json_option, load_settings, open_services, say_json, say_table, signer_records
from cli.explaining import tell
from cli.nodes import require_healthy, services_with_wallet
from cli.patience import patiently
from jobs.explain import amount
from jobs.resolve import paid_before
from jobs.resolve import payments as resolve_payments
from jobs.views import when
from ledger.db import Tx
from ledger.schema import payment

FINISHED = ("final", "dead", "settled")


@click.group()
def payments() -> None:
    """What leaves, or left, for a chain."""


@payments.command("list")
@click.option("--all", "everything", is_flag=True, help="Also settled, final and dead ones.")
@json_option
def list_(everything: bool, as_json: bool) -> None:
    """Payments, the newest first, at most 100."""
    rows = open_services().database.read(lambda tx: _payments(tx, everything))
    if as_json:
        say_json(rows)
    else:
        titles = ("ID", "FOR", "STATE", "REASON", "AMOUNT", "FEE", "SENT", "TXID", "SINCE")
        say_table(titles, [tuple(row.values()) for row in rows])


def _payments(tx: Tx, everything: bool) -> list[dict[str, object]]:
    query = select(payment).order_by(payment.c.id.desc()).limit(100)
    if not everything:
        query = query.where(payment.c.state.not_in(FINISHED))
    return [
        {
            "id": row.public_id,
            "purpose": row.purpose,
            "state": row.state,
            "reason": row.status_reason,
            "amount": amount(tx, row.units, row.asset),
            "fee": None if row.fee_units is None else amount(tx, row.fee_units, row.fee_asset),
            "candidates": row.candidates,
            "txid": row.txid,
            "created_at": when(row.created_at),
        }
        for row in tx.all(query)
    ]


@payments.command()
@click.argument("payment_id")
@json_option
def show(payment_id: str, as_json: bool) -> None:
    """All that is known of one, as `coffer explain` tells it."""
    tell(payment_id, as_json)


@payments.command()
@click.argument("payment_id")
@click.option(
    "--rate",
    type=click.IntRange(min=1),
    help="In its chain's unit (`coffer status`, FEE RATE); a quarter more than now if not given.",
)
@acting
def bump(payment_id: str, rate: int | None, actor: str) -> None:
    """Offer a higher fee on the same inputs or nonce, at the house's cost, below the payment's ceiling."""
    run = open_services().database.run
    asked = patiently(
        lambda: run(lambda tx: resolve_payments.bump_payment(tx, payment_id, rate, actor), "cli.bump"),
    )
    click.echo(f"{payment_id} will offer a fee rate of {asked}")


@payments.command()
@click.argument("payment_id")
@acting
def recheck(payment_id: str, actor: str) -> None:
    """Look at a payment now; from review, send the same bytes again, which pays at most once."""
    run = open_services().database.run
    state = patiently(lambda: run(lambda tx: resolve_payments.recheck_payment(tx, payment_id, actor), "cli.recheck"))
    click.echo(f"{payment_id} is {state} and is looked at now")


@payments.command("resolve")
@click.argument("payment_id")
@click.option("--retry", "choice", flag_value="retry", help="Pay its withdrawals anew.")
@click.option("--refund", "choice", flag_value="refund", help="Give their money back.")
@click.option("--aside", "choice", flag_value="aside", help="Leave its withdrawals in review: each may have been paid.")
@click.option(
    "--paid", "choice", flag_value="paid", help="It did something else than it says, and took all that it had to."
)
@acting
def resolve_(payment_id: str, choice: str | None, actor: str) -> None:
    """End a payment in review. Its node is asked now, and a choice that does not fit what the chain shows is refused:
    every candidate must be proven dead or none ever sent, or it must be in the chain for good. What may have been paid
    in a life that a restore lost is only set --aside."""
    if choice is None:
        raise click.UsageError("say one of --retry, --refund, --aside, --paid")
    patiently(lambda: _resolve(payment_id, choice, actor))
    told = {
        "retry": "is let go; its withdrawals, if it had any, are queued again",
        "refund": "is let go; its withdrawals, if it had any, get their money back",
        "aside": "is let go; its withdrawals stay in review",
        "paid": "is booked as the chain shows it",
    }
    click.echo(f"{payment_id} {told[choice]}")


def _resolve(payment_id: str, choice: str, actor: str) -> None:
    settings = load_settings()
    services = open_services(settings)
    row, asked = services.database.read(lambda tx: resolve_payments.needs_proof(tx, payment_id))
    if asked:
        services = services_with_wallet(row.chain, settings)
    paid_before.check_payment(services, signer_records(settings), row, choice)
    proof = resolve_payments.prove(services, row, asked)
    if asked:
        require_healthy(services.wallet(row.chain))  # also after the question
    services.database.run(
        lambda tx: resolve_payments.resolve_payment(tx, payment_id, choice, proof, actor), "cli.resolve_payment"
    )
