"""Deposits: what came in."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from sqlalchemy import select

from api import lookup
from api.answers import Answer, ok
from api.call import Call
from api.endpoints import Resource
from api.lists import narrowed
from api.shapes import AssetCode, HistoryItem, Money, PublicId, Range
from api.validation import Shown
from jobs import views
from ledger.db import Tx
from ledger.schema import deposit

resource = Resource("deposits", __name__, "What came in")

Status = Literal["detected", "confirming", "credited", "final", "reversed", "held", "ignored"]


class Deposit(Shown):
    id: str
    account: str | None
    asset: str
    amount: Money
    address: str
    purpose: str | None = Field(description="What its address was given out for: balance, escrow, swap; null: unknown")
    purpose_id: str | None = Field(description="The escrow or the swap; null: the account's balance")
    txid: str
    vout: int | None = Field(description="Of a chain with numbered outputs (Bitcoin)")
    output: str = Field(
        description="What of the transaction paid it: an output's number, a Monero subaddress (account:index), "
        "an event (log:number:digest), a transfer inside it (call:number:digest); empty: the transaction itself"
    )
    confirmations: int
    confirmations_needed: int | None
    waits_for_final: bool = Field(
        description="It is credited once the chain calls its block final, whatever its confirmations"
    )
    late: bool = Field(description="First seen after its payment request had expired")
    status: Status
    status_reason: str | None = Field(
        description="locked: the chain does not let it be spent yet; second_node: another node must see it; "
        "others tell why it is held, ignored or reversed"
    )
    history: list[HistoryItem]
    created_at: str
    updated_at: str


class DepositList(Shown):
    data: list[Deposit]
    next_cursor: str | None
    has_more: bool


class DepositQuery(Range):
    account: PublicId | None = None
    asset: AssetCode | None = None
    status: Status | None = None


@resource.read("/deposits", DepositList, scope="deposits:read", query=DepositQuery)
def list_deposits(call: Call, tx: Tx, query: DepositQuery) -> Answer:
    """List deposits, newest first."""
    d = deposit.c
    wanted = select(d.id).where(d.project_id == call.project_id)
    scope, rows = narrowed(call, tx, "deposits", wanted, deposit, query)
    return ok(call.parts.cursors.page(scope, rows, query.limit, lambda r: views.deposits(tx, [row.id for row in r])))


@resource.read("/deposits/<deposit_id>", Deposit, scope="deposits:read", etag=True)
def get_deposit(call: Call, tx: Tx, deposit_id: str) -> Answer:
    """Read a deposit."""
    return ok(views.deposit(tx, lookup.row_id(call, tx, deposit, "dp", deposit_id)))
