"""The books of a swap: what the house sets aside for it, and the exchange itself.

The house's side of every swap is its inventory: what a customer sells goes into it, what he buys comes out of it, and
it is never negative. `reserved` is inventory that is promised to swaps which wait for their deposit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, select, update
from sqlalchemy import insert as insert_into
from sqlalchemy.exc import IntegrityError

from jobs import debts, moves
from jobs.caller import Caller
from jobs.row_mac import RowMac
from jobs.swap.pricing import DEAL_COLUMNS, Deal
from jobs.withdrawal_terms import Order
from ledger import accounts, history, ownership, postings
from ledger.accounts import Owner
from ledger.crashpoint import crashpoint
from ledger.db import Tx
from ledger.errors import InsufficientFunds, InventoryShort, LedgerBroken, QuoteUsed, ReferenceExists
from ledger.ids import new_id
from ledger.postings import Leg
from ledger.schema import account, swap

#: The queue of all swaps: their steps ask no node.
QUEUE = "tasks"

FREE, RESERVED = accounts.house("inventory"), accounts.house("reserved")


@dataclass(frozen=True, slots=True)
class Wish:
    """What a customer says who accepts a quote. Addresses are canonical texts, checked by the caller."""

    account_id: int
    reference: str
    payout_address: str | None = None
    refund_address: str | None = None
    slippage_ppm: int = 0
    metadata: dict[str, Any] | None = None


def deal_of(row: Row[Any]) -> Deal:
    """The deal of a quote's or a swap's row."""
    return Deal(*(getattr(row, name) for name in DEAL_COLUMNS))


def insert(
    tx: Tx, caller: Caller, quote: Row[Any], wish: Wish, form: str, state: str, mac: RowMac, **values: Any
) -> int:
    """The new swap's row id, with its first line of history and no event. `values` are further columns.

    Raises `ReferenceExists`, `QuoteUsed`.
    """
    row = {"public_id": new_id("sw"), "project_id": caller.project_id, "queue": QUEUE, "quote_id": quote.id}
    row |= {"account_id": wish.account_id, "form": form, "state": state, "reference": wish.reference}
    row |= {"sell_asset": quote.sell_asset, "buy_asset": quote.buy_asset, "rate": quote.rate}
    row |= deal_of(quote).columns()
    row |= {"payout_address": wish.payout_address, "refund_address": wish.refund_address}
    row |= {"slippage_ppm": wish.slippage_ppm, "metadata": wish.metadata}
    row |= {"created_by": caller.key_id, "actor": caller.name, "created_at": tx.now, "updated_at": tx.now}
    check_unused(tx, caller, wish.reference, quote.id)
    try:
        swap_id = tx.insert(insert_into(swap).values(row | values | {"mac": mac.swap(row)}))
    except IntegrityError:
        check_unused(tx, caller, wish.reference, quote.id)  # another request was first with it
        raise
    history.note(tx, "swap", swap_id, None, state, actor=caller.name)
    return swap_id


def check_unused(tx: Tx, caller: Caller, reference: str, quote_id: int) -> None:
    """Raises `ReferenceExists` or `QuoteUsed` when a swap has this reference, or this quote."""
    s = swap.c
    existing = tx.value(select(s.public_id).where(s.project_id == caller.project_id, s.reference == reference))
    if existing is not None:
        raise ReferenceExists(f"the reference was used by {existing}", existing=existing)
    existing = tx.value(select(s.public_id).where(s.quote_id == quote_id))
    if existing is not None:
        raise QuoteUsed(f"the quote was accepted by {existing}", existing=existing)


def reserve(tx: Tx, asset: str, units: int, swap_id: int) -> None:
    """Set inventory aside for a swap, once, and remember it in its row. Raises `InventoryShort`."""
    _move_inventory(tx, f"swap:{swap_id}:reserve", asset, Leg(FREE, RESERVED, units), swap_id)
    tx.execute(update(swap).where(swap.c.id == swap_id).values(reserved_units=units))


def unreserve(tx: Tx, row: Row[Any]) -> None:
    """Give back what a swap has reserved; nothing when it has nothing. `row` is any reading of the swap's row."""
    now = moves.lock(tx, swap, row.id)
    if now.reserved_units:
        leg = Leg(RESERVED, FREE, now.reserved_units)
        _move_inventory(tx, f"swap:{row.id}:unreserve", row.buy_asset, leg, row.id)
        tx.execute(update(swap).where(swap.c.id == row.id).values(reserved_units=0))


def execute(tx: Tx, row: Row[Any], *, source: Owner, mac: RowMac, deal: Deal | None = None) -> None:
    """Exchange, once: what is sold goes from `source` into the inventory, what is bought from there to the account.

    Uses up what the swap has reserved and frees the rest of it. `deal`: as it is executed, when that is not what the
    row says; a row's MAC that was right comes to bind that. Writes the deal, `executed_at`, `reserved_units` and (sold
    from the account's `swap`) `held_units` into the row; its state is the caller's. Raises `InventoryShort`,
    `InsufficientFunds`; nothing of it stands then.
    """
    now = moves.lock(tx, swap, row.id)
    if now.executed_at is not None:
        raise LedgerBroken(f"swap {row.id}: executed before")
    done, ref = deal or deal_of(now), ("swap", row.id)
    owner: Owner = (now.account_id, "available")
    _lock(tx, now, source)
    sell = [Leg(source, FREE, done.sell_units)]
    postings.post(tx, f"swap:{row.id}:sell", "swap", now.sell_asset, sell, ref)
    crashpoint("swap.between_legs")
    buy = [
        Leg(RESERVED, FREE, now.reserved_units),
        Leg(FREE, owner, done.buy_units + done.network_fee_units),
        Leg(FREE, accounts.house("service_fees"), done.service_fee_units),
        Leg(FREE, accounts.house("rounding"), done.rounding_units),
    ]
    _post_inventory(tx, f"swap:{row.id}:buy", now.buy_asset, buy, row.id)
    values: dict[str, Any] = {**done.columns(), "executed_at": tx.now, "reserved_units": 0}
    if mac.same(now.mac, mac.swap(now)):
        values["mac"] = mac.swap({**now._mapping, **done.columns()})
    if source[1] == "swap":
        values["held_units"] = now.held_units - done.sell_units
    tx.execute(update(swap).where(swap.c.id == row.id).values(values))
    _tell_order(tx, now, done)
    debts.collect(tx, now.account_id, now.buy_asset, f"swap:{row.id}")


def payout_order(row: Row[Any]) -> Order:
    """The withdrawal that carries what a swap has bought, at the network fee that its price promised."""
    return Order(
        row.account_id,
        row.buy_asset,
        row.buy_units,
        row.payout_address,
        f"swap:{row.public_id}",
        metadata=row.metadata,
        fee_units=row.network_fee_units,
    )


def _lock(tx: Tx, row: Row[Any], source: Owner) -> None:
    """Every balance that the exchange, and the hold of its payout, will touch, in one call: opposite swaps at the same
    moment wait for each other in one order."""
    bought = {FREE, RESERVED, (row.account_id, "available")}
    if row.payout_address is not None:
        bought.add((row.account_id, "held"))
    ids = [*accounts.find(tx, {source, FREE}, row.sell_asset).values()]
    accounts.lock_balances(tx, [*ids, *accounts.find(tx, bought, row.buy_asset).values()])


def _move_inventory(tx: Tx, key: str, asset: str, leg: Leg, swap_id: int) -> None:
    _post_inventory(tx, key, asset, [leg], swap_id, "reservation")


def _post_inventory(tx: Tx, key: str, asset: str, legs: list[Leg], swap_id: int, kind: str = "swap") -> None:
    try:
        posted = postings.post(tx, key, kind, asset, legs, ("swap", swap_id))
    except InsufficientFunds:
        raise InventoryShort(f"the house has not enough {asset} for this now") from None
    if posted is None:
        raise LedgerBroken(f"{key}: posted before")


def _tell_order(tx: Tx, row: Row[Any], deal: Deal) -> None:
    """The ownership history of an order goes on with what its money became."""
    if tx.value(select(account.c.kind).where(account.c.id == row.account_id)) != "order":
        return
    subject, cause = ("order", row.account_id), ("swap", row.id)
    ownership.record(tx, subject, "sold", FREE, row.sell_asset, deal.sell_units, cause)
    owner = (row.account_id, "available")
    ownership.record(tx, subject, "bought", owner, row.buy_asset, deal.buy_units + deal.network_fee_units, cause)
