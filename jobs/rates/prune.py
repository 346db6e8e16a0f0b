"""Old rates that priced nothing go. Those that did stay for as long as their quote or swap, that is for ever."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, select

from jobs.saga import SECOND
from ledger.db import Tx
from ledger.schema import quote, rate, swap

KEPT_US = 90 * 86_400 * SECOND
#: Rows looked at in one go.
LOOK_MAX = 500

#: Every column that names a rate.
_USES: tuple[Any, ...] = (
    quote.c.sell_rate_id,
    quote.c.buy_rate_id,
    swap.c.requote_sell_rate_id,
    swap.c.requote_buy_rate_id,
)


def prune(tx: Tx, after: int) -> int:
    """Look at the next old rates behind the id `after` and delete those that nothing names; the id to go on from.
    An old rate is never named for the first time: only fresh ones price anything."""
    r = rate.c
    old = select(r.id).where(r.id > after, r.at < tx.now - KEPT_US).order_by(r.id).limit(LOOK_MAX)
    ids = [row.id for row in tx.all(old)]
    if not ids:
        return after
    used = {value for column in _USES for (value,) in tx.all(select(column).where(column.in_(ids)))}
    tx.execute(delete(rate).where(r.id.in_([row_id for row_id in ids if row_id not in used])))
    return int(ids[-1])
