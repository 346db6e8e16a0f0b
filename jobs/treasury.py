"""The house's own money: addresses for it, and where all of it lies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, select

from jobs import addresses, holdings
from jobs.assets import asset_of, chains_in_use
from jobs.caller import Caller
from jobs.payment import books as payment_books
from jobs.services import Services, chain_row
from jobs.sweep import plan as sweep_plan
from jobs.sweep.plan import Place
from jobs.sweep.rows import ENDED
from ledger import audit, balances
from ledger.accounts import HOUSE_ACCOUNT, HOUSE_PROJECT
from ledger.db import Tx
from ledger.errors import InvalidInput, StateConflict
from ledger.money import Asset
from ledger.schema import address, asset, payment


@dataclass(frozen=True, slots=True)
class Holdings:
    """One asset in atomic units, by the books. `hot` and `on_indices` together are what payments and sweeps may use."""

    asset: str
    hot: int
    on_indices: int  #: not collected yet, on chains where each index holds its own money
    cold: int
    in_flight: int


def address_for(
    tx: Tx, services: Services, code: str, actor: str, *, refill: bool = False, label: str | None = None
) -> Row[Any]:
    """An address of the house: what comes in there is capital, or (`refill`) comes back from cold. Audited.

    Where the hot wallet is one address, that is it; a refill has one of its own, from which it is collected.
    Raises `InvalidInput`, `StateConflict` while the chain's wallet has not been opened yet.
    """
    coin = asset_of(tx, code)
    if coin is None:
        raise InvalidInput("/asset", f"{code} is not an asset of this installation")
    row = None if refill else _hot(tx, services, coin)
    if row is None:
        house = Caller(HOUSE_PROJECT, None, actor, actor)
        purpose = ("refill" if refill else "treasury", HOUSE_ACCOUNT)
        wish = addresses.Wish(HOUSE_ACCOUNT, coin, label=label, fresh=True, purpose=purpose)
        row = addresses.issue(tx, house, wish, services)
    action = "treasury.refill" if refill else "treasury.address"
    audit.record(tx, actor, action, row.public_id, {"asset": code, "index": row.idx})
    return row


def _hot(tx: Tx, services: Services, coin: Asset) -> Row[Any] | None:
    """The hot wallet's own address on chains that have such a one."""
    if not services.address_book(coin.chain).shared:
        return None
    index = chain_row(tx, coin.chain).hot_index
    if index is None:
        raise StateConflict(f"the {coin.chain} worker has not opened its wallet yet: there is no hot address")
    return tx.one(select(address).where(address.c.chain == coin.chain, address.c.idx == index))


def by_asset(tx: Tx) -> list[Holdings]:
    """Where the house's money lies, for every asset."""
    found = []
    for row in tx.all(select(asset.c.code, asset.c.chain).order_by(asset.c.code)):
        house = balances.of_house(tx, row.code)
        apart = holdings.total(tx, row.chain, row.code)
        treasury, cold, in_flight = (-house[kind] for kind in ("treasury_hot", "treasury_cold", "in_flight"))
        hot = treasury - apart + _set_aside(tx, row.chain, row.code)
        found.append(Holdings(row.code, hot, apart, cold, in_flight))
    return found


def _set_aside(tx: Tx, chain: str, code: str) -> int:
    """Fee ceilings in flight that indices will pay, not the hot wallet."""
    p = payment.c
    sweeping = (p.chain == chain) & (p.fee_asset == code) & (p.purpose == "sweep") & (p.batched == 0)
    rows = tx.all(select(p.id, p.fee_max_units).where(sweeping, p.state.not_in(ENDED)))
    return sum(row.fee_max_units for row in rows if payment_books.intent_stands(tx, row.id))


def left_behind(tx: Tx, services: Services) -> Mapping[str, list[Place]]:
    """By chain, what lies on indices and is not being collected, with the reason."""
    found = {}
    for chain in chains_in_use(tx):
        if services.address_book(chain).apart:
            found[chain] = [place for place in sweep_plan.listing(tx, chain) if place.reason is not None]
    return found
