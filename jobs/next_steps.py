"""What an operator may safely do next about a row; nothing else is offered."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, select

from jobs import debts
from ledger import pauses
from ledger.db import Tx
from ledger.schema import account, payment, payment_item


def next_steps(tx: Tx, kind: str, row: Row[Any]) -> list[str]:
    """Commands with a word on each, or what is being waited for; empty when the row is at its end."""
    of = {"deposit": _deposit, "withdrawal": _withdrawal, "payment": _payment, "account": _account}.get(kind)
    return [] if of is None else of(tx, row)


def _deposit(tx: Tx, row: Row[Any]) -> list[str]:
    command = f"coffer deposits resolve {row.public_id}"
    if row.state == "held" and row.status_reason != "kept_by_house":
        return [
            f"{command} --credit ACCOUNT   to give it to a customer",
            f"{command} --keep   to book it as the house's",
        ]
    if row.state == "ignored" and row.status_reason != "kept_by_house":
        owner = tx.value(select(account.c.public_id).where(account.c.id == row.account_id))
        return [f"{command} --credit {owner}   although it is below the minimum"]
    if row.state in ("detected", "confirming"):
        return [*_paused(tx, row.asset, "deposits"), f"{row.public_id}: wait for blocks"]
    return []


def _withdrawal(tx: Tx, row: Row[Any]) -> list[str]:
    name = row.public_id
    if row.state == "pending_approval":
        return [f"{name}: approve or reject it through the API, with keys of other people than the one who asked"]
    if row.state == "queued":
        return [*_paused(tx, row.asset, "withdrawals"), f"{name}: wait; it is paid by itself"]
    if row.state != "review":
        return []
    i = payment_item.c
    query = select(payment.c.public_id).join(payment_item, i.payment_id == payment.c.id)
    open_ = tx.value(query.where(i.withdrawal_id == row.id, payment.c.state != "dead").limit(1))
    if open_ is not None:
        return [f"{name}: decide about its payment {open_} first"]
    command = f"coffer withdrawals resolve {name}"
    return [
        f"{command} --refund   to give the money back; nothing of it was sent",
        f"{command} --requeue   to pay it after all; refused if its row was changed by hand",
    ]


def _payment(tx: Tx, row: Row[Any]) -> list[str]:
    command = f"coffer payments {{}} {row.public_id}"
    if row.state == "review":
        again = f"{command.format('recheck')}   sends the same bytes again, which pays at most once"
        if row.settled_candidate is not None:
            return [again]
        choices = [
            f"{command.format('resolve')} --retry   pays its withdrawals anew, if the chain proves it dead",
            f"{command.format('resolve')} --refund   gives their money back, if the chain proves it dead",
        ]
        return [again, *choices] if row.candidates else choices
    if row.state in ("broadcast", "confirming") and row.height is None:
        return [f"{command.format('bump')}   offers a higher fee on the same inputs"]
    if row.state in ("building", "reserved", "signed"):
        return [*_paused(tx, row.asset, "withdrawals"), f"{row.public_id}: wait; it goes on by itself"]
    if row.state in ("broadcast", "confirming", "bumping"):
        return [f"{command.format('recheck')}   looks at it now"]
    return []


def _account(tx: Tx, row: Row[Any]) -> list[str]:
    if row.frozen_reason is None:
        return []
    if row.frozen_reason == debts.REORG_FREEZE:
        return [f"coffer accounts write-off {row.public_id} ASSET   or wait: the next deposit repays the debt"]
    return [f"coffer accounts unfreeze {row.public_id}"]


def _paused(tx: Tx, asset: str, flow: str) -> list[str]:
    why = pauses.reason(tx, asset, flow)
    return [] if why is None else [f"coffer resume {asset} {flow}   once its cause is gone: {why}"]
