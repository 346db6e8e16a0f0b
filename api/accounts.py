"""Accounts: who owns money here."""

from __future__ import annotations

import hashlib
import hmac
from typing import Annotated, Literal

from pydantic import Field, StringConstraints
from sqlalchemy import select

from api.answers import Answer, created, ok
from api.call import Call
from api.endpoints import Resource
from api.shapes import AssetCode, Kind, Money, Page, Reference
from api.validation import Model, Shown
from jobs import accounts as store
from jobs import entries, views
from ledger.db import Tx
from ledger.schema import account

resource = Resource("accounts", __name__, "Who owns money: a customer, a vendor, an order")


class NewAccount(Model):
    reference: Reference
    kind: Kind = "user"


class Account(Shown):
    id: str
    reference: str
    kind: Literal["user", "vendor", "order"]
    status: Literal["active", "frozen"]
    status_reason: str | None
    created_at: str
    updated_at: str


class Balance(Shown):
    asset: str
    available: Money = Field(description="What it can spend")
    held: Money = Field(description="Bound by withdrawals that are not over")
    escrow: Money = Field(description="In escrows that it is the buyer of")
    swap: Money = Field(description="Came in for a swap that is not executed")
    pending: Money = Field(description="Seen on chain, not yet spendable")
    receivable: Money = Field(description="What it owes after a reorganisation took back money that it had spent")


class Balances(Shown):
    account: str
    data: list[Balance]


class Entry(Shown):
    id: str
    type: str
    asset: str
    changes: dict[str, Money] = Field(description="Signed, by balance: a hold is available down and held up")
    resource: str | None = Field(description="The deposit, withdrawal, transfer, escrow or swap that it belongs to")
    at: str


class AccountList(Shown):
    data: list[Account]
    next_cursor: str | None
    has_more: bool


class EntryList(Shown):
    data: list[Entry]
    next_cursor: str | None
    has_more: bool


class AccountQuery(Page):
    reference: Annotated[str, StringConstraints(max_length=128)] | None = None
    kind: Kind | None = None


class EntryQuery(Page):
    asset: AssetCode | None = None


@resource.write(
    "/accounts", {201: Account}, scope="accounts:write", body=NewAccount, errors=("reference_exists",), etag=True
)
def create_account(call: Call, tx: Tx, body: NewAccount) -> Answer:
    """Create an account."""
    row = store.create(tx, call.caller, body.reference, body.kind)
    return created(views.account(tx, row), "/accounts")


@resource.read("/accounts", AccountList, scope="accounts:read", query=AccountQuery)
def list_accounts(call: Call, tx: Tx, query: AccountQuery) -> Answer:
    """List accounts, newest first."""
    scope = ("accounts", call.project_id, query.reference, query.kind)
    before = call.parts.cursors.take(scope, query.cursor)
    wanted = select(account).where(account.c.project_id == call.project_id, account.c.kind != "house")
    for column, value in ((account.c.reference, query.reference), (account.c.kind, query.kind)):
        wanted = wanted if value is None else wanted.where(column == value)
    wanted = wanted if before is None else wanted.where(account.c.id < before)
    rows = tx.all(wanted.order_by(account.c.id.desc()).limit(query.limit + 1))
    return ok(call.parts.cursors.page(scope, rows, query.limit, lambda r: [views.account(tx, row) for row in r]))


@resource.read("/accounts/<account_id>", Account, scope="accounts:read", etag=True)
def get_account(call: Call, tx: Tx, account_id: str) -> Answer:
    """Read an account."""
    return ok(views.account(tx, store.find(tx, call.project_id, account_id)))


@resource.read("/accounts/<account_id>/balances", Balances, scope="accounts:read", etag=True)
def get_balances(call: Call, tx: Tx, account_id: str) -> Answer:
    """Read what an account has, by asset."""
    row = store.find(tx, call.project_id, account_id)
    kinds = ("available", "held", "escrow", "swap", "pending", "receivable")
    data = [
        {"asset": own["asset"]} | {kind: views.money(own[kind], own["asset"], own["decimals"]) for kind in kinds}
        for own in store.owned(tx, row.id)
    ]
    return ok({"account": row.public_id, "data": data})


@resource.read("/accounts/<account_id>/entries", EntryList, scope="ledger:read", query=EntryQuery)
def list_entries(call: Call, tx: Tx, account_id: str, query: EntryQuery) -> Answer:
    """List the postings that touched an account, newest first."""
    row = store.find(tx, call.project_id, account_id)
    scope = ("entries", row.id, query.asset)
    before = call.parts.cursors.take(scope, query.cursor)
    rows = entries.of_account(tx, row.id, query.asset, before, query.limit + 1)
    key = call.parts.ring.derive("entry-ids")

    def render(shown: list) -> list[dict]:
        return [{"id": _entry_id(key, r.id)} | v for r, v in zip(shown, entries.render(tx, row.id, shown), strict=True)]

    return ok(call.parts.cursors.page(scope, rows, query.limit, render))


def _entry_id(key: bytes, posting_id: int) -> str:
    """Stable and unique, and tells nothing of how many postings there are."""
    return "en_" + hmac.new(key, str(posting_id).encode(), hashlib.sha256).hexdigest()[:32]
