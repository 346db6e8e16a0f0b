"""Makes payment rows: the one place where a payment is born, whatever it is for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, insert, select

from jobs.assets import native
from ledger import history
from ledger.db import Tx
from ledger.ids import new_id
from ledger.schema import payment, payment_item

#: Payments of a chain that may wait for their resources at once, of customers and of the house each; more would only
#: stand in each other's way.
BUILDING_MAX = 32


@dataclass(frozen=True, slots=True)
class Item:
    """One output: whom it pays, whose money moves, and, for money that stays ours, which own index it reaches."""

    address: str
    units: int
    withdrawal_id: int | None = None
    source_idx: int | None = None
    target_idx: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A payment to be. `rate_max` bounds what it may ever pay, bumps included."""

    chain: str
    asset: str
    purpose: str
    items: Sequence[Item]
    rate: int
    rate_max: int
    call: Mapping[str, Any] | None = None
    mac: str | None = None
    batched: bool = False


def make(tx: Tx, plan: Plan, public_id: str | None = None) -> int:
    """Write the payment and its items, due now; its id."""
    values: dict[str, Any] = {"public_id": public_id or new_id("pay"), "chain": plan.chain, "asset": plan.asset}
    values |= {"purpose": plan.purpose, "fee_asset": native(tx, plan.chain), "call": plan.call, "mac": plan.mac}
    values |= {"units": sum(item.units for item in plan.items), "rate": plan.rate, "rate_max": plan.rate_max}
    clock = {"state": "building", "due_at": tx.now, "created_at": tx.now, "updated_at": tx.now}
    payment_id = tx.insert(insert(payment).values(values | clock | {"batched": int(plan.batched)}))
    history.note(tx, "payment", payment_id, None, "building")
    items = [
        {
            "payment_id": payment_id,
            "withdrawal_id": item.withdrawal_id,
            "live": None if item.withdrawal_id is None else 1,
            "address": item.address,
            "units": item.units,
            "source_idx": item.source_idx,
            "target_idx": item.target_idx,
        }
        for item in plan.items
    ]
    if items:
        tx.execute(insert(payment_item), items)
    tx.wake("payment", payment_id)
    return payment_id


def room(tx: Tx, chain: str, *, customers: bool = False) -> int:
    """How many more payments of this chain may be made now, for `customers` or for the house: its own can wait long
    (sweeps for cheaper gas) and must not stand in anybody's way."""
    p = payment.c
    query = select(func.count()).select_from(payment).where(p.chain == chain, p.state.in_(("building", "reserved")))
    query = query.where(p.purpose == "withdrawal" if customers else p.purpose != "withdrawal")
    return max(0, BUILDING_MAX - int(tx.value(query) or 0))
