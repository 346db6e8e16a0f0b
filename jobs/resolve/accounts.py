"""Operators' acts on accounts: freeze, unfreeze, write off what is owed after a reorganisation."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, select

from jobs import debts, tasks
from jobs.payment import books as payment_books
from jobs.resolve.by_hand import by_id, check_unpaid
from jobs.withdrawal import UNSENT
from ledger import accounts, audit, balances, postings
from ledger.accounts import house
from ledger.db import Tx
from ledger.errors import InvalidInput, NotFound, StateConflict
from ledger.ids import new_id
from ledger.postings import Leg
from ledger.schema import account, payment, withdrawal


def freeze_account(tx: Tx, public_id: str, reason: str, actor: str) -> None:
    """Stop an account from spending. Raises `StateConflict` when it is frozen already."""
    row = by_id(tx, account, public_id)
    if not accounts.freeze(tx, row.id, reason[:64]):
        raise StateConflict(f"it is frozen already: {row.frozen_reason}")
    audit.record(tx, actor, "account.freeze", public_id, {"reason": reason[:64]})


def unfreeze_account(tx: Tx, public_id: str, actor: str) -> None:
    """Let an account spend again. One that owes the house stays frozen until it has paid, or is written off."""
    row = by_id(tx, account, public_id)
    if row.frozen_reason is None:
        raise StateConflict("it is not frozen")
    if row.frozen_reason == debts.REORG_FREEZE:
        raise StateConflict("it owes the house after a reorganisation: only repayment or `write-off` ends that")
    accounts.unfreeze(tx, row.id, row.frozen_reason)
    if debts.owed(tx, row.id):
        accounts.freeze(tx, row.id, debts.REORG_FREEZE)
    audit.record(tx, actor, "account.unfreeze", public_id, {"reason": row.frozen_reason})
    _wake_batches(tx)


def write_off(tx: Tx, public_id: str, asset: str, actor: str) -> int:
    """Take what an account owes in this asset as the house's loss; the units. Unfreezes it when nothing is left, and
    thaws what others may not spend because of it. Should a deposit come back that had left the debt, it repays the
    house.

    Refused while money of its own that could repay the debt waits to be paid out: it would be paid to the debtor.
    """
    row = tx.first(select(account.c.id).where(account.c.public_id == public_id))  # its row is locked after its balance
    if row is None:
        raise NotFound(f"no account {public_id}")
    owner, loss = (row.id, "receivable"), house("reorg_loss")
    owed_id = accounts.find(tx, [owner], asset)[owner]
    units = accounts.lock_balances(tx, [owed_id])[owed_id]
    if units == 0:
        raise StateConflict(f"it owes no {asset}")
    _check_nothing_waits(tx, row.id, asset)
    key = f"write_off:{row.id}:{asset}:{tx.now}"
    postings.post(tx, key, debts.WRITE_OFF, asset, [Leg(loss, owner, units)], ("account", row.id))
    debts.thaw_all(tx, row.id, asset)
    if debts.lift(tx, row.id):
        _wake_batches(tx)
    audit.record(tx, actor, "account.write_off", public_id, {"asset": asset, "units": str(units)})
    return units


def waiting(tx: Tx, account_id: int, asset: str) -> list[Row[Any]]:
    """The account's withdrawals of this asset that hold money of which nothing can be out yet, the oldest first, each
    with the id of the `payment` that has it, or None. In `review` that is one whose payments were all let go."""
    w = withdrawal.c
    query = select(w.id, w.public_id, w.state, w.payment_id, payment.c.public_id.label("payment"))
    query = query.outerjoin(payment, payment.c.id == w.payment_id).where(w.account_id == account_id, w.asset == asset)
    found = tx.all(query.where(w.state.in_((*UNSENT, "signed", "review"))).order_by(w.id))
    return [row for row in found if _is_here(tx, row)]


def _is_here(tx: Tx, row: Row[Any]) -> bool:
    if row.state != "review":
        return row.payment_id is None or not payment_books.intent_stands(tx, row.payment_id)
    try:  # it names its last payment still, whose intent may have been booked, and undone
        check_unpaid(tx, row)
    except StateConflict:
        return False
    return True


def way_out(row: Row[Any]) -> str | None:
    """The command that gives back what one of those `waiting` holds; None while a payment has it."""
    if row.state == "review":
        return f"coffer withdrawals resolve {row.public_id} --refund"
    return None if row.payment is not None else f"coffer withdrawals cancel {row.public_id}"


def _check_nothing_waits(tx: Tx, account_id: int, asset: str) -> None:
    found = waiting(tx, account_id, asset)
    first = next(filter(None, map(way_out, found)), None)
    if first is not None:
        raise StateConflict(f"its own money waits to be paid out: first `{first}`")
    if found:
        lets_go = f"its withdrawal {found[0].public_id} waits in {found[0].payment}, which lets it go by itself"
        raise StateConflict(f"{lets_go} while the account is frozen: cancel it then (coffer withdrawals cancel)")


def book_loss(tx: Tx, asset: str, units: int, reason: str, actor: str, key: str | None = None) -> None:
    """Book coins that left the hot wallet by no payment of ours (a key used elsewhere, theft) as the house's loss.

    No customer's balance moves. Nothing happens where the transfer `key` stands: it was booked before. Raises
    `InvalidInput` for more than the books have in the treasury.
    """
    key = key or loss_key()
    if postings.standing(tx, key):
        return
    held = -balances.of_house(tx, asset)["treasury_hot"]
    if units > held:
        if postings.standing(tx, key):  # whose reply was lost has come through meanwhile
            return
        raise InvalidInput("/amount", "is more than the books have in the treasury")
    leg = Leg(house("reorg_loss"), house("treasury_hot"), units)
    if postings.post(tx, key, "treasury_loss", asset, [leg], ("account", accounts.HOUSE_ACCOUNT)) is None:
        return
    audit.record(tx, actor, "treasury.loss", asset, {"units": str(units), "reason": reason})


def loss_key() -> str:
    """The key of a loss that is about to be booked."""
    return f"loss:{new_id('ls')}"


def _wake_batches(tx: Tx) -> None:
    """Withdrawals of a frozen account wait in the queue."""
    tasks.wake_all(tx, "batch")
