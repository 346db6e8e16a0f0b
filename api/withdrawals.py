"""Withdrawals: money that leaves. The request stores and holds; workers pay."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints
from sqlalchemy import select

from api import lookup
from api.answers import Answer, created, ok
from api.call import Call
from api.endpoints import Resource
from api.lists import narrowed
from api.shapes import Amount, AssetCode, HistoryItem, Metadata, Money, PublicId, Range, Reference, asset
from api.validation import Model, Shown
from jobs import accounts, references, views, withdrawal
from jobs.withdrawal_terms import Order
from ledger.db import Tx
from ledger.errors import CofferError, InvalidInput, Refused
from ledger.money import parse_amount
from ledger.schema import withdrawal as table

resource = Resource("withdrawals", __name__, "Money that leaves")

#: Withdrawals in one batch.
BATCH_MAX = 100

Status = Literal[
    "pending_approval",
    "queued",
    "signed",
    "broadcast",
    "confirming",
    "completed",
    "cancelled",
    "rejected",
    "failed",
    "review",
]


class Wanted(Model):
    account: PublicId
    asset: AssetCode
    amount: Amount = Field(description='A decimal string, or "max" for all that is available, fee included')
    address: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    fee_from: Literal["balance", "amount"] = Field("balance", description="balance: on top; amount: out of the amount")


class NewWithdrawal(Wanted):
    reference: Reference
    metadata: Metadata | None = None


class NewBatch(Model):
    withdrawals: list[NewWithdrawal] = Field(min_length=1, max_length=BATCH_MAX)


class Rejection(Model):
    reason: Annotated[str, StringConstraints(pattern=r"^[!-~]([ -~]{0,62}[!-~])?$")] = "rejected"


class Approvals(Shown):
    needed: int
    given: int


class Withdrawal(Shown):
    id: str
    account: str
    asset: str
    amount: Money = Field(description="What the payee receives")
    fee: Money = Field(description="What the account is charged beside it")
    total: Money
    fee_from: Literal["balance", "amount"]
    address: str
    reference: str
    metadata: dict[str, str] | None
    approvals: Approvals
    payment: str | None = Field(description="The payment that it leaves in")
    txid: str | None
    status: Status
    status_reason: str | None
    status_detail: str | None = Field(description="For people: what it waits for, and about how long")
    history: list[HistoryItem]
    created_at: str
    updated_at: str


class WithdrawalList(Shown):
    data: list[Withdrawal]
    next_cursor: str | None
    has_more: bool


class Batch(Shown):
    data: list[Withdrawal]


class Preview(Shown):
    asset: str
    amount: Money
    fee: Money
    total: Money
    address: str
    approvals_needed: int


class WithdrawalQuery(Range):
    account: PublicId | None = None
    asset: AssetCode | None = None
    status: Status | None = None
    reference: Annotated[str, StringConstraints(max_length=128)] | None = None


_ERRORS = (
    "insufficient_funds",
    "limit_exceeded",
    "account_frozen",
    "asset_disabled",
    "reference_exists",
    "asset_unknown",
    "address_invalid",
    "address_own",
    "amount_invalid",
    "amount_precision_exceeded",
    "amount_below_minimum",
    "signature_required",
)


@resource.write(
    "/withdrawals",
    {202: Withdrawal},
    scope="withdrawals:create",
    body=NewWithdrawal,
    errors=_ERRORS,
    signed=True,
    etag=True,
)
def create_withdrawal(call: Call, tx: Tx, body: NewWithdrawal) -> Answer:
    """Request a withdrawal. Amount and fee are held in the same transaction that stores the request."""
    made = withdrawal.request(tx, call.caller, _asked(call, tx, body), call.parts.services)
    return created(made.shown, "/withdrawals", 202)


@resource.read(
    "/withdrawals/preview", Preview, method="POST", scope="withdrawals:create", body=Wanted, errors=_ERRORS[:-1]
)
def preview_withdrawal(call: Call, tx: Tx, body: Wanted) -> Answer:
    """See what a withdrawal would pay and cost at this moment; nothing is stored."""
    coin = asset(tx, body.asset)
    found = withdrawal.preview(tx, call.caller, _order(call, tx, body), call.parts.services)
    sums = {"amount": found.units, "fee": found.fee_units, "total": found.total_units}
    shown = {name: views.money(units, coin.code, coin.decimals) for name, units in sums.items()}
    rest = {"asset": coin.code, "address": found.address, "approvals_needed": found.approvals_needed}
    return ok(rest | shown)


@resource.write(
    "/withdrawals/batch", {202: Batch}, scope="withdrawals:create", body=NewBatch, errors=_ERRORS, signed=True
)
def create_withdrawals(call: Call, tx: Tx, body: NewBatch) -> Answer:
    """Request up to 100 withdrawals: all of them stand, or none. A problem's pointer names the one at fault."""
    made = []
    for number, wanted in enumerate(body.withdrawals):
        try:
            made.append(withdrawal.request(tx, call.caller, _asked(call, tx, wanted), call.parts.services).shown)
        except (InvalidInput, Refused) as error:
            raise _at(error, f"/withdrawals/{number}") from error
    return Answer(202, {"data": made})


@resource.read("/withdrawals", WithdrawalList, scope="withdrawals:read", query=WithdrawalQuery)
def list_withdrawals(call: Call, tx: Tx, query: WithdrawalQuery) -> Answer:
    """List withdrawals, newest first."""
    wanted = select(table.c.id).where(table.c.project_id == call.project_id)
    scope, rows = narrowed(call, tx, "withdrawals", wanted, table, query)
    return ok(call.parts.cursors.page(scope, rows, query.limit, lambda r: views.withdrawals(tx, [row.id for row in r])))


@resource.read("/withdrawals/<withdrawal_id>", Withdrawal, scope="withdrawals:read", etag=True)
def get_withdrawal(call: Call, tx: Tx, withdrawal_id: str) -> Answer:
    """Read a withdrawal."""
    return ok(views.withdrawal(tx, _find(call, tx, withdrawal_id)))


@resource.write(
    "/withdrawals/<withdrawal_id>/cancel",
    {200: Withdrawal},
    scope="withdrawals:create",
    errors=("state_conflict", "version_conflict"),
    etag=True,
)
def cancel_withdrawal(call: Call, tx: Tx, withdrawal_id: str) -> Answer:
    """Take a withdrawal back, until it joins a payment."""
    row_id = _matched(call, tx, withdrawal_id)
    withdrawal.cancel(tx, call.caller, row_id)
    return ok(views.withdrawal(tx, row_id))


@resource.write(
    "/withdrawals/<withdrawal_id>/approve",
    {200: Withdrawal},
    scope="withdrawals:approve",
    errors=("state_conflict", "version_conflict", "signature_required"),
    signed=True,
    etag=True,
)
def approve_withdrawal(call: Call, tx: Tx, withdrawal_id: str) -> Answer:
    """Approve a withdrawal. People count, not keys; who asked for it cannot approve it."""
    row_id = _matched(call, tx, withdrawal_id)
    withdrawal.approve(tx, call.caller, row_id, call.parts.services)
    return ok(views.withdrawal(tx, row_id))


@resource.write(
    "/withdrawals/<withdrawal_id>/reject",
    {200: Withdrawal},
    scope="withdrawals:approve",
    body=Rejection,
    errors=("state_conflict", "version_conflict"),
    etag=True,
)
def reject_withdrawal(call: Call, tx: Tx, withdrawal_id: str, body: Rejection) -> Answer:
    """Refuse a withdrawal that waits for approval; the money goes back."""
    row_id = _matched(call, tx, withdrawal_id)
    withdrawal.reject(tx, call.caller, row_id, body.reason)
    return ok(views.withdrawal(tx, row_id))


def _asked(call: Call, tx: Tx, body: NewWithdrawal) -> Order:
    """The order that a call asks for, if its reference is not used."""
    with references.told_first(tx, table, call.project_id, body.reference):
        return _order(call, tx, body)


def _order(call: Call, tx: Tx, body: Wanted) -> Order:
    owner = accounts.find(tx, call.project_id, body.account)
    coin = asset(tx, body.asset)
    units = None if body.amount == "max" else parse_amount(body.amount, coin)
    rest: dict[str, Any] = {"reference": ""}
    if isinstance(body, NewWithdrawal):
        rest = {"reference": body.reference, "metadata": body.metadata}
    return Order(owner.id, coin.code, units, body.address, fee_from=body.fee_from, **rest)


def _find(call: Call, tx: Tx, public_id: str) -> int:
    return lookup.row_id(call, tx, table, "wd", public_id)


def _matched(call: Call, tx: Tx, public_id: str) -> int:
    row_id = _find(call, tx, public_id)
    if call.if_match is not None:
        call.require_match(views.withdrawal(tx, row_id))
    return row_id


def _at(error: InvalidInput | Refused, prefix: str) -> CofferError:
    """The same error, telling which of the batch it is about."""
    if isinstance(error, InvalidInput):
        return type(error)(prefix + error.pointer, error.detail, error.code)
    error.context["pointer"] = prefix
    return error
