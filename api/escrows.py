"""Escrows: money that waits between a buyer and a vendor."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, StringConstraints
from sqlalchemy import or_, select

from api import auth, lookup
from api.answers import Answer, created, ok
from api.call import Call
from api.endpoints import Resource
from api.lists import narrowed
from api.shapes import (
    Amount,
    AssetCode,
    HistoryItem,
    Metadata,
    Moment,
    Money,
    PublicId,
    Range,
    Reference,
    asset,
    micros,
)
from api.validation import Model, Shown
from jobs import accounts, moves, references
from jobs.escrow import ending as escrow_ending
from jobs.escrow import funding as escrow_funding
from jobs.escrow import make as escrow_make
from jobs.escrow import view as escrow_view
from jobs.escrow.ending import Payout
from ledger.db import Tx
from ledger.errors import InvalidInput
from ledger.money import Asset, parse_amount
from ledger.schema import asset as coins
from ledger.schema import escrow

resource = Resource("escrows", __name__, "Money that waits between a buyer and a vendor")

#: A percentage has at most four decimals: parts per million.
_PERCENT = r"^(100(\.0{1,4})?|[1-9]?[0-9](\.[0-9]{1,4})?)$"

_NOTHING = re.compile(r"0(\.0+)?", re.ASCII)

Status = Literal[
    "awaiting_funds",
    "funded",
    "disputed",
    "released",
    "refunded",
    "resolved",
    "expired",
    "cancelled",
]
Side = Literal["buyer", "vendor"]
Reason = Annotated[str, StringConstraints(pattern=r"^[!-~]([ -~]{0,62}[!-~])?$")]
Text = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class NewEscrow(Model):
    buyer: PublicId
    vendor: PublicId
    asset: AssetCode
    amount: Amount = Field(description="The price, fee not counted where the buyer bears it")
    reference: Reference
    order: PublicId | None = Field(None, description="The account of kind order that it is for, if there is one")
    fee_percent: Annotated[str, StringConstraints(pattern=_PERCENT)] | None = Field(
        None, description="Of the price, rounded up; at most four decimals", examples=["2.5"]
    )
    fee_amount: Amount | None = Field(None, description="A fixed fee, instead of a percentage")
    fee_from: Side = Field("vendor", description="buyer: on top of the price; vendor: out of what is released")
    funding_deadline: Moment | None = Field(None, description="What is seen later is late; without any it never is")
    deadline: Moment | None = Field(
        None,
        description="When a funded one is released or refunded by itself; one that is funded late has as long from "
        "then as lies between the two deadlines, at least an hour",
    )
    at_deadline: Literal["release", "refund"] | None = None
    on_underpaid: Literal["wait", "accept", "hold"] = Field(
        "wait",
        description="At the funding deadline, if too little came. wait: it expires, all goes back to the buyer; "
        "accept: it is funded with what came, the fee in proportion; hold: until a decision",
    )
    on_overpaid: Literal["return", "keep", "hold"] = Field(
        "return",
        description="A surplus. return: to the buyer's balance; keep: it is part of the price; hold: until a decision",
    )
    on_late: Literal["return", "accept", "hold"] = Field(
        "return",
        description="What is seen after the funding deadline, or after it was funded. return: to the buyer's balance; "
        "accept: as if in time, an expired escrow it can fund whole awakes; hold: until a decision",
    )
    arbiter: Literal["key", "operator"] = Field(
        "key", description="Who resolves a dispute: a key with escrows:arbitrate, or only an operator"
    )
    address: bool = Field(False, description="Give it an address of its own, to be funded by deposits")
    metadata: Metadata | None = None


class Funding(Model):
    amount: Amount | None = Field(None, description="All that is missing if left out; never more")
    from_account: PublicId | None = Field(
        None, description="The buyer or the order account; by default the order account if it has one"
    )


class WithdrawalOfIt(Model):
    address: Text
    reference: Reference
    fee_from: Literal["balance", "amount"] = "amount"


class Release(Model):
    amount: Amount | None = Field(None, description="Of the price; all that is left if left out")
    payout: WithdrawalOfIt | None = Field(
        None, description="Withdraw what the vendor gets in the same moment: needs the scope withdrawals:create"
    )


class Refund(Model):
    amount: Amount | None = Field(None, description="Of the price; all that is left if left out")


class Dispute(Model):
    reason: Reason = "disputed"


class Resolution(Model):
    vendor_amount: Amount = Field(description="Of what is left of the price; may be 0")
    buyer_amount: Amount | None = Field(None, description="If given, it must be the rest")


class Decision(Model):
    decision: Literal["accept", "return"] = Field(
        description="accept: go on with what is there (the price becomes smaller or larger); return: it is the buyer's"
    )


class Escrow(Shown):
    id: str
    buyer: str
    vendor: str
    order: str | None
    asset: str
    amount: Money = Field(description="The price")
    fee: Money = Field(description="The whole fee, if the whole price is released")
    wanted: Money = Field(description="What funds it")
    received: Money = Field(description="What came for it, and is not gone from the chain again")
    held: Money = Field(description="What lies in it now")
    missing: Money
    surplus: Money = Field(description="What lies in it and waits for a decision")
    released: Money = Field(description="Of the price")
    refunded: Money = Field(description="Of the price")
    fee_taken: Money
    fee_from: Side
    reference: str
    metadata: dict[str, str] | None
    address_id: str | None = Field(description="GET /v1/addresses/{address_id} has its URI and QR code")
    address: str | None = Field(description="Where deposits fund it; None while it is not ready")
    on_underpaid: str
    on_overpaid: str
    on_late: str
    arbiter: str
    funding_deadline: str | None
    deadline: str | None
    at_deadline: str | None
    funded_at: str | None
    payouts: list[str] = Field(description="Withdrawals that releases were paid out by")
    status: Status
    status_reason: str | None = Field(
        description="underpaid, overpaid, late or funding_reversed of an escrow that waits: POST …/decide ends that"
    )
    history: list[HistoryItem]
    created_at: str
    updated_at: str


class EscrowList(Shown):
    data: list[Escrow]
    next_cursor: str | None
    has_more: bool


class EscrowQuery(Range):
    account: PublicId | None = Field(None, description="Its buyer, vendor or order account")
    asset: AssetCode | None = None
    status: Status | None = None
    reference: Annotated[str, StringConstraints(max_length=128)] | None = None


_AMOUNT = ("amount_invalid", "amount_precision_exceeded")
_STATE = ("state_conflict", "version_conflict", "asset_disabled")


@resource.write(
    "/escrows",
    {201: Escrow},
    scope="escrows:write",
    body=NewEscrow,
    errors=(*_AMOUNT, "amount_below_minimum", "asset_unknown", "asset_disabled", "reference_exists", "same_account"),
    etag=True,
)
def create_escrow(call: Call, tx: Tx, body: NewEscrow) -> Answer:
    """Make an escrow. It awaits its funds: from a balance, or by deposits to its own address."""
    with references.told_first(tx, escrow, call.project_id, body.reference):
        terms = _terms(call, tx, body)
    made = escrow_make.create(tx, call.caller, terms, call.parts.services)
    return created(made.shown, "/escrows")


@resource.read("/escrows", EscrowList, scope="escrows:read", query=EscrowQuery)
def list_escrows(call: Call, tx: Tx, query: EscrowQuery) -> Answer:
    """List escrows, newest first; with `account`, those that it is buyer, vendor or order of."""
    e = escrow.c
    wanted = select(e.id).where(e.project_id == call.project_id)
    if query.account is not None:
        row_id = accounts.find(tx, call.project_id, query.account).id
        wanted = wanted.where(or_(e.buyer_id == row_id, e.vendor_id == row_id, e.order_id == row_id))
    scope, rows = narrowed(call, tx, "escrows", wanted, escrow, query)
    shown = call.parts.cursors.page(scope, rows, query.limit, lambda r: escrow_view.escrows(tx, [row.id for row in r]))
    return ok(shown)


@resource.read("/escrows/<escrow_id>", Escrow, scope="escrows:read", etag=True)
def get_escrow(call: Call, tx: Tx, escrow_id: str) -> Answer:
    """Read an escrow."""
    return ok(escrow_view.escrow(tx, _find(call, tx, escrow_id)))


@resource.write(
    "/escrows/<escrow_id>/fund",
    {200: Escrow},
    scope="escrows:write",
    body=Funding,
    errors=(*_STATE, *_AMOUNT, "insufficient_funds", "account_frozen"),
    etag=True,
)
def fund_escrow(call: Call, tx: Tx, escrow_id: str, body: Funding) -> Answer:
    """Move what is missing, or a part of it, from a balance into the escrow."""
    row_id, coin = _matched(call, tx, escrow_id)
    payer = None if body.from_account is None else accounts.find(tx, call.project_id, body.from_account).id
    return ok(escrow_funding.fund(tx, call.caller, row_id, _units(body.amount, coin), payer))


@resource.write(
    "/escrows/<escrow_id>/decide",
    {200: Escrow},
    scope="escrows:write",
    body=Decision,
    errors=_STATE,
    etag=True,
)
def decide_escrow(call: Call, tx: Tx, escrow_id: str, body: Decision) -> Answer:
    """Decide about what came too little, too much or too late, or left the chain again.

    For an escrow whose `status_reason` is underpaid, overpaid, late or funding_reversed.
    """
    row_id, _ = _matched(call, tx, escrow_id)
    return ok(escrow_funding.decide(tx, call.caller, row_id, body.decision))


@resource.write(
    "/escrows/<escrow_id>/release",
    {200: Escrow},
    scope="escrows:write",
    body=Release,
    errors=(
        *_STATE,
        *_AMOUNT,
        "account_frozen",
        "scope_missing",
        "signature_required",
        "insufficient_funds",
        "limit_exceeded",
        "reference_exists",
        "address_invalid",
        "address_own",
        "amount_below_minimum",
    ),
    signed=True,
    etag=True,
)
def release_escrow(call: Call, tx: Tx, escrow_id: str, body: Release) -> Answer:
    """Give the vendor the price, or a part of it. It can be spent at once.

    The house's fee is taken as the price is released, each time the whole part of it that is due by then, rounded down.
    With `payout` it is withdrawn to an address in the same transaction: all of it happens, or nothing.
    """
    payout = None
    if body.payout is not None:
        auth.require_scope(call.key, "withdrawals:create")
        payout = Payout(body.payout.address, body.payout.reference, body.payout.fee_from)
    row_id, coin = _matched(call, tx, escrow_id)
    units = _units(body.amount, coin)
    try:
        return ok(escrow_ending.release(tx, call.caller, row_id, units, payout, call.parts.services))
    except InvalidInput as error:
        if payout is not None and error.pointer in ("/address", "/fee_from"):
            raise type(error)(f"/payout{error.pointer}", error.detail, error.code) from None
        raise


@resource.write(
    "/escrows/<escrow_id>/refund",
    {200: Escrow},
    scope="escrows:write",
    body=Refund,
    errors=(*_STATE, *_AMOUNT),
    etag=True,
)
def refund_escrow(call: Call, tx: Tx, escrow_id: str, body: Refund) -> Answer:
    """Give the buyer the price back, or a part of it, with the fee that the part would have borne."""
    row_id, coin = _matched(call, tx, escrow_id)
    return ok(escrow_ending.refund(tx, call.caller, row_id, _units(body.amount, coin)))


@resource.write(
    "/escrows/<escrow_id>/dispute",
    {200: Escrow},
    scope="escrows:write",
    body=Dispute,
    errors=("state_conflict", "version_conflict"),
    etag=True,
)
def dispute_escrow(call: Call, tx: Tx, escrow_id: str, body: Dispute) -> Answer:
    """Object: from now on only the arbiter moves the money, and no deadline does."""
    row_id, _ = _matched(call, tx, escrow_id)
    return ok(escrow_ending.dispute(tx, call.caller, row_id, body.reason))


@resource.write(
    "/escrows/<escrow_id>/resolve",
    {200: Escrow},
    scope="escrows:arbitrate",
    body=Resolution,
    errors=(*_STATE, *_AMOUNT, "account_frozen"),
    etag=True,
)
def resolve_escrow(call: Call, tx: Tx, escrow_id: str, body: Resolution) -> Answer:
    """Split a disputed escrow between vendor and buyer, to the atomic unit.

    The vendor's part bears its part of the fee, rounded down; the buyer's part bears none.
    """
    row_id, coin = _matched(call, tx, escrow_id)
    vendor_units = share(body.vendor_amount, coin, "/vendor_amount")
    buyer_units = None if body.buyer_amount is None else share(body.buyer_amount, coin, "/buyer_amount")
    return ok(escrow_ending.resolve(tx, call.caller, row_id, vendor_units, buyer_units))


@resource.write(
    "/escrows/<escrow_id>/cancel",
    {200: Escrow},
    scope="escrows:write",
    errors=_STATE,
    etag=True,
)
def cancel_escrow(call: Call, tx: Tx, escrow_id: str) -> Answer:
    """Call an escrow off while it awaits its funds. What has come goes to the buyer's balance."""
    row_id, _ = _matched(call, tx, escrow_id)
    return ok(escrow_ending.cancel(tx, call.caller, row_id))


def share(text: str, coin: Asset, pointer: str) -> int:
    """An amount that may be nothing. Raises `InvalidAmount`."""
    nothing = _NOTHING.fullmatch(text) is not None and len(text) <= len("0.") + coin.decimals
    return 0 if nothing else parse_amount(text, coin, pointer)


def _terms(call: Call, tx: Tx, body: NewEscrow) -> escrow_make.Terms:
    coin = asset(tx, body.asset)
    if body.fee_percent is not None and body.fee_amount is not None:
        raise InvalidInput("/fee_amount", "give either fee_percent or fee_amount")
    given = body.model_dump(include={"reference", "fee_from", "at_deadline", "arbiter", "address", "metadata"})
    given |= body.model_dump(include={"on_underpaid", "on_overpaid", "on_late"})
    return escrow_make.Terms(
        buyer_id=_account(call, tx, body.buyer),
        vendor_id=_account(call, tx, body.vendor),
        order_id=None if body.order is None else _order(call, tx, body.order),
        asset=coin,
        units=parse_amount(body.amount, coin),
        fee_ppm=_ppm(body.fee_percent),
        fee_units=0 if body.fee_amount is None else share(body.fee_amount, coin, "/fee_amount"),
        funding_deadline=_moment(body.funding_deadline, "/funding_deadline"),
        deadline=_moment(body.deadline, "/deadline"),
        **given,
    )


def _account(call: Call, tx: Tx, public_id: str) -> int:
    return int(accounts.find(tx, call.project_id, public_id).id)


def _order(call: Call, tx: Tx, public_id: str) -> int:
    row = accounts.find(tx, call.project_id, public_id)
    if row.kind != "order":
        raise InvalidInput("/order", "must be an account of kind order")
    return int(row.id)


def _ppm(percent: str | None) -> int:
    if percent is None:
        return 0
    whole, _, fraction = percent.partition(".")
    return int(whole) * 10_000 + int(fraction.ljust(4, "0"))


def _moment(text: str | None, pointer: str) -> int | None:
    return None if text is None else micros(text, pointer)


def _units(text: str | None, coin: Asset) -> int | None:
    return None if text is None else parse_amount(text, coin)


def _find(call: Call, tx: Tx, public_id: str) -> int:
    return lookup.row_id(call, tx, escrow, "es", public_id)


def _matched(call: Call, tx: Tx, public_id: str) -> tuple[int, Asset]:
    """The escrow's row id and its asset, once If-Match holds. Raises `NotFound`, `Problem` 412."""
    row_id = _find(call, tx, public_id)
    if call.if_match is not None:
        moves.lock(tx, escrow, row_id)  # what matches stays so: of two calls with one ETag the second is refused
        call.require_match(escrow_view.escrow(tx, row_id))
    query = select(coins.c.code, coins.c.chain, coins.c.decimals).join(escrow, escrow.c.asset == coins.c.code)
    return row_id, Asset(*tx.one(query.where(escrow.c.id == row_id)))  # of one that is switched off as well
