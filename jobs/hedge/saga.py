"""Hedge: one order of the house on an exchange, placed once.

Its client order id is in the row from the beginning. `placed_at` is committed before the exchange hears of it, by
compare and set, and the database lets it be written once: whoever finds it written never sends, but looks the order up
by its client id, until it is found or a person decides.
"""

from __future__ import annotations

from decimal import Decimal, localcontext
from enum import StrEnum
from functools import partial
from typing import Any

from sqlalchemy import Row, update

from exchanges.protocol import FoundOrder, Hedging, Order, OrderRefused, OutcomeUnknown
from jobs import alarms
from jobs.rates import usable as rates
from jobs.saga import SECOND, Outcome, Saga, Step
from jobs.services import Services
from ledger import pauses
from ledger.db import Tx
from ledger.errors import CofferError, RatesNotReady
from ledger.schema import asset, hedge

#: How far from the rate an order may be filled, in its disfavour.
LIMIT_PPM = 10_000
#: How long an order that the exchange does not show, or still shows open, is looked up before a person must look.
PATIENCE_US = 600 * SECOND
LOOK_US = 5 * SECOND
RATES_US = 5 * SECOND
PAUSED_US = 60 * SECOND


class State(StrEnum):
    PLANNED = "planned"  #: chosen; until `placed_at` is written the exchange has not heard of it
    PLACED = "placed"  #: the exchange may have it; it is looked up by its client id and never sent again
    FILLED = "filled"  #: done, and all or part of it was traded
    FAILED = "failed"  #: done, and nothing was traded
    REVIEW = "review"  #: nobody can tell what became of it: a person must look on the exchange


class StillWaiting(Outcome):
    """Nothing to do yet."""


class Asked(Outcome):
    """The exchange was asked, or may have been."""


class Filled(Outcome):
    """Some of it was traded."""


class NotFilled(Outcome):
    """Nothing was, and nothing will be."""


class Unclear(Outcome):
    """Looking it up tells nothing."""


def place(row: Row[Any], services: Services) -> Outcome:
    """PLANNED: commit that it is sent, then send it. Found committed already, it is only looked up."""
    if row.placed_at is not None:
        return Asked(reason="interrupted", detail="its worker ended while it was sent")
    hedging = require(services)
    try:
        order, paused = services.database.read(lambda tx: (_order(tx, row), pauses.reason(tx, row.asset, "swaps")))
    except RatesNotReady as error:
        return StillWaiting(due_us=RATES_US, reason=error.code, effect=lambda tx, _: rates.want(tx))
    if paused is not None:
        return StillWaiting(due_us=PAUSED_US, reason="paused", detail=paused[:512])
    if not services.database.run(partial(_intend, row=row), "hedge.intend"):
        return Asked(reason="interrupted")
    try:
        venue_order_id = hedging.venue.place(order)
    except OrderRefused as error:
        return NotFilled(due_us=None, reason="refused", detail=str(error)[:512], effect=_failed)
    except OutcomeUnknown as error:
        return Asked(due_us=LOOK_US, reason="unknown", detail=str(error)[:512])
    return Asked(values={"venue_order_id": venue_order_id[:128]}, due_us=SECOND)


def look(row: Row[Any], services: Services) -> Outcome:
    """PLACED: what the exchange shows under the client id. It shows nothing: that proves nothing for a while."""
    found = require(services).venue.find(row.symbol, row.client_order_id)
    patient = services.database.now() < row.placed_at + PATIENCE_US
    if found is None:
        if patient:
            return StillWaiting(due_us=LOOK_US, reason="not_shown", detail=row.status_detail)
        return _unclear(row, "not_shown", "the exchange does not show it, and may yet")
    if not found.done:
        if patient:
            return StillWaiting(values=_told(found), due_us=LOOK_US, reason="open")
        return _unclear(row, "open", "it should have been filled or dropped at once, and is still open")
    if found.filled == 0:
        return NotFilled(values=_told(found), due_us=None, reason="not_filled", effect=_failed)
    return Filled(values=_told(found), due_us=None, effect=_filled)


def require(services: Services) -> Hedging:
    """Raises where no exchange is named: an order that was begun waits until there is one again."""
    if services.hedging is None:
        raise CofferError("COFFER_HEDGE_EXCHANGE is not set, and an order is under way")
    return services.hedging


def _order(tx: Tx, row: Row[Any]) -> Order:
    """The order at the present rate and a little. Raises `RatesNotReady`."""
    price = rates.usable(tx, [row.asset])[row.asset].price
    decimals = tx.value(asset.select().with_only_columns(asset.c.decimals).where(asset.c.code == row.asset))
    with localcontext(prec=60):
        amount = Decimal(row.units).scaleb(-decimals)
        limit = price * (1_000_000 + (LIMIT_PPM if row.side == "buy" else -LIMIT_PPM)) / 1_000_000
    return Order(row.client_order_id, row.symbol, row.side, amount, limit)


def _intend(tx: Tx, row: Row[Any]) -> bool:
    """Whether this worker is the one that sends it: of all that try, ever, one is."""
    h = hedge.c
    mine = (h.id == row.id) & (h.state == str(State.PLANNED)) & h.placed_at.is_(None)
    return tx.execute(update(hedge).where(mine).values(placed_at=tx.now)).rowcount == 1


def _told(found: FoundOrder) -> dict[str, Any]:
    numbers = {"filled": found.filled, "average_price": found.average_price, "cost": found.cost}
    texts = {name: None if value is None else format(value.normalize(), "f")[:64] for name, value in numbers.items()}
    return texts | {"venue_order_id": found.venue_order_id[:128]}


def _unclear(row: Row[Any], reason: str, detail: str) -> Unclear:
    def tell(tx: Tx, _: Row[Any]) -> None:
        alarms.raise_(tx, "hedge_unclear", f"hedge:{row.id}", f"{row.public_id}: {detail}")

    return Unclear(due_us=None, reason=reason, detail=detail, effect=tell)


def _filled(tx: Tx, row: Row[Any]) -> None:
    alarms.clear(tx, f"hedge:{row.id}")
    alarms.clear(tx, f"hedge:{row.asset}")


def _failed(tx: Tx, row: Row[Any]) -> None:
    """Told once for an asset, until an order of it is filled again."""
    alarms.clear(tx, f"hedge:{row.id}")
    detail = f"{row.public_id}: an order to {row.side} {row.asset} on {row.venue} came to nothing"
    alarms.raise_(tx, "hedge_failed", f"hedge:{row.asset}", detail)


HEDGE = Saga(
    "hedge",
    hedge,
    start=State.PLANNED,
    final=frozenset({State.FILLED, State.FAILED}),
    steps={
        State.PLANNED: Step(place, {StillWaiting: State.PLANNED, Asked: State.PLACED, NotFilled: State.FAILED}),
        State.PLACED: Step(
            look,
            {
                StillWaiting: State.PLACED,
                Filled: State.FILLED,
                NotFilled: State.FAILED,
                Unclear: State.REVIEW,
            },
        ),
    },
    review=State.REVIEW,
    resting=frozenset({State.REVIEW}),
)
