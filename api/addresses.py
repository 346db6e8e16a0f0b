"""Addresses: where money comes in, and the payment requests that may go with them."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal

import segno
from pydantic import Field
from sqlalchemy import ColumnElement, select

from api.answers import Answer, created, ok
from api.call import Call
from api.endpoints import Resource
from api.shapes import Amount, AssetCode, Label, Moment, Money, Page, PublicId, asset, micros
from api.validation import Model, Shown
from jobs import accounts, addresses, views
from jobs.assets import asset_of
from ledger.db import Tx
from ledger.money import parse_amount
from ledger.schema import address

resource = Resource("addresses", __name__, "Where money comes in")


class NewAddress(Model):
    asset: AssetCode
    expected_amount: Amount | None = None
    expires_at: Moment | None = Field(None, description="Later payments are still credited, and marked late")
    label: Label | None = None
    fresh: bool = Field(
        False, description="A new address also where one serves all that an account gets on a chain (Ethereum)"
    )


class PaymentRequest(Shown):
    status: Literal["open", "underpaid", "paid", "overpaid", "expired"]
    expected: Money | None
    received: Money
    expires_at: str | None
    late: bool = Field(description="Something came after the expiry")


class Address(Shown):
    id: str
    account: str
    asset: str = Field(description="What it was asked for")
    assets: list[str] = Field(description="All that it takes: what arrives in any of them is credited")
    chain: str
    address: str | None = Field(description="None while pending")
    index: int
    status: Literal["pending", "ready"] = Field(
        description="pending: the node does not watch it yet, so it is not shown"
    )
    label: str | None
    payment_request: PaymentRequest | None
    created_at: str
    updated_at: str
    uri: str | None = Field(description="For wallets: BIP-21, monero: or EIP-681")


class AddressWithPicture(Address):
    qr_svg: str | None = Field(description="The URI as a QR code, an SVG element")


class AddressList(Shown):
    data: list[Address]
    next_cursor: str | None
    has_more: bool


class AddressQuery(Page):
    account: PublicId | None = None
    asset: AssetCode | None = None
    status: Literal["pending", "ready"] | None = None


def with_picture(shown: dict[str, Any]) -> dict[str, Any]:
    """The QR code is drawn from the stored URI, outside of any transaction."""
    return shown | {"qr_svg": None if shown["uri"] is None else _picture(shown["uri"])}


@lru_cache(maxsize=1000)
def _picture(uri: str) -> str:
    # Choosing among the eight masks takes three quarters of the time, and readers take any.
    return segno.make_qr(uri, error="m", mask=3, boost_error=False).svg_inline(scale=4, border=4)


@resource.write(
    "/accounts/<account_id>/addresses",
    {201: AddressWithPicture, 202: AddressWithPicture},
    scope="addresses:write",
    body=NewAddress,
    errors=("asset_disabled", "asset_unknown", "amount_invalid", "amount_precision_exceeded", "amount_below_minimum"),
    finish=with_picture,
    etag=True,
)
def create_address(call: Call, tx: Tx, account_id: str, body: NewAddress) -> Answer:
    """Get an address for an account.

    A new one each time; on Ethereum the account keeps one for the coin and all tokens, unless `fresh` is true or the
    call is a payment request. 201 with the address when one is ready ahead of use; otherwise 202 with status pending:
    read it again by its id.
    """
    owner = accounts.find(tx, call.project_id, account_id)
    coin = asset(tx, body.asset)
    expected = None if body.expected_amount is None else parse_amount(body.expected_amount, coin, "/expected_amount")
    expires_at = None if body.expires_at is None else micros(body.expires_at, "/expires_at")
    wish = addresses.Wish(owner.id, coin, expected, expires_at, body.label, body.fresh)
    row = addresses.issue(tx, call.caller, wish, call.parts.services)
    shown = views.address(tx, row, call.parts.services.address_book(row.chain), coin.code)
    return created(shown, "/addresses", 201 if row.state == "ready" else 202)


@resource.read("/addresses", AddressList, scope="addresses:read", query=AddressQuery)
def list_addresses(call: Call, tx: Tx, query: AddressQuery) -> Answer:
    """List addresses, newest first."""
    a = address.c
    scope = ("addresses", call.project_id, query.account, query.asset, query.status)
    before = call.parts.cursors.take(scope, query.cursor)
    wanted = select(address).where(a.project_id == call.project_id)
    if query.account is not None:
        wanted = wanted.where(a.account_id == accounts.find(tx, call.project_id, query.account).id)
    if query.asset is not None:
        wanted = wanted.where(_takes(call, tx, query.asset))
    if query.status is not None:
        wanted = wanted.where(a.state == query.status)
    wanted = wanted if before is None else wanted.where(a.id < before)
    rows = tx.all(wanted.order_by(a.id.desc()).limit(query.limit + 1))
    books = {name: call.parts.services.address_book(name) for name in {row.chain for row in rows}}
    return ok(call.parts.cursors.page(scope, rows, query.limit, lambda r: views.addresses(tx, r, books)))


def _takes(call: Call, tx: Tx, code: str) -> ColumnElement[bool]:
    """Addresses at which this asset may arrive."""
    found = asset_of(tx, code)
    shared = found is not None and call.parts.services.address_book(found.chain).shared
    return address.c.chain == found.chain if found is not None and shared else address.c.asset == code


@resource.read("/addresses/<address_or_id>", AddressWithPicture, scope="addresses:read", finish=with_picture, etag=True)
def get_address(call: Call, tx: Tx, address_or_id: str) -> Answer:
    """Read an address, by its text or its id, with the state of its payment request."""
    row = addresses.find(tx, call.project_id, address_or_id, call.parts.services)
    return ok(views.address(tx, row, call.parts.services.address_book(row.chain)))
