"""What operators may decide of hedges: none of it sends an order. Each act is one transaction, audited."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from sqlalchemy import Row, select, update

from jobs import alarms, moves
from jobs.hedge.saga import HEDGE, State
from jobs.views import maybe_when, when
from ledger import audit
from ledger.db import Tx
from ledger.errors import InvalidInput, NotFound, StateConflict
from ledger.money import format_units
from ledger.schema import asset, hedge

LIST_MAX = 100


def listing(tx: Tx, *, everything: bool) -> list[dict[str, Any]]:
    """The newest first: what is under way, unclear or not settled; all with `everything`."""
    h = hedge.c
    open_ = (h.state != str(State.FAILED)) & ((h.state != str(State.FILLED)) | h.settled_at.is_(None))
    query = select(hedge, asset.c.decimals).join(asset, asset.c.code == h.asset).order_by(h.id.desc()).limit(LIST_MAX)
    return [_view(row) for row in tx.all(query if everything else query.where(open_))]


def look_again(tx: Tx, public_id: str, actor: str) -> None:
    """Look an unclear order up once more. Raises `NotFound`, `StateConflict`."""
    row = _locked(tx, public_id, State.REVIEW)
    if row.placed_at is None:  # its worker died again and again before anything was sent
        moves.move(tx, HEDGE, row, State.FAILED, reason="never_sent", actor=actor)
    else:
        moves.move(tx, HEDGE, row, State.PLACED, reason="look_again", actor=actor)
    alarms.clear(tx, f"hedge:{row.id}")  # still unclear, it is told of again
    audit.record(tx, actor, "hedge.look", public_id, {})


def close(tx: Tx, public_id: str, filled: Decimal, actor: str) -> None:
    """Say what became of an unclear order, as the exchange's own pages show it: how much was traded, 0 for nothing and
    never more than was ordered. Raises `NotFound`, `StateConflict`, `InvalidInput`."""
    row = _locked(tx, public_id, State.REVIEW)
    ordered = format_units(row.units, tx.value(select(asset.c.decimals).where(asset.c.code == row.asset)))
    # The next order would trade back what is too much.
    if not filled.is_finite() or not 0 <= filled <= Decimal(ordered):
        raise InvalidInput("/filled", f"must be a plain decimal amount from 0 to the {ordered} that were ordered")
    to = State.FILLED if filled else State.FAILED
    moves.move(tx, HEDGE, row, to, reason="by_operator", actor=actor, filled=format(filled, "f")[:64])
    alarms.clear(tx, f"hedge:{row.id}")
    audit.record(tx, actor, "hedge.close", public_id, {"filled": format(filled, "f")})


def settle(tx: Tx, public_id: str, actor: str) -> None:
    """Say that the coins of a filled order were moved: it counts no more in the position. Raises as `close`."""
    row = _locked(tx, public_id, State.FILLED)
    if row.settled_at is not None:
        raise StateConflict(f"{public_id} is settled already", status=row.state)
    tx.execute(update(hedge).where(hedge.c.id == row.id).values(settled_at=tx.now, updated_at=tx.now))
    audit.record(tx, actor, "hedge.settle", public_id, {"filled": row.filled})


def _locked(tx: Tx, public_id: str, state: State) -> Row[Any]:
    row = tx.first(select(hedge).where(hedge.c.public_id == public_id).with_for_update())
    if row is None:
        raise NotFound(f"no hedge {public_id}")
    if row.state != str(state):
        raise StateConflict(f"{public_id} is {row.state}; this is for what is {state}", status=row.state)
    return row


def _view(row: Row[Any]) -> dict[str, Any]:
    return {
        "id": row.public_id,
        "venue": row.venue,
        "order": f"{row.side} {format_units(row.units, row.decimals)} {row.symbol}",
        "state": row.state,
        "reason": row.status_reason,
        "filled": row.filled,
        "average_price": row.average_price,
        "client_order_id": row.client_order_id,
        "venue_order_id": row.venue_order_id,
        "placed_at": maybe_when(row.placed_at),
        "settled_at": maybe_when(row.settled_at),
        "created_at": when(row.created_at),
    }
