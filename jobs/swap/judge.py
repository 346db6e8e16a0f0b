"""What becomes of the money that came in for a swap: exchanged at the quoted rate, at a new one, or given back.

The quoted rate is for a deposit first seen in time and near enough to the quoted amount. Everything else is priced anew
when it is credited, and exchanged only where the customer does not get less for it than he agreed to.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from sqlalchemy import Row, update

from jobs import debts, moves
from jobs.rates import usable as rates
from jobs.saga import SECOND, Outcome
from jobs.services import Services
from jobs.swap import books as swap_books
from jobs.swap import money as swap_money
from jobs.swap import payout as swap_payout
from jobs.swap import requote as swap_requote
from jobs.swap.money import CameIn
from jobs.swap.outcomes import Executed, Expired, StillWaiting, Unwanted, announce
from jobs.swap.pricing import Deal
from jobs.swap.requote import Refusal
from jobs.swap.state import FUNDING_REVERSED
from ledger import accounts, pauses, postings
from ledger.db import Tx
from ledger.errors import AccountFrozen, AssetPaused, RatesNotReady
from ledger.postings import Leg
from ledger.schema import swap

#: A deposit that was seen in time keeps its rate until it is credited, but not for longer than this after the
#: deadline: one that is left unconfirmed on purpose must not be a bet on the price that the house cannot win. And only
#: where it makes what came in as much as was quoted: see `_may_suffice`.
HELD_US = 4 * 3_600 * SECOND
#: The deposit wakes its swap when it is credited; this is only how long a lost wake-up may cost.
LOOK_US = 60 * SECOND
#: A pause, a frozen account, missing rates: looked at again this soon.
AGAIN_US = 5 * SECOND
#: Without usable rates for so long, what came in goes back.
RATES_WAIT_US = 3_600 * SECOND


def awaiting_deposit(row: Row[Any], services: Services) -> Outcome:
    return services.database.read(partial(_judge, services, row))


def expired(row: Row[Any], services: Services) -> Outcome:
    """Nothing is reserved any more and no rate is held: what came in late is priced anew."""
    if row.held_units == 0:
        return StillWaiting(reason=row.status_reason, due_us=None)
    return services.database.read(partial(_judge_late, services, row))


def _judge_late(services: Services, row: Row[Any], tx: Tx) -> Outcome:
    stopped = _stopped(tx, row)
    if stopped is None:
        return _anew(services, tx, row)
    return stopped if stopped.reason != AccountFrozen.code else _unwanted(AccountFrozen.code)


def _judge(services: Services, row: Row[Any], tx: Tx) -> Outcome:
    came = swap_money.came_in(tx, row)
    over, kept = tx.now >= row.deposit_deadline, tx.now < row.deposit_deadline + HELD_US
    more = not over or (kept and _may_suffice(tx, row, came))
    if row.held_units == 0:
        return _nothing_yet(tx, row, came) if more else _over(row, came)
    deal = swap_requote.as_quoted(tx, row, came.on_time_units) if kept else None
    if deal is None and more and not swap_requote.is_too_much(tx, row, came.on_time_units):
        return StillWaiting(reason="underpaid", due_us=LOOK_US if over else min(LOOK_US, row.deposit_deadline - tx.now))
    stopped = _stopped(tx, row)
    if stopped is not None:
        return stopped if kept or stopped.reason != AccountFrozen.code else _unwanted(AccountFrozen.code)
    return _anew(services, tx, row) if deal is None else _execute(services, deal)


def _may_suffice(tx: Tx, row: Row[Any], came: CameIn) -> bool:
    """Whether what is on its way makes it as much as was quoted, or more. Less is judged without it once the time is
    over: for the price of dust the inventory would otherwise stay promised for hours."""
    units = came.on_time_units + came.coming_units
    enough = swap_requote.as_quoted(tx, row, units) is not None or swap_requote.is_too_much(tx, row, units)
    return came.coming_units > 0 and enough


def _over(row: Row[Any], came: CameIn) -> Outcome:
    reason = "unconfirmed" if came.coming_units else _undone(row)
    return Expired(reason=reason, due_us=None, effect=_free)


def _undone(row: Row[Any]) -> str | None:
    return FUNDING_REVERSED if row.status_reason == FUNDING_REVERSED else None


def _nothing_yet(tx: Tx, row: Row[Any], came: CameIn) -> Outcome:
    wait = LOOK_US if tx.now >= row.deposit_deadline else min(LOOK_US, row.deposit_deadline - tx.now)
    return StillWaiting(reason="deposit_seen" if came.coming_units else _undone(row), due_us=wait)


def _stopped(tx: Tx, row: Row[Any]) -> Outcome | None:
    """Why nothing may be exchanged now, whatever its price."""
    try:
        for code in (row.sell_asset, row.buy_asset):
            pauses.check(tx, code, "swaps")
        accounts.check_not_frozen(tx, row.account_id)
    except (AssetPaused, AccountFrozen) as error:
        reason = "paused" if isinstance(error, AssetPaused) else error.code
        return StillWaiting(reason=reason, detail=error.detail[:512], due_us=AGAIN_US)
    return None


def _anew(services: Services, tx: Tx, row: Row[Any]) -> Outcome:
    """All that came in, at the rates of now."""
    try:
        found = swap_requote.anew(tx, row, services)
    except RatesNotReady as error:
        since = row.requote_since or tx.now
        if tx.now - since >= RATES_WAIT_US:
            return _unwanted(error.code, error.detail)
        wait = {"requote_since": since}
        return StillWaiting(
            reason=error.code, detail=error.detail[:512], due_us=AGAIN_US, values=wait, effect=_want_rates
        )
    if isinstance(found, Refusal):
        return _unwanted(found.reason, found.detail)
    return _execute(services, found.deal, found.columns())


def _want_rates(tx: Tx, row: Row[Any]) -> None:
    rates.want(tx)


def _unwanted(reason: str, detail: str = "") -> Outcome:
    return Unwanted(reason=reason, detail=detail[:512] or None, effect=_free)


def _free(tx: Tx, row: Row[Any]) -> None:
    swap_books.unreserve(tx, row)
    announce(tx, row)


def _execute(services: Services, deal: Deal, columns: dict[str, Any] | None = None) -> Outcome:
    return Executed(values=columns or {}, effect=partial(_exchange, services, deal))


def _exchange(services: Services, deal: Deal, tx: Tx, row: Row[Any]) -> None:
    """Both legs, what is left over, and the hold of the payout: all of it or nothing."""
    swap_money.record_exchange(tx, row, deal.sell_units)
    swap_books.execute(tx, row, source=(row.account_id, "swap"), mac=services.require_mac(), deal=deal)
    _give_rest(tx, row)
    swap_payout.place(services, tx, row)
    announce(tx, row)


def _give_rest(tx: Tx, row: Row[Any]) -> None:
    """What was sent beyond what was exchanged is the account's to spend."""
    left = moves.lock(tx, swap, row.id).held_units
    if left:
        leg = Leg((row.account_id, "swap"), (row.account_id, "available"), left)
        postings.post(tx, f"swap:{row.id}:rest", "swap_refund", row.sell_asset, [leg], ("swap", row.id))
        tx.execute(update(swap).where(swap.c.id == row.id).values(held_units=0))
        debts.collect(tx, row.account_id, row.sell_asset, f"swap:{row.id}:rest")
