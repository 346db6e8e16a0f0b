"""Transfers: money between accounts of one project."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import StringConstraints
from sqlalchemy import or_, select

from api import lookup
from api.answers import Answer, created, ok
from api.call import Call
from api.endpoints import Resource
from api.lists import narrowed
from api.shapes import Amount, AssetCode, Metadata, Money, PublicId, Range, Reference, asset
from api.validation import Model, Shown
from jobs import accounts, references, transfers, views
from ledger.db import Tx
from ledger.errors import InvalidInput
from ledger.money import parse_amount
from ledger.schema import internal_transfer

resource = Resource("transfers", __name__, "Money between accounts; nothing on chain")


class NewTransfer(Model):
    from_account: PublicId
    to_account: PublicId
    asset: AssetCode
    amount: Amount
    reference: Reference
    metadata: Metadata | None = None


class Transfer(Shown):
    id: str
    from_account: str
    to_account: str
    asset: str
    amount: Money
    reference: str
    metadata: dict[str, str] | None
    status: Literal["completed"]
    created_at: str


class TransferList(Shown):
    data: list[Transfer]
    next_cursor: str | None
    has_more: bool


class TransferQuery(Range):
    account: PublicId | None = None
    asset: AssetCode | None = None
    reference: Annotated[str, StringConstraints(max_length=128)] | None = None


_ERRORS = (
    "insufficient_funds",
    "account_frozen",
    "asset_disabled",
    "reference_exists",
    "same_account",
    "asset_unknown",
    "amount_invalid",
    "amount_precision_exceeded",
)


@resource.write("/transfers", {201: Transfer}, scope="transfers:write", body=NewTransfer, errors=_ERRORS, etag=True)
def create_transfer(call: Call, tx: Tx, body: NewTransfer) -> Answer:
    """Move money from one account to another."""
    with references.told_first(tx, internal_transfer, call.project_id, body.reference):
        order = _order(call, tx, body)
    return created(transfers.make(tx, call.caller, order), "/transfers")


def _order(call: Call, tx: Tx, body: NewTransfer) -> transfers.Order:
    coin = asset(tx, body.asset)
    units = parse_amount(body.amount, coin)
    if body.from_account == body.to_account:
        raise InvalidInput("/to_account", "must be another account", "same_account")
    found = accounts.find_all(tx, call.project_id, [body.from_account, body.to_account])
    giver, taker = found[body.from_account].id, found[body.to_account].id
    return transfers.Order(giver, taker, coin.code, units, body.reference, body.metadata)


@resource.read("/transfers", TransferList, scope="transfers:read", query=TransferQuery)
def list_transfers(call: Call, tx: Tx, query: TransferQuery) -> Answer:
    """List transfers, newest first; with `account`, those that it gave or got."""
    t = internal_transfer.c
    wanted = select(t.id).where(t.project_id == call.project_id)
    if query.account is not None:
        row_id = accounts.find(tx, call.project_id, query.account).id
        wanted = wanted.where(or_(t.from_account_id == row_id, t.to_account_id == row_id))
    scope, rows = narrowed(call, tx, "transfers", wanted, internal_transfer, query)
    return ok(
        call.parts.cursors.page(scope, rows, query.limit, lambda r: views.internal_transfers(tx, [x.id for x in r]))
    )


@resource.read("/transfers/<transfer_id>", Transfer, scope="transfers:read", etag=True)
def get_transfer(call: Call, tx: Tx, transfer_id: str) -> Answer:
    """Read a transfer."""
    return ok(views.internal_transfer(tx, lookup.row_id(call, tx, internal_transfer, "tr", transfer_id)))
