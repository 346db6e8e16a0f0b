"""What operators may decide by hand: each act one transaction, audited, and only where it cannot lose or repeat money.

A row that a worker holds at the moment is left alone: `Busy` says to try again. Nothing here calls a node. Payments
and accounts have files of their own beside this one.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, Table, select, update

from jobs import debts, purposes, tasks, views
from jobs.escrow import frozen_parts
from jobs.ownership import deposits as ownership_deposits
from jobs.payment import books as payment_books
from jobs.row_mac import RowMac
from jobs.withdrawal import check_unsent, give_back, move
from ledger import accounts, audit, halts, history, pauses, postings
from ledger.accounts import HOUSE_ACCOUNT, Owner, house
from ledger.db import Tx
from ledger.errors import InvalidInput, NotFound, StateConflict
from ledger.postings import Leg
from ledger.schema import account, address, approval, deposit, ledger_account, payment, payment_item, withdrawal


class Busy(StateConflict):
    """A worker holds the row at this moment; the same act may be allowed in a second."""


def by_id(tx: Tx, table: Table, public_id: str) -> Row[Any]:
    """A row by its public id, locked. Raises `NotFound`."""
    row = tx.first(select(table).where(table.c.public_id == public_id).with_for_update())
    if row is None:
        raise NotFound(f"no {table.name} {public_id}")
    return row


def write(tx: Tx, table: Table, row: Row[Any], values: dict[str, Any]) -> None:
    """Compare and set. Raises `Busy` while a worker holds the row; one that outslept its lease is fenced off."""
    t = table.c
    free = (t.id == row.id) & (t.version == row.version) & (t.lease_until <= tx.now)
    changed = values | {"version": t.version + 1, "wakes": t.wakes + 1, "updated_at": tx.now, "lease_token": None}
    if tx.execute(update(table).where(free).values(changed)).rowcount != 1:
        raise Busy("a worker is busy with it; try again", status=row.state)


# Deposits in suspense or dust


def credit_deposit(tx: Tx, public_id: str, account_id: str, actor: str) -> None:
    """Give a held or ignored deposit to a customer. One that came to a customer's address can only go to that one."""
    row, source = _parked(tx, public_id)
    owner = by_id(tx, account, account_id)
    if owner.id == HOUSE_ACCOUNT:
        raise InvalidInput("/account", "is the house; use --keep")
    if row.account_id not in (None, owner.id):
        rightful = tx.value(select(account.c.public_id).where(account.c.id == row.account_id))
        raise InvalidInput("/account", f"the deposit came to an address of {rightful}: only that account can get it")
    debts.owe_again(tx, row, owner.id, row.credits)
    values = {"account_id": owner.id, "project_id": owner.project_id, "state": "credited"}
    _rebook(tx, row, source, (owner.id, "available"), values | {"status_reason": "resolved", "due_at": tx.now}, actor)
    home = tx.first(select(address).where(address.c.id == row.address_id))
    if home is not None:  # what an escrow or a swap had passed on from it before the chain took it back is made good
        purposes.of(home).credited(tx, row, home, (owner.id, "available"))
    # Given back before it repays what another deposit has left.
    frozen_parts.returned(tx, row)
    debts.collect(tx, owner.id, row.asset, f"deposit:{row.id}:resolve:{row.credits}")
    data = views.deposit(tx, row.id)
    history.emit(tx, owner.project_id, "deposit.credited", data["id"], data)
    order = owner.kind == "order"
    ownership_deposits.booked(tx, row, (owner.id, "available"), "resolved", "by_operator", order=order)
    audit.record(tx, actor, "deposit.credit", public_id, {"account": account_id, "units": str(row.units)})
    tx.wake("deposit", row.id)


def keep_deposit(tx: Tx, public_id: str, actor: str) -> None:
    """Book a held or ignored deposit as the house's own."""
    row, source = _parked(tx, public_id)
    _rebook(tx, row, source, house("capital"), {"status_reason": "kept_by_house"}, actor)
    ownership_deposits.booked(tx, row, house("capital"), "kept", "by_operator")
    audit.record(tx, actor, "deposit.keep", public_id, {"units": str(row.units)})


def _parked(tx: Tx, public_id: str) -> tuple[Row[Any], Owner]:
    """The deposit and the house account its money rests in."""
    row = by_id(tx, deposit, public_id)
    if row.state not in ("held", "ignored"):
        raise StateConflict(f"it is {row.state}; only held and ignored deposits are decided by hand", status=row.state)
    if row.credited != 1 or row.seen != "confirmed":
        raise StateConflict("its block is gone; it is looked at again by itself", status=row.state)
    pauses.check(tx, row.asset, "deposits")
    target = tx.one(select(ledger_account).where(ledger_account.c.id == row.credited_to))
    if target.kind not in ("suspense", "dust"):
        raise StateConflict("it has been decided before", status=row.state)
    return row, (target.account_id, target.kind)


def _rebook(tx: Tx, row: Row[Any], source: Owner, to: Owner, values: dict[str, Any], actor: str) -> None:
    key = f"deposit:{row.id}:resolve:{row.credits}"  # one decision for each time that it was booked
    postings.post(tx, key, "deposit_resolution", row.asset, [Leg(source, to, row.units)], ("deposit", row.id))
    target = accounts.find(tx, [to], row.asset)[to]  # a reorganisation takes it from there
    write(tx, deposit, row, values | {"credited_to": target})
    history.note(tx, "deposit", row.id, row.state, values.get("state", row.state), values["status_reason"], actor)


# Withdrawals that wait, and those in review


def cancel_withdrawal(tx: Tx, public_id: str, actor: str) -> None:
    """Give the money of a withdrawal back that waits in no payment, as its customer could."""
    row = by_id(tx, withdrawal, public_id)
    check_unsent(tx, row)
    give_back(tx, row, "cancelled", "cancelled_by_operator", actor)
    audit.record(tx, actor, "withdrawal.cancel", public_id, {"units": str(row.units), "fee_units": str(row.fee_units)})


def refund_withdrawal(tx: Tx, public_id: str, actor: str) -> None:
    """End a withdrawal in review and give the money back. Only when none of its payments can ever confirm."""
    row = in_review(tx, public_id)
    check_unpaid(tx, row)
    halts.check_sure(tx, row.chain)
    give_back(tx, row, "failed", "refunded_by_operator", actor)
    payment_books.close_refusals(tx)
    audit.record(tx, actor, "withdrawal.refund", public_id, {"units": str(row.units), "fee_units": str(row.fee_units)})


def requeue_withdrawal(tx: Tx, public_id: str, mac: RowMac, actor: str) -> None:
    """Let a withdrawal in review be paid by a new payment. Refused when the signer would refuse it again."""
    row = in_review(tx, public_id)
    check_unpaid(tx, row)
    if not mac.same(row.mac, mac.withdrawal(row)):
        raise StateConflict("the row is not what the API committed: it can only be refunded", status=row.state)
    given = tx.all(select(approval.c.holder, approval.c.mac).where(approval.c.withdrawal_id == row.id))
    people = {a.holder for a in given if mac.same(a.mac, mac.approval(row.mac, a.holder))}
    if len(people) < row.approvals_needed:
        detail = f"{row.approvals_needed} people must have approved it, {len(people)} did: it can only be refunded"
        raise StateConflict(detail, status=row.state)
    move(tx, row, "queued", reason="requeued", actor=actor, payment_id=None, txid=None, not_before=tx.now)
    payment_books.close_refusals(tx)
    audit.record(tx, actor, "withdrawal.requeue", public_id, {})
    tasks.wake(tx, f"batch:{row.chain}")


def in_review(tx: Tx, public_id: str) -> Row[Any]:
    row = by_id(tx, withdrawal, public_id)
    if row.state != "review":
        raise StateConflict(f"it is {row.state}; only withdrawals in review are decided by hand", status=row.state)
    return row


def check_unpaid(tx: Tx, row: Row[Any]) -> None:
    """That every payment it ever was in has been let go. Raises `StateConflict` naming the one that has not."""
    i = payment_item.c
    query = select(payment.c.public_id, payment.c.state, i.live).join(payment, payment.c.id == i.payment_id)
    for member in tx.all(query.where(i.withdrawal_id == row.id)):
        if member.state != "dead" or member.live is not None:
            detail = f"its payment {member.public_id} is {member.state}: decide about that one (coffer payments)"
            raise StateConflict(detail, status=row.state)


# Tasks


def run_task(tx: Tx, name: str, actor: str) -> None:
    """Make a periodic task due now."""
    if not tasks.run_now(tx, name):
        raise NotFound(f"no task {name}; see `coffer tasks list`")
    audit.record(tx, actor, "task.run", name, {})
