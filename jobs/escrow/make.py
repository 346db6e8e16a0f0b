"""Making an escrow: its terms are checked and fixed here, and nothing has moved yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, select, update

from jobs import addresses, references
from jobs.caller import Caller
from jobs.escrow import books as escrow_books
from jobs.escrow.state import State
from jobs.escrow.terms import fee_of
from jobs.services import Services
from jobs.views import View
from ledger import history, pauses
from ledger.db import Tx
from ledger.errors import InvalidAmount, InvalidInput
from ledger.ids import new_id
from ledger.money import UNITS_BOUND, Asset
from ledger.schema import escrow

#: A deadline may be at most this far away.
OPEN_MAX_US = addresses.OPEN_MAX_US

#: Terms that are columns as they are.
_GIVEN = (
    "buyer_id",
    "vendor_id",
    "order_id",
    "units",
    "fee_from",
    "reference",
    "metadata",
    "on_underpaid",
    "on_overpaid",
    "on_late",
    "arbiter",
    "funding_deadline",
    "deadline",
    "at_deadline",
)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a caller asks for. The accounts belong to the caller's project (the caller checks); moments in microseconds.

    The fee is `fee_ppm` of the price, rounded up, or `fee_units`, or nothing.
    """

    buyer_id: int
    vendor_id: int
    asset: Asset
    units: int
    reference: str
    order_id: int | None = None
    fee_ppm: int = 0
    fee_units: int = 0
    fee_from: str = "vendor"
    funding_deadline: int | None = None
    deadline: int | None = None
    at_deadline: str | None = None
    on_underpaid: str = "wait"
    on_overpaid: str = "return"
    on_late: str = "return"
    arbiter: str = "key"
    address: bool = False  #: give it an address of its own, to be funded by deposits
    metadata: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """A stored escrow, and the resource as its event shows it."""

    id: int
    shown: View


def create(tx: Tx, caller: Caller, terms: Terms, services: Services) -> Made:
    """Store an escrow that awaits its funds. Raises `InvalidInput` with a pointer, `AssetPaused`, `ReferenceExists`."""
    with references.told_first(tx, escrow, caller.project_id, terms.reference):
        pauses.check(tx, terms.asset.code, "escrows")
        _check(terms, tx.now)
        fee = fee_of(terms.units, terms.fee_ppm) if terms.fee_ppm else terms.fee_units
        wanted = _wanted(terms, fee)
        row_id = _insert(tx, caller, terms, fee, wanted)
    if terms.address:
        _give_address(tx, caller, terms, row_id, wanted, services)
    history.note(tx, "escrow", row_id, None, State.AWAITING_FUNDS, actor=caller.name)
    row = tx.one(select(escrow).where(escrow.c.id == row_id))
    return Made(row_id, escrow_books.tell(tx, row, State.AWAITING_FUNDS))


def _check(terms: Terms, now: int) -> None:
    if terms.buyer_id == terms.vendor_id:
        raise InvalidInput("/vendor", "must be another account than the buyer", "same_account")
    if terms.order_id in (terms.buyer_id, terms.vendor_id):
        raise InvalidInput("/order", "must be another account than buyer and vendor", "same_account")
    if (terms.deadline is None) != (terms.at_deadline is None):
        raise InvalidInput("/at_deadline", "deadline and at_deadline go together")
    for name, moment in (("funding_deadline", terms.funding_deadline), ("deadline", terms.deadline)):
        if moment is not None and not now < moment <= now + OPEN_MAX_US:
            raise InvalidInput(f"/{name}", "must be in the future, within a year")
    if terms.deadline is not None and (terms.funding_deadline or 0) > terms.deadline:
        raise InvalidInput("/deadline", "must not be before the funding deadline")


def _wanted(terms: Terms, fee: int) -> int:
    """What funds it. Raises `InvalidAmount` for a fee that leaves nothing, or more than the books can hold."""
    if fee >= terms.units and not (terms.fee_from == "buyer" and fee == terms.units):
        raise InvalidAmount("/fee_percent" if terms.fee_ppm else "/fee_amount", "must be less than the amount")
    wanted = terms.units + (fee if terms.fee_from == "buyer" else 0)
    if wanted >= UNITS_BOUND:
        raise InvalidAmount("/amount", f"is more {terms.asset.code} than can exist")
    return wanted


def _insert(tx: Tx, caller: Caller, terms: Terms, fee: int, wanted: int) -> int:
    values = {name: getattr(terms, name) for name in _GIVEN} | {
        "public_id": new_id("es"),
        "project_id": caller.project_id,
        "queue": "tasks",
        "asset": terms.asset.code,
        "fee_units": fee,
        "wanted_units": wanted,
        "created_by": caller.key_id,
        "actor": caller.name[:128],
        "state": State.AWAITING_FUNDS,
        "due_at": terms.funding_deadline,
        "created_at": tx.now,
        "updated_at": tx.now,
    }
    return tx.insert(insert(escrow).values(values))


def _give_address(tx: Tx, caller: Caller, terms: Terms, row_id: int, wanted: int, services: Services) -> None:
    """The buyer's, for as long as the money is: what comes after the escrow's end is the buyer's balance."""
    wish = addresses.Wish(
        terms.buyer_id,
        terms.asset,
        wanted,
        terms.funding_deadline,
        fresh=True,
        purpose=("escrow", row_id),
    )
    try:
        home = addresses.issue(tx, caller, wish, services)
    except InvalidAmount as error:
        raise InvalidAmount("/amount", error.detail, error.code) from None
    tx.execute(update(escrow).where(escrow.c.id == row_id).values(address_id=home.id))
