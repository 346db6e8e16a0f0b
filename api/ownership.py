"""Ownership histories: who owned what, when and why."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from api import lookup
from api.answers import Answer, ok
from api.call import Call
from api.endpoints import Resource
from api.shapes import Money, Page
from api.validation import Shown
from jobs import accounts
from jobs.ownership import read as ownership_read
from jobs.ownership import view as ownership_view
from ledger.db import Tx
from ledger.schema import deposit, escrow

resource = Resource("ownership", __name__, "Who owned what, when and why")


class OwnershipRow(Shown):
    subject: str = Field(description="The deposit, order (its account) or escrow whose history this is a row of")
    kind: Literal["deposit", "order", "escrow"]
    number: int = Field(description="Its place in that history, from 1 on")
    event: str = Field(examples=["credited", "paid_in", "released", "refunded", "reversed"])
    owner: str | None = Field(description="The account; null: the house")
    place: str = Field(description="Which of the owner's balances", examples=["available", "escrow"])
    amount: Money = Field(description="What the owner has there of it from now on")
    reason: str | None
    cause: str | None = Field(description="What moved it: a deposit, escrow, swap, transfer or withdrawal")
    at: str
    previous_hash: str
    hash: str = Field(description="SHA-256 over all of the row's facts and the hash of the row before")


class OwnershipList(Shown):
    data: list[OwnershipRow]
    next_cursor: str | None
    has_more: bool
    verified: bool = Field(
        description="Of the rows shown: each is what was written; in the history of a deposit, order or escrow each "
        "also follows from the one before, and the newest is the history's end"
    )


@resource.read("/accounts/<account_id>/ownership", OwnershipList, scope="ledger:read", query=Page)
def get_account_ownership(call: Call, tx: Tx, account_id: str, query: Page) -> Answer:
    """List an order's history, newest first.

    Of an account of another kind: the rows of all histories by which it came to own something.
    """
    row = accounts.find(tx, call.project_id, account_id)
    if row.kind == "order":
        return _chain(call, tx, ("order", row.id), query)
    scope = ("ownership of", row.id)
    before = call.parts.cursors.take(scope, query.cursor)
    return _shown(call, tx, scope, ownership_read.of_account(tx, row.id, before, query.limit), query)


@resource.read("/deposits/<deposit_id>/ownership", OwnershipList, scope="deposits:read", query=Page)
def get_deposit_ownership(call: Call, tx: Tx, deposit_id: str, query: Page) -> Answer:
    """List a deposit's history, newest first."""
    return _chain(call, tx, ("deposit", lookup.row_id(call, tx, deposit, "dp", deposit_id)), query)


@resource.read("/escrows/<escrow_id>/ownership", OwnershipList, scope="escrows:read", query=Page)
def get_escrow_ownership(call: Call, tx: Tx, escrow_id: str, query: Page) -> Answer:
    """List an escrow's history, newest first."""
    return _chain(call, tx, ("escrow", lookup.row_id(call, tx, escrow, "es", escrow_id)), query)


def _chain(call: Call, tx: Tx, subject: tuple[str, int], query: Page) -> Answer:
    scope = ("ownership", *subject)
    before = call.parts.cursors.take(scope, query.cursor)
    return _shown(call, tx, scope, ownership_read.chain(tx, subject, before, query.limit), query)


def _shown(call: Call, tx: Tx, scope: tuple[Any, ...], page: ownership_read.Page, query: Page) -> Answer:
    shown = call.parts.cursors.page(scope, page.rows, query.limit, lambda rows: ownership_view.rows(tx, rows))
    return ok(shown | {"verified": page.verified})
