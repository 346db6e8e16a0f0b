"""What an operator may safely do next about a row; nothing else is offered."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, select

from jobs import debts
from jobs.escrow import frozen_parts
from jobs.payment.contents import OUTWARD, flow_of
from jobs.resolve import accounts as resolve_accounts
from jobs.services import chain_row
from jobs.withdrawal import PAID_BEFORE
from ledger import halts, pauses
from ledger.db import Tx
from ledger.policy import FINAL_DEPTH
from ledger.schema import account, payment, payment_item
from ledger.schema import asset as asset_table

_KEPT = "somebody's money that a deposit paid for which is gone"

#: Why a payment is in review whose transaction did something else than it says.
NOT_AS_PROMISED = "not_as_promised"


def next_steps(tx: Tx, kind: str, row: Row[Any]) -> list[str]:
    """Commands with a word on each, or what is being waited for; empty when the row is at its end."""
    steps = {
        "deposit": _deposit,
        "withdrawal": _withdrawal,
        "payment": _payment,
        "sweep": _sweep,
        "account": _account,
        "escrow": _escrow,
        "swap": _swap,
        "hedge": _hedge,
    }
    return steps[kind](tx, row) if kind in steps else []


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
        return [*_paused(tx, row.asset, "deposits"), *_node(tx, row), f"{row.public_id}: {_ripens(row)}"]
    parts = [part.id for part in frozen_parts.of_deposit(tx, row.id) if part.live == 1]
    return [f"coffer escrows thaw {n}   or take {n}: {_KEPT}" for n in parts]


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
    if row.status_reason in PAID_BEFORE:
        return [
            f"{command} --paid TXID   if that transaction paid it in the time that a restore lost",
            f"{command} --refund   if nothing paid it; refused while the signer's record says that something may have",
            f"{command} --requeue   to pay it, if nothing has",
        ]
    again = [f"{command} --paid TXID   if the signer has signed it before: that transaction paid it"]
    return [
        *(again if row.status_reason == "signer_refused" else []),
        f"{command} --refund   to give the money back; nothing of it was sent",
        f"{command} --requeue   to pay it after all; refused if its row was changed by hand",
    ]


def _payment(tx: Tx, row: Row[Any]) -> list[str]:
    command = f"coffer payments {{}} {row.public_id}"
    if row.state == "review":
        return [*_halted(tx, row.chain), *_in_review(row, command)]
    if row.state in ("broadcast", "confirming") and row.height is None:
        return [*_node(tx, row), f"{command.format('bump')}   offers a higher fee on the same inputs or nonce"]
    if row.state in ("building", "reserved", "signed"):
        waits = f"{row.public_id}: wait; it goes on by itself"
        return [*_paused(tx, row.asset, flow_of(row)), *_node(tx, row), waits]
    if row.state in ("broadcast", "confirming", "bumping"):
        return [*_node(tx, row), f"{command.format('recheck')}   looks at it now"]
    return []


def _in_review(row: Row[Any], command: str) -> list[str]:
    again = f"{command.format('recheck')}   sends the same bytes again, which pays at most once"
    if row.settled_candidate is not None:
        return [again]
    resolve = command.format("resolve")
    if row.status_reason == NOT_AS_PROMISED:
        return _not_as_promised(row, resolve)
    aside = f"{resolve} --aside   leaves its withdrawals in review, where a restore may have lost how they were paid"
    if row.purpose == "withdrawal":
        choices = [
            *([aside] if row.status_reason in PAID_BEFORE else []),
            f"{resolve} --retry   pays its withdrawals anew, if the chain proves it dead",
            f"{resolve} --refund   gives their money back, if the chain proves it dead",
        ]
    else:
        choices = [f"{resolve} --retry   lets it go, if the chain proves it dead; another is made when it is needed"]
    return [again, *choices] if row.candidates else choices


def _not_as_promised(row: Row[Any], resolve: str) -> list[str]:
    """Each choice is refused when what the wallet holds does not fit it."""
    if row.purpose not in OUTWARD:
        return [f"{resolve} --paid   books on its indices what the chain shows, once its block is final"]
    return [
        f"{resolve} --paid   if all of it left the wallet, although the payee may have got less",
        f"{resolve} --retry   if nothing left the wallet: its withdrawals are paid anew",
        f"{resolve} --refund   if nothing left the wallet: their money goes back",
    ]


def _sweep(tx: Tx, row: Row[Any]) -> list[str]:
    if row.state == "abandoned":
        return [f"coffer sweep run {row.chain}   decides anew; that also happens by itself every hour"]
    if row.state == "swept":
        return []
    return [*_paused(tx, row.asset, "sweeps"), *_node(tx, row), f"{row.public_id}: wait; it goes on by itself"]


def _escrow(tx: Tx, row: Row[Any]) -> list[str]:
    name, paused = row.public_id, _paused(tx, row.asset, "escrows")
    parts = frozen_parts.numbers(tx, ("escrow", row.id))
    frozen = [f"coffer escrows thaw {n}   or take {n}: {_KEPT}" for n in parts]
    decide = f"coffer escrows decide {name}"
    if row.state == "disputed":
        return [*paused, *frozen, f"coffer escrows resolve {name} --vendor AMOUNT   the rest goes to the buyer"]
    waits = row.state == "awaiting_funds" and row.status_reason in ("underpaid", "late", "funding_reversed")
    if waits or (row.state == "funded" and row.status_reason in ("overpaid", "late")):
        choices = [f"{decide} --accept   goes on with what is there", f"{decide} --return   gives it to the buyer"]
        return [*paused, *frozen, *choices]
    if row.state in ("awaiting_funds", "funded"):
        return [*paused, *frozen, f"{name}: wait for the shop, or for its deadline"]
    return frozen


def _swap(tx: Tx, row: Row[Any]) -> list[str]:
    command = f"coffer swaps refund {row.public_id}"
    paused = [step for code in (row.sell_asset, row.buy_asset) for step in _paused(tx, code, "swaps")]
    if row.state in ("awaiting_deposit", "expired"):
        back = [f"{command}   sends back what came in; --to-balance leaves it with the account"]
        return [*paused, *(back if row.held_units else [])]
    if row.state == "refunding" and row.held_units:
        return [*_paused(tx, row.sell_asset, "withdrawals"), f"{command} --to-balance   does not wait for the payment"]
    if row.state == "executed" and row.payout_address is not None:
        return [*_paused(tx, row.buy_asset, "withdrawals"), f"{command} --to-balance   leaves what was bought there"]
    if row.state in ("paying_out", "refunding"):
        return [f"{row.public_id}: wait for its withdrawal"]
    return []


def _hedge(tx: Tx, row: Row[Any]) -> list[str]:
    name = row.public_id
    if row.state == "review":
        return [
            f"coffer hedges look {name}   looks it up again",
            f"coffer hedges close {name} --filled AMOUNT   once you have seen it on {row.venue}",
        ]
    if row.state == "filled" and row.settled_at is None:
        return [f"coffer hedges settle {name}   once its coins were moved"]
    return [] if row.due_at is None else [*_paused(tx, row.asset, "swaps"), f"{name}: wait; it is looked up by itself"]


def _account(tx: Tx, row: Row[Any]) -> list[str]:
    if row.frozen_reason is None:
        return []
    if row.frozen_reason == debts.REORG_FREEZE:
        own = [wd for code in debts.owed(tx, row.id) for wd in resolve_accounts.waiting(tx, row.id, code)]
        if own:
            ways = (resolve_accounts.way_out(wd) or f"coffer withdrawals cancel {wd.public_id}" for wd in own)
            return [f"{way}   what it holds repays the debt" for way in ways]
        return [f"coffer accounts write-off {row.public_id} ASSET   or wait: the next deposit repays the debt"]
    return [f"coffer accounts unfreeze {row.public_id}"]


def _paused(tx: Tx, asset: str, flow: str) -> list[str]:
    why = pauses.own_reason(tx, asset, flow)
    steps = [] if why is None else [f"coffer resume {asset} {flow}   once its cause is gone: {why}"]
    if flow not in pauses.SIGNED:
        return steps
    return steps + _halted(tx, tx.value(select(asset_table.c.chain).where(asset_table.c.code == asset)))


def _halted(tx: Tx, chain: str) -> list[str]:
    return [
        f"coffer lift-halt {chain} {cause} --reason ...   once you know what it is: {why}"
        for cause, why in halts.all_of(tx, chain)
    ]


def _ripens(row: Row[Any]) -> str:
    if row.locked:
        return "wait; the chain does not let it be spent yet"
    if (row.confirmations_needed or 0) >= FINAL_DEPTH:
        return "wait until the chain calls its block final"
    return "wait for blocks"


def _node(tx: Tx, row: Row[Any]) -> list[str]:
    known = chain_row(tx, row.chain)
    if known.health_reason is None:
        return []
    return [
        f"the {row.chain} node cannot be relied on now ({known.health_reason}): nothing goes on before that is over"
    ]
