"""The queries behind `jobs.views`, built once: putting one together costs more than running it.

Each takes `ids`, any number of row ids.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BindParameter, bindparam, func, select

from ledger.schema import (
    account,
    address,
    approval,
    asset,
    chain,
    deposit,
    escrow,
    internal_transfer,
    payment,
    swap,
    transition,
    withdrawal,
)

_IDS: BindParameter[Any] = bindparam("ids", expanding=True)
_GIVER, _TAKER = account.alias("giver"), account.alias("taker")

DEPOSITS = (
    select(
        deposit,
        account.c.public_id.label("owner"),
        chain.c.tip_height,
        asset.c.decimals,
        address.c.purpose_kind,
        func.coalesce(escrow.c.public_id, swap.c.public_id).label("purpose"),
    )
    .join(asset, asset.c.code == deposit.c.asset)
    .join(chain, chain.c.name == deposit.c.chain)
    .outerjoin(account, account.c.id == deposit.c.account_id)
    .outerjoin(address, address.c.id == deposit.c.address_id)
    .outerjoin(escrow, (address.c.purpose_kind == "escrow") & (escrow.c.id == address.c.purpose_id))
    .outerjoin(swap, (address.c.purpose_kind == "swap") & (swap.c.id == address.c.purpose_id))
    .where(deposit.c.id.in_(_IDS))
)

WITHDRAWALS = (
    select(
        withdrawal,
        account.c.public_id.label("owner"),
        payment.c.public_id.label("payment"),
        asset.c.decimals,
        select(func.count()).where(approval.c.withdrawal_id == withdrawal.c.id).scalar_subquery().label("given"),
    )
    .join(asset, asset.c.code == withdrawal.c.asset)
    .join(account, account.c.id == withdrawal.c.account_id)
    .outerjoin(payment, payment.c.id == withdrawal.c.payment_id)
    .where(withdrawal.c.id.in_(_IDS))
)

TRANSFERS = (
    select(internal_transfer, _GIVER.c.public_id.label("giver"), _TAKER.c.public_id.label("taker"), asset.c.decimals)
    .join(asset, asset.c.code == internal_transfer.c.asset)
    .join(_GIVER, _GIVER.c.id == internal_transfer.c.from_account_id)
    .join(_TAKER, _TAKER.c.id == internal_transfer.c.to_account_id)
    .where(internal_transfer.c.id.in_(_IDS))
)

_ORDER = account.alias("order_account")

ESCROWS = (
    select(
        escrow,
        _GIVER.c.public_id.label("buyer"),
        _TAKER.c.public_id.label("vendor"),
        _ORDER.c.public_id.label("order_account"),
        address.c.public_id.label("address_public_id"),
        address.c.address,
        address.c.state.label("address_state"),
        asset.c.decimals,
    )
    .join(asset, asset.c.code == escrow.c.asset)
    .join(_GIVER, _GIVER.c.id == escrow.c.buyer_id)
    .join(_TAKER, _TAKER.c.id == escrow.c.vendor_id)
    .outerjoin(_ORDER, _ORDER.c.id == escrow.c.order_id)
    .outerjoin(address, address.c.id == escrow.c.address_id)
    .where(escrow.c.id.in_(_IDS))
)

HISTORIES = (
    select(transition.c.row_id, transition.c.to_state, transition.c.reason, transition.c.at)
    .where(transition.c.kind == bindparam("kind"), transition.c.row_id.in_(_IDS))
    .order_by(transition.c.id)
)

ADDRESS_FACTS = (
    select(
        address.c.id,
        account.c.public_id.label("owner"),
        asset.c.decimals,
        asset.c.contract,
        select(deposit.c.id).where(deposit.c.address_id == address.c.id, deposit.c.late == 1).exists().label("late"),
    )
    .join(account, account.c.id == address.c.account_id)
    .join(asset, asset.c.code == address.c.asset)
    .where(address.c.id.in_(_IDS))
)
