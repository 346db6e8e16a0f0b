"""Money that is there and that no deposit explains: booked once to suspense, as a deposit that a person decides about.

Coins come without any transaction to us that a scanner could see: by a contract that ends, by a validator's withdrawal,
from inside a call on a node that offers no traces (FAULTS F3, F4). Never lost, never anybody's by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, insert, select, update

from jobs import holdings, views
from jobs.deposit.state import SURPLUS_PREFIX, State
from jobs.ownership import deposits as ownership_deposits
from jobs.sweep import rows as sweep_rows
from ledger import accounts, balances, history, postings
from ledger.db import Tx
from ledger.ids import new_id
from ledger.postings import Leg
from ledger.schema import address, chain, deposit
from wallets.protocol import HOT

REASON = "unexplained_balance"


@dataclass(frozen=True)
class Surplus:
    """Units beyond the books at a place since a height that is final; `held_units` is what the books expected there."""

    asset: str
    place: int
    units: int
    height: int
    held_units: int


def book(tx: Tx, chain_name: str, found: Surplus, *, treasury_units: int) -> None:
    """Book it, unless anything moved there since the look, or it was booked before, or nobody was given that index."""
    index = found.place
    if index == HOT:
        index = tx.value(select(chain.c.hot_index).where(chain.c.name == chain_name))
    home = tx.first(select(address).where(address.c.chain == chain_name, address.c.idx == index))
    if home is None or _moved(tx, chain_name, found, home, treasury_units):
        return
    key = f"{SURPLUS_PREFIX}{index}:{found.height}"
    known = (deposit.c.chain == chain_name) & (deposit.c.asset == found.asset) & (deposit.c.output_key == key)
    if tx.value(select(deposit.c.id).where(known)) is None:
        _write(tx, chain_name, found, home, key)


def _moved(tx: Tx, chain_name: str, found: Surplus, home: Row[Any], treasury_units: int) -> bool:
    if home.idx in sweep_rows.arriving(tx, chain_name):
        return True
    if found.place == HOT:
        return treasury_units != -balances.of_house(tx, found.asset)["treasury_hot"]
    held = holdings.at(tx, chain_name, found.asset, home.idx)
    return held != found.held_units or bool(sweep_rows.paying(tx, chain_name, home.idx))


def _write(tx: Tx, chain_name: str, found: Surplus, home: Row[Any], key: str) -> None:
    """`due_at` NULL: no node is asked about it again, for no transaction of that name exists anywhere."""
    values: dict[str, Any] = {"public_id": new_id("dp"), "chain": chain_name, "asset": found.asset, "output_key": key}
    values |= {"txid": key, "address": home.address, "units": found.units, "seen": "confirmed", "height": found.height}
    values |= {"address_id": home.id, "account_id": home.account_id, "project_id": home.project_id, "credits": 1}
    values |= {"state": str(State.HELD), "status_reason": REASON, "created_at": tx.now, "updated_at": tx.now}
    row_id = tx.insert(insert(deposit).values(values))
    suspense, ref = accounts.house("suspense"), ("deposit", row_id)
    leg = Leg(accounts.house("treasury_hot"), suspense, found.units)
    postings.post(tx, f"deposit:{row_id}:credit:1", "deposit", found.asset, [leg], ref)
    credited_to = accounts.find(tx, [suspense], found.asset)[suspense]
    tx.execute(update(deposit).where(deposit.c.id == row_id).values(credited=1, credited_to=credited_to))
    if home.apart:
        holdings.add(tx, chain_name, found.asset, home.idx, found.units)
    history.note(tx, "deposit", row_id, None, str(State.HELD), REASON)
    data = views.deposit(tx, row_id)
    history.emit(tx, home.project_id, "deposit.held", data["id"], data)
    ownership_deposits.booked(tx, tx.one(select(deposit).where(deposit.c.id == row_id)), suspense, "held", REASON)
