"""Transfers between accounts of one project: one transaction, nothing on chain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert

from jobs import debts, references, views
from jobs.caller import Caller
from ledger import accounts, history, pauses, postings
from ledger.db import Tx
from ledger.errors import InvalidInput
from ledger.ids import new_id
from ledger.postings import Leg
from ledger.schema import internal_transfer


@dataclass(frozen=True, slots=True)
class Order:
    """`units` of `asset` from one account to another; both belong to the caller's project (the caller checks)."""

    from_account_id: int
    to_account_id: int
    asset: str
    units: int
    reference: str
    metadata: dict[str, Any] | None = None


def make(tx: Tx, caller: Caller, order: Order) -> views.View:
    """Move the money and tell of it; the transfer as the API shows it.

    Raises `InvalidInput` (an account to itself), `AssetPaused`, `AccountFrozen` (the giver), `InsufficientFunds`,
    `ReferenceExists`. What reaches an account that owes the house repays the debt first.
    """
    if order.from_account_id == order.to_account_id:
        raise InvalidInput("/to_account", "must be another account", "same_account")
    with references.told_first(tx, internal_transfer, caller.project_id, order.reference):
        pauses.check(tx, order.asset, "transfers")
        accounts.check_not_frozen(tx, order.from_account_id)
        transfer_id = _insert(tx, caller, order)
    giver, taker = (order.from_account_id, "available"), (order.to_account_id, "available")
    postings.post(
        tx,
        f"transfer:{transfer_id}",
        "transfer",
        order.asset,
        [Leg(giver, taker, order.units)],
        ("transfer", transfer_id),
    )
    debts.collect(tx, order.to_account_id, order.asset, f"transfer:{transfer_id}")
    shown = views.internal_transfer(tx, transfer_id)
    history.emit(tx, caller.project_id, "transfer.completed", shown["id"], shown)
    return shown


def _insert(tx: Tx, caller: Caller, order: Order) -> int:
    values = {
        "public_id": new_id("tr"),
        "project_id": caller.project_id,
        "from_account_id": order.from_account_id,
        "to_account_id": order.to_account_id,
        "asset": order.asset,
        "units": order.units,
        "reference": order.reference,
        "metadata": order.metadata,
        "created_at": tx.now,
    }
    return tx.insert(insert(internal_transfer).values(values))
