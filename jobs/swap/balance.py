"""Balance to balance: a quote accepted, both legs posted and the payout, if any, requested in one transaction."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import Row, update

from jobs import moves, references, withdrawal
from jobs.assets import asset_of
from jobs.caller import Caller
from jobs.saga import SECOND
from jobs.services import Services
from jobs.swap import books as swap_books
from jobs.swap import quotes
from jobs.swap import terms as swap_terms
from jobs.swap import view as swap_view
from jobs.swap.books import Wish
from jobs.swap.state import State
from jobs.views import View
from ledger import accounts
from ledger.db import Tx
from ledger.errors import InvalidInput
from ledger.money import Asset
from ledger.schema import swap

#: The withdrawal wakes its swap; this is only how long a lost wake-up may cost.
LOOK_US = 60 * SECOND


def make(tx: Tx, caller: Caller, quote_id: str, wish: Wish, services: Services) -> View:
    """Swap what the account has at the price of a quote; the swap as the API shows it.

    With a payout address, for which the quote must have been made, what is bought is held for a withdrawal of its own
    under the ordinary rules. Raises what `quotes.accept` and `withdrawal.request` raise, and `AccountFrozen`,
    `AssetPaused`, `InsufficientFunds`, `InventoryShort`, `ReferenceExists`, `InvalidInput`.
    """
    mac, payout = services.require_mac(), wish.payout_address is not None
    with references.told_first(tx, swap, caller.project_id, wish.reference):
        quote = quotes.accept(tx, caller, quote_id)
        check_payout(quote, wish)
        swap_terms.check_open(tx, quote.sell_asset, quote.buy_asset, payout=payout)
        accounts.check_not_frozen(tx, wish.account_id)
        if wish.payout_address is not None:
            found = payee(tx, wish.payout_address, quote.buy_asset, wish, services, "/payout_address")
            wish = replace(wish, payout_address=found)
        state, due_at = (State.PAYING_OUT, tx.now + LOOK_US) if payout else (State.COMPLETED, None)
        swap_id = swap_books.insert(tx, caller, quote, wish, "balance", str(state), mac, due_at=due_at)
    row = moves.lock(tx, swap, swap_id)
    swap_books.execute(tx, row, source=(wish.account_id, "available"), mac=mac)
    if payout:
        made = _pay_out(tx, caller, row, services)
        tx.execute(update(swap).where(swap.c.id == swap_id).values(withdrawal_id=made))
    return swap_view.tell(tx, swap_id)


def _pay_out(tx: Tx, caller: Caller, row: Row[Any], services: Services) -> int:
    """The withdrawal that carries what was bought. What it would refuse, the swap is refused for."""
    try:
        return withdrawal.request(tx, caller, swap_books.payout_order(row), services).id
    except InvalidInput as error:
        raise type(error)("/quote", error.detail, error.code) from error


def check_payout(quote: Row[Any], wish: Wish) -> None:
    """A quote whose price has the network fee in it is paid out, and no other. Raises `InvalidInput`."""
    if quote.payout and wish.payout_address is None:
        raise InvalidInput("/payout_address", "is needed: the quote is for a payout", "field_required")
    if not quote.payout and wish.payout_address is not None:
        raise InvalidInput("/payout_address", "the quote is not for a payout: ask for one with payout true")


def payee(tx: Tx, text: str, code: str, wish: Wish, services: Services, pointer: str) -> str:
    """The canonical form of an address in a wish. Raises `InvalidAddress` at `pointer`."""
    return swap_terms.payee(tx, text, coin(tx, code), wish.account_id, services, pointer)


def coin(tx: Tx, code: str) -> Asset:
    """An asset that was enabled when its quote was made. Raises `InvalidInput` when it is no longer."""
    found = asset_of(tx, code)
    if found is None:
        raise InvalidInput("/quote", f"{code} is no longer an asset of this installation", "asset_unknown")
    return found
