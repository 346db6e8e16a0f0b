"""One row as the head of its part of an explanation."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, select

from jobs.amounts import amount, decimals
from jobs.explain.find import EACH_MAX
from ledger import balances
from ledger.db import Tx
from ledger.money import format_units
from ledger.schema import account, payment_item
from wallets.protocol import HOT


def subject(tx: Tx, kind: str, row: Row[Any]) -> dict[str, Any]:
    names = (
        "state",
        "status_reason",
        "status_detail",
        "reference",
        "address",
        "txid",
        "idx",
        "frozen_reason",
        "request_state",
        "venue",
        "symbol",
        "side",
        "client_order_id",
        "filled",
        "url",
        "type",
        "resource_id",
        "tries",
    )
    shown: dict[str, Any] = {"kind": kind, "id": row.public_id}
    if kind in ("quote", "swap"):
        sides = {"sells": (row.sell_units, row.sell_asset), "buys": (row.buy_units, row.buy_asset)}
        shown |= {name: amount(tx, *side) for name, side in sides.items()}
    if hasattr(row, "units"):
        shown["amount"] = amount(tx, row.units, row.asset)
    shown |= {name: getattr(row, name) for name in names if getattr(row, name, None) is not None}
    if getattr(row, "account_id", None) is not None:
        shown["account"] = tx.value(select(account.c.public_id).where(account.c.id == row.account_id))
    if kind == "payment":
        shown |= _purpose(tx, row)
    if kind == "escrow":
        shown |= _parties(tx, row)
    if kind == "account":
        owned = balances.of_account(tx, row.id)
        shown["balances"] = {
            code: {name: format_units(units, decimals(tx, code)) for name, units in kinds.items()}
            for code, kinds in owned.items()
        }
    return shown


def _parties(tx: Tx, row: Row[Any]) -> dict[str, Any]:
    """Whom an escrow is between, and what lies in it."""
    told: dict[str, Any] = {}
    for side, owner in (("buyer", row.buyer_id), ("vendor", row.vendor_id), ("order", row.order_id)):
        if owner is not None:
            told[side] = tx.value(select(account.c.public_id).where(account.c.id == owner))
    return told | {"held": amount(tx, row.held_units, row.asset), "fee": amount(tx, row.fee_units, row.asset)}


def _purpose(tx: Tx, row: Row[Any]) -> dict[str, Any]:
    """What a payment is for; of one that pays no customer, also what it moves, or which contract it calls."""
    told: dict[str, Any] = {"for": row.purpose}
    if row.call is not None:
        told["call"] = f"{row.call['note']} at {row.call['to']}" if row.call["to"] else f"deploys {row.call['note']}"
    if row.created is not None:
        told["contract"] = row.created
    if row.purpose != "withdrawal":
        i = payment_item.c
        items = tx.all(select(payment_item).where(i.payment_id == row.id).order_by(i.id).limit(EACH_MAX))
        moves = [f"{amount(tx, item.units, row.asset)} {_way(item)}" for item in items]
        told |= {"moves": moves} if moves else {}
    return told


def _way(item: Row[Any]) -> str:
    source = "from the hot wallet" if item.source_idx is None else f"from index {item.source_idx}"
    if item.target_idx is None:
        return f"{source} to {item.address}"
    return f"{source} to {'the hot wallet' if item.target_idx == HOT else f'index {item.target_idx}'}"
