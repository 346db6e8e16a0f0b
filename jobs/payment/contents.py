"""What a payment is to do, read from its committed rows, and what the signer is asked about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BindParameter, Row, bindparam, select

from jobs.assets import contract_of
from jobs.signer import SignRequest
from ledger.db import Tx
from ledger.schema import account, approval, frozen_part, payment_item, withdrawal
from wallets.protocol import Call, Output, Proposal, SignedTransaction, Spend

#: Purposes whose money leaves what we hold hot, so that the asset itself goes through `in_flight`.
OUTWARD = ("withdrawal", "cold")


@dataclass(frozen=True)
class Contents:
    """A payment's spend and the rows behind it, read in one transaction."""

    spend: Spend
    withdrawals: Sequence[Row[Any]]
    approvals: Mapping[int, list[tuple[str, str]]]
    items: Mapping[int, tuple[str, int]]
    frozen: tuple[int, ...]  #: withdrawals whose account may not spend, or whose money is kept still

    @property
    def outputs(self) -> tuple[Output, ...]:
        return self.spend.outputs


def flow_of(row: Row[Any]) -> str:
    """The flow whose pause stops this payment."""
    return "withdrawals" if row.purpose in (*OUTWARD, "call") else "sweeps"


_IDS: BindParameter[Any] = bindparam("ids", expanding=True)
_ITEMS = select(payment_item).where(payment_item.c.payment_id == bindparam("payment")).order_by(payment_item.c.id)
_WITHDRAWALS = select(withdrawal).where(withdrawal.c.id.in_(_IDS)).order_by(withdrawal.c.id)
_APPROVALS = select(approval).where(approval.c.withdrawal_id.in_(_IDS))
_FROZEN_ACCOUNTS = select(account.c.id).where(account.c.id.in_(_IDS), account.c.frozen_reason.is_not(None))
_KEPT_STILL = select(frozen_part.c.place_id).where(
    frozen_part.c.place == "withdrawal", frozen_part.c.place_id.in_(_IDS), frozen_part.c.live == 1
)


def contents(tx: Tx, row: Row[Any]) -> Contents:
    """What this payment is to do, as its rows say."""
    items = tx.all(_ITEMS, {"payment": row.id})
    ids = [item.withdrawal_id for item in items if item.withdrawal_id is not None]
    rows = tx.all(_WITHDRAWALS, {"ids": ids}) if ids else []
    approvals: dict[int, list[tuple[str, str]]] = {}
    for given in tx.all(_APPROVALS, {"ids": ids}) if ids else ():
        approvals.setdefault(given.withdrawal_id, []).append((given.holder, given.mac))
    owners = sorted({r.account_id for r in rows})
    frozen = {r.id for r in tx.all(_FROZEN_ACCOUNTS, {"ids": owners})} if ids else set()
    still = {r.place_id for r in tx.all(_KEPT_STILL, {"ids": ids})} if ids else set()
    return Contents(
        _spend(tx, row, items),
        rows,
        approvals,
        {item.withdrawal_id: (item.address, item.units) for item in items if item.withdrawal_id is not None},
        tuple(r.id for r in rows if r.account_id in frozen or r.id in still),
    )


def _spend(tx: Tx, row: Row[Any], items: Sequence[Row[Any]]) -> Spend:
    return Spend(
        outputs=tuple(Output(item.address, item.units) for item in items),
        token=contract_of(tx, row.asset),
        sources=tuple(item.source_idx for item in items if item.source_idx is not None) or _cleared(row),
        targets=tuple(item.target_idx for item in items if item.target_idx is not None),
        call=None if row.call is None or row.batched else Call(row.call["to"], row.call["data"]),
        batched=bool(row.batched),
    )


def _cleared(row: Row[Any]) -> tuple[int, ...]:
    """The indices of a batch that moves nothing and only takes code away (`jobs.sweep.clear`)."""
    return tuple(row.call["clear"]) if row.batched and row.call is not None else ()


def proposal_of(row: Row[Any]) -> Proposal:
    """The proposal as stored when the resources were claimed."""
    kept: dict[str, Any] = dict(row.proposal)
    for name in ("resources", "own_payees", "spends", "expects"):
        kept[name] = tuple(kept[name])
    return Proposal(**kept)


def stored(found: Row[Any], row: Row[Any]) -> SignedTransaction:
    """A stored candidate as its wallet knows it."""
    return SignedTransaction(found.txid, found.raw, found.fee_units, proposal_of(row).resources, found.payload)


def sign_request(row: Row[Any], what: Contents) -> SignRequest:
    """What the signer is asked about this payment, from committed rows alone."""
    return SignRequest(
        payment_id=row.public_id,
        asset=row.asset,
        fee_units=row.fee_units or 0,
        fee_max_units=row.fee_max_units or 0,
        resources=() if row.proposal is None else proposal_of(row).resources,
        withdrawals=what.withdrawals,
        items=what.items,
        outputs=[(output.address, output.units) for output in what.outputs],
        approvals=what.approvals,
        purpose=row.purpose,
        fee_asset=row.fee_asset,
        targets=what.spend.targets,
        call=None if row.batched else row.call,
        mac=row.mac,
        token=what.spend.token,
        chain=row.chain,
    )
