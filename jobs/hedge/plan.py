"""The task `hedge`: an order on the exchange when the house's position in an asset is out of its bounds.

The position is the inventory, free and reserved, and what orders have traded and nobody has settled yet: coins of a
trade lie on the exchange until an operator moves them and says so (`coffer hedges settle`). Off without an exchange.
"""

from __future__ import annotations

import uuid
from decimal import ROUND_FLOOR, Decimal
from typing import Any

from sqlalchemy import Row, insert, select

from exchanges.protocol import Hedging
from jobs.hedge.saga import State
from jobs.saga import SECOND
from jobs.services import Services
from jobs.tasks import Ran
from ledger import accounts, balances, history, pauses, policy
from ledger.db import Tx
from ledger.ids import new_id
from ledger.policy import AssetPolicy
from ledger.schema import asset, hedge

#: After an order that came to nothing, the next one waits.
REST_US = 600 * SECOND


def task_step(row: Row[Any], services: Services) -> Ran:
    """Task step for `hedge`."""
    hedging = services.hedging
    if hedging is None:
        return Ran()
    desk = services.require_desk()

    def plan(tx: Tx, _: Row[Any]) -> None:
        for each in tx.all(select(asset).where(asset.c.enabled == 1, asset.c.code.in_(sorted(hedging.order_max)))):
            pair = f"{desk.symbol(each.code)}/{hedging.quote}"
            _plan(tx, hedging, each, pair)

    return Ran(effect=plan)


def position(tx: Tx, code: str, decimals: int) -> int:
    """Units of the asset that the house has for swaps, wherever they lie; bought ones count and sold ones do not."""
    held = sum(balances.get(tx, accounts.house(kind), code) for kind in ("inventory", "reserved"))
    h = hedge.c
    open_ = tx.all(
        select(h.side, h.filled).where(h.asset == code, h.state == str(State.FILLED), h.settled_at.is_(None))
    )
    return held + sum(_units(row.filled, decimals) * (1 if row.side == "buy" else -1) for row in open_)


def wanted(units: int, rules: AssetPolicy) -> int:
    """What must be bought (above zero) or sold (below) to be in the middle of the bounds again; 0 while inside."""
    low, high = rules.inventory_low_units, rules.inventory_high_units
    if low <= units and (high == 0 or units <= high):
        return 0
    target = (low + high) // 2 if high else low
    return target - units


def _plan(tx: Tx, hedging: Hedging, coin: Row[Any], pair: str) -> None:
    if _busy(tx, coin.code) or pauses.reason(tx, coin.code, "swaps") is not None:
        return
    missing = wanted(position(tx, coin.code, coin.decimals), policy.of(tx, coin.code))
    most = int(hedging.order_max[coin.code].scaleb(coin.decimals).to_integral_value(ROUND_FLOOR))
    units = min(abs(missing), most)
    if units:
        _insert(tx, hedging.venue.name, coin.code, pair, "buy" if missing > 0 else "sell", units)


def _busy(tx: Tx, code: str) -> bool:
    """Whether an order of this asset is under way or unclear, or came to nothing a moment ago."""
    h = hedge.c
    live = h.state.in_([str(State.PLANNED), str(State.PLACED), str(State.REVIEW)])
    fresh = (h.state == str(State.FAILED)) & (h.updated_at > tx.now - REST_US)
    return tx.value(select(h.id).where(h.asset == code, live | fresh).limit(1)) is not None


def _insert(tx: Tx, venue: str, code: str, pair: str, side: str, units: int) -> None:
    values: dict[str, Any] = {"public_id": new_id("hg"), "queue": "rates", "venue": venue, "symbol": pair}
    # A UUID is what every venue takes as a client id; it is random, so that no other program of ours can meet it.
    values |= {"side": side, "asset": code, "units": units, "client_order_id": str(uuid.uuid4())}
    clock = {"due_at": tx.now, "created_at": tx.now, "updated_at": tx.now}
    row_id = tx.insert(insert(hedge).values(values | clock | {"state": str(State.PLANNED)}))
    history.note(tx, "hedge", row_id, None, str(State.PLANNED))
    tx.wake("hedge", row_id)


def _units(filled: str | None, decimals: int) -> int:
    return int(Decimal(filled or "0").scaleb(decimals).to_integral_value(ROUND_FLOOR))
