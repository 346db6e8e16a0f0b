"""A quote accepted for a deposit: "send so much here, receive that there"."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import func, select, update

from jobs import addresses, references
from jobs.caller import Caller
from jobs.saga import SECOND
from jobs.services import Services
from jobs.swap import balance as swap_balance
from jobs.swap import books as swap_books
from jobs.swap import quotes
from jobs.swap import terms as swap_terms
from jobs.swap import view as swap_view
from jobs.swap.books import Wish
from jobs.swap.state import State
from jobs.views import View
from ledger import accounts, policy
from ledger.db import Tx
from ledger.errors import LimitExceeded
from ledger.schema import account, swap

#: A deposit first seen within this time gets the quoted rate (SPEC decision 16).
DEPOSIT_US = 20 * 60 * SECOND


def make(tx: Tx, caller: Caller, quote_id: str, wish: Wish, services: Services) -> View:
    """Reserve what a quote promises, and give out an address for what it takes; the swap as the API shows it.

    Addresses are checked now as the withdrawals to them will be, so that nobody pays in for a swap that cannot pay out.
    Raises what `quotes.accept` and `addresses.issue` raise, and `AccountFrozen`, `AssetPaused`, `InvalidInput`,
    `InventoryShort`, `LimitExceeded`, `ReferenceExists`.
    """
    mac, until = services.require_mac(), tx.now + DEPOSIT_US
    with references.told_first(tx, swap, caller.project_id, wish.reference):
        quote = quotes.accept(tx, caller, quote_id)
        swap_balance.check_payout(quote, wish)
        swap_terms.check_open(tx, quote.sell_asset, quote.buy_asset, payout=wish.payout_address is not None)
        accounts.check_not_frozen(tx, wish.account_id)
        wish = _with_payees(tx, wish, quote.sell_asset, quote.buy_asset, services)
        _check_waiting(tx, wish.account_id, quote.sell_asset)
        state, times = str(State.AWAITING_DEPOSIT), {"deposit_deadline": until, "due_at": until}
        swap_id = swap_books.insert(tx, caller, quote, wish, "deposit", state, mac, **times)
    swap_books.reserve(tx, quote.buy_asset, swap_books.deal_of(quote).out_units, swap_id)
    asked = addresses.Wish(
        wish.account_id,
        swap_balance.coin(tx, quote.sell_asset),
        expected_units=quote.sell_units,
        expires_at=until,
        purpose=("swap", swap_id),
    )
    home = addresses.issue(tx, caller, asked, services)
    tx.execute(update(swap).where(swap.c.id == swap_id).values(address_id=home.id))
    return swap_view.tell(tx, swap_id)


def _with_payees(tx: Tx, wish: Wish, sold: str, bought: str, services: Services) -> Wish:
    """The same wish with canonical addresses. Raises `InvalidAddress`, naming the field."""
    if wish.payout_address is not None:
        found = swap_balance.payee(tx, wish.payout_address, bought, wish, services, "/payout_address")
        wish = replace(wish, payout_address=found)
    if wish.refund_address is not None:
        found = swap_balance.payee(tx, wish.refund_address, sold, wish, services, "/refund_address")
        wish = replace(wish, refund_address=found)
    return wish


def _check_waiting(tx: Tx, account_id: int, sold: str) -> None:
    """Nobody binds the inventory by promises to pay. Raises `LimitExceeded`."""
    tx.one(select(account.c.id).where(account.c.id == account_id).with_for_update())  # two at once count each other
    s = swap.c
    query = select(func.count()).select_from(swap).where(s.account_id == account_id, s.state == State.AWAITING_DEPOSIT)
    most = policy.of(tx, sold).swap_open_max
    if int(tx.value(query) or 0) >= most:
        raise LimitExceeded(f"{most} swaps of this account wait for their deposit already")
