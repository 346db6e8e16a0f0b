"""Handing out addresses: each call takes the next index of the chain's wallet, and no index is ever taken twice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, insert, select, update

from jobs import tasks
from jobs.assets import native
from jobs.caller import Caller
from jobs.services import Services
from ledger import pauses, policy
from ledger.accounts import HOUSE_ACCOUNT, HOUSE_PROJECT
from ledger.db import Tx
from ledger.errors import InvalidAmount, InvalidInput, NotFound
from ledger.founding import FIRST_INDEX
from ledger.ids import is_id, new_id
from ledger.money import Asset, format_units
from ledger.schema import account, address, chain, index_counter, ready_address
from wallets.protocol import AddressBook

#: When fewer indices than this are ready ahead of use, the watching task is woken before its time.
READY_AHEAD = 500

#: A payment request may be open for at most a year.
OPEN_MAX_US = 366 * 86_400 * 1_000_000


@dataclass(frozen=True, slots=True)
class Wish:
    """What a caller wants an address for. With an expected amount or an expiry it is a payment request."""

    account_id: int
    asset: Asset
    expected_units: int | None = None
    expires_at: int | None = None  #: microseconds
    label: str | None = None
    fresh: bool = False  #: a new one even where one address serves for everything
    purpose: tuple[str, int] | None = None  #: (kind, row id) whose deposits they are; None: the account's to spend

    @property
    def is_request(self) -> bool:
        return self.expected_units is not None or self.expires_at is not None


def issue(tx: Tx, caller: Caller, wish: Wish, services: Services) -> Row[Any]:
    """The address row: `ready` when the node already watches its index, otherwise `pending`.

    Each call takes a new index, except where one address serves all assets of a chain: there an account keeps the
    one it has, unless a request for an amount or a time needs its own, or a fresh one is asked for.
    Raises `InvalidInput` with a pointer, `AssetPaused`.
    """
    asset = wish.asset
    pauses.check(tx, asset.code, "deposits")
    _check_request(tx, wish, asset)
    book = services.address_book(asset.chain)
    if book.shared and not wish.is_request and not wish.fresh and wish.purpose is None:
        tx.one(select(account.c.id).where(account.c.id == wish.account_id).with_for_update())  # two calls make one
        kept = _kept(tx, wish)
        if kept is not None:
            return kept
    index, text, ready = _next(tx, asset.chain, book)
    purpose = wish.purpose or ("balance", wish.account_id)
    values = {
        "public_id": new_id("ad"),
        "chain": asset.chain,
        "idx": index,
        "address": text,
        "state": "ready" if ready else "pending",
        "account_id": wish.account_id,
        "project_id": caller.project_id,
        "asset": asset.code,
        "purpose_kind": purpose[0],
        "purpose_id": purpose[1],
        "label": wish.label,
        "expected_units": wish.expected_units,
        "expires_at": wish.expires_at,
        "received_units": 0,
        "apart": int(book.apart),
        "request_state": "open" if wish.is_request else None,
        "version": 1,
        "created_at": tx.now,
        "updated_at": tx.now,
    }
    row_id = tx.insert(insert(address).values(values))
    return tx.one(select(address).where(address.c.id == row_id))


def take_hot(tx: Tx, chain_name: str, index: int, text: str) -> None:
    """The hot wallet's own address as a row: what comes in there is the house's."""
    if index >= FIRST_INDEX:
        raise ValueError(f"index {index} may be somebody's already")
    values = {"public_id": new_id("ad"), "chain": chain_name, "idx": index, "address": text, "state": "ready"}
    values |= {"account_id": HOUSE_ACCOUNT, "project_id": HOUSE_PROJECT, "asset": native(tx, chain_name)}
    values |= {"purpose_kind": "treasury", "purpose_id": HOUSE_ACCOUNT, "label": "hot wallet", "received_units": 0}
    clock = {"version": 1, "created_at": tx.now, "updated_at": tx.now}
    tx.execute(insert(address).values(values | clock))


def _kept(tx: Tx, wish: Wish) -> Row[Any] | None:
    """The account's address of this chain. One that was given out for a token may carry code for a while after a
    batched sweep, and then takes no plain payment of the chain's coin (NODES 0.13): for the coin it is not shown."""
    a = address.c
    own = (a.account_id == wish.account_id) & (a.chain == wish.asset.chain) & (a.purpose_kind == "balance")
    if native(tx, wish.asset.chain) == wish.asset.code:
        own &= a.asset == wish.asset.code
    return tx.first(select(address).where(own & a.request_state.is_(None)).order_by(a.id).limit(1))


def _next(tx: Tx, name: str, book: AddressBook) -> tuple[int, str | None, bool]:
    """(index, address or None while it is not known, whether the node watches it). The counter's row stays
    locked until the commit, so two callers never see the same number."""
    counter = index_counter.c
    tx.execute(update(index_counter).where(counter.chain == name).values(next_index=counter.next_index + 1))
    query = select(counter.next_index, chain.c.watched_count, chain.c.account_public_key)
    row = tx.one(query.join(chain, chain.c.name == counter.chain).where(counter.chain == name))
    index = row.next_index - 1
    if index + READY_AHEAD >= row.watched_count:
        tasks.wake(tx, f"watch:{name}")
    if row.account_public_key is None:
        return index, None, False
    if book.derives:
        return index, book.at(row.account_public_key, index), index < row.watched_count
    r = ready_address.c
    text = tx.value(select(r.address).where(r.chain == name, r.idx == index))
    return index, None if text is None else str(text), text is not None


def _check_request(tx: Tx, wish: Wish, asset: Asset) -> None:
    if wish.expires_at is not None and not tx.now < wish.expires_at <= tx.now + OPEN_MAX_US:
        raise InvalidInput("/expires_at", "must be in the future, within a year")
    if wish.expected_units is not None:
        least = policy.of(tx, asset.code).deposit_minimum_units
        if wish.expected_units < least:
            text = f"a deposit below {format_units(least, asset.decimals)} {asset.code} is not credited"
            raise InvalidAmount("/expected_amount", text, "amount_below_minimum")


def find(tx: Tx, project_id: int, text: str, services: Services) -> Row[Any]:
    """One of the project's addresses by its text (in any spelling of its chain) or its public id.

    Raises `NotFound` for any other text; an address that is still pending is found by its id only.
    """
    a = address.c
    query = select(address).where(a.project_id == project_id)
    if is_id(text, "ad"):
        row = tx.first(query.where(a.public_id == text))
    else:
        row = tx.first(query.where(a.address.in_(_spellings(tx, text, services)), a.state == "ready"))
    if row is None:
        raise NotFound("no such address")
    return row


def _spellings(tx: Tx, text: str, services: Services) -> set[str]:
    found = set()
    for row in tx.all(select(chain.c.name)):
        try:
            found.add(services.address_book(row.name).parse(text))
        except InvalidInput:
            continue
    if not found:
        raise NotFound("no such address")
    return found
