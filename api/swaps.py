"""Swaps: one asset for another at the price of a quote, from a balance or from a deposit to an address of its own."""

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
from api.shapes import AssetCode, HistoryItem, Metadata, Money, PublicId, Range, Reference
from api.validation import Model, Shown
from jobs import accounts, references
from jobs.swap import balance as swap_balance
from jobs.swap import open as swap_open
from jobs.swap import view as swap_view
from jobs.swap.books import Wish
from ledger.db import Tx
from ledger.errors import InvalidInput
from ledger.schema import swap as table

resource = Resource("swaps", __name__, "One asset for another, at the price of a quote")

#: Of a percent, in parts per million: the finest slippage that can be told, and the most that is taken.
PPM_OF_A_PERCENT = 10_000
SLIPPAGE_MAX_PERCENT = 10

_PERCENT = re.compile(r"(0|[1-9][0-9]?)(?:\.([0-9]{1,4}))?", re.ASCII)

Status = Literal[
    "awaiting_deposit",
    "executed",
    "paying_out",
    "completed",
    "refunding",
    "refunded",
    "expired",
    "failed",
]
Payee = Annotated[str, StringConstraints(min_length=1, max_length=128)]


class NewSwap(Model):
    quote: PublicId
    account: PublicId
    reference: Reference
    form: Literal["balance", "deposit"] = Field(
        "balance", description="balance: sells what the account has, at once; deposit: what comes to a new address"
    )
    payout_address: Payee | None = Field(None, description="Where what is bought goes; else to the account's balance")
    refund_address: Payee | None = Field(None, description="deposit: where what cannot be swapped goes back to")
    slippage_percent: Annotated[str, StringConstraints(max_length=16)] | None = Field(
        None, description="deposit: how much worse than quoted a late or wrong payment may be exchanged; 0 if not given"
    )
    metadata: Metadata | None = None


class SwapDeposit(Shown):
    address_id: str | None
    address: str | None = Field(description="null until the node watches it")
    address_status: str | None
    until: str | None = Field(description="The rate is kept for what is first seen before")
    received: Money
    held: Money = Field(description="Received, and neither exchanged nor given back")
    slippage_percent: str
    refund_address: str | None
    refund_withdrawal: str | None


class Swap(Shown):
    id: str
    account: str
    quote: str
    form: Literal["balance", "deposit"]
    reference: str
    sell: Money
    buy: Money
    rate: str
    service_fee: Money
    network_fee: Money
    rounding: Money
    payout_address: str | None
    withdrawal: str | None = Field(description="The withdrawal that pays out what was bought")
    deposit: SwapDeposit | None
    metadata: dict[str, str] | None
    status: Status
    status_reason: str | None
    status_detail: str | None
    history: list[HistoryItem]
    executed_at: str | None
    created_at: str
    updated_at: str


class SwapList(Shown):
    data: list[Swap]
    next_cursor: str | None
    has_more: bool


class SwapQuery(Range):
    account: PublicId | None = None
    asset: AssetCode | None = Field(None, description="sold or bought")
    status: Status | None = None
    reference: Annotated[str, StringConstraints(max_length=128)] | None = None


_ERRORS = (
    "quote_expired",
    "quote_used",
    "inventory_short",
    "insufficient_funds",
    "limit_exceeded",
    "account_frozen",
    "asset_disabled",
    "asset_unknown",
    "reference_exists",
    "address_invalid",
    "address_own",
    "amount_invalid",
    "amount_below_minimum",
    "scope_missing",
    "signature_required",
)


@resource.write(
    "/swaps",
    {201: Swap, 202: Swap},
    scope="swaps:write",
    body=NewSwap,
    errors=_ERRORS,
    signed=True,
    etag=True,
)
def create_swap(call: Call, tx: Tx, body: NewSwap) -> Answer:
    """Accept a quote.

    From a balance both sides are exchanged in this call: 201 when all is done, 202 when a payout is on its way. By a
    deposit, what is bought is reserved and the answer is 202 with the address to pay. A payout or refund address needs
    the scope withdrawals:create as well.
    """
    if body.payout_address is not None or body.refund_address is not None:
        auth.require_scope(call.key, "withdrawals:create")
    with references.told_first(tx, table, call.project_id, body.reference):
        owner, slippage = accounts.find(tx, call.project_id, body.account), _slippage_ppm(body)
    wish = Wish(owner.id, body.reference, body.payout_address, body.refund_address, slippage, body.metadata)
    if body.form == "deposit":
        made = swap_open.make(tx, call.caller, body.quote, wish, call.parts.services)
    else:
        made = swap_balance.make(tx, call.caller, body.quote, wish, call.parts.services)
    return created(made, "/swaps", 201 if made["status"] == "completed" else 202)


def _slippage_ppm(body: NewSwap) -> int:
    """Parts per million of what a customer lets the price be worse."""
    if body.form == "balance":
        for name in ("refund_address", "slippage_percent"):
            if getattr(body, name) is not None:
                raise InvalidInput(f"/{name}", "is for swaps by deposit: this one is done at once")
    if body.slippage_percent is None:
        return 0
    match = _PERCENT.fullmatch(body.slippage_percent)
    ppm = -1 if match is None else int(match[1]) * PPM_OF_A_PERCENT + int((match[2] or "").ljust(4, "0"))
    if not 0 <= ppm <= SLIPPAGE_MAX_PERCENT * PPM_OF_A_PERCENT:
        rule = f'must be a decimal string from "0" to "{SLIPPAGE_MAX_PERCENT}" with at most four decimals'
        raise InvalidInput("/slippage_percent", rule)
    return ppm


@resource.read("/swaps", SwapList, scope="swaps:read", query=SwapQuery)
def list_swaps(call: Call, tx: Tx, query: SwapQuery) -> Answer:
    """List swaps, newest first."""
    t = table.c
    wanted = select(t.id).where(t.project_id == call.project_id)
    if query.asset is not None:
        wanted = wanted.where(or_(t.sell_asset == query.asset, t.buy_asset == query.asset))
    scope, rows = narrowed(call, tx, "swaps", wanted, table, query)
    return ok(call.parts.cursors.page(scope, rows, query.limit, lambda r: swap_view.swaps(tx, [row.id for row in r])))


@resource.read("/swaps/<swap_id>", Swap, scope="swaps:read", etag=True)
def get_swap(call: Call, tx: Tx, swap_id: str) -> Answer:
    """Read a swap."""
    return ok(swap_view.swap_(tx, lookup.row_id(call, tx, table, "sw", swap_id)))
