"""What an account owes after a reorganisation took back money that it had spent: booked, and repaid first."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, select, update

from jobs import alarms
from jobs.trace import owing, streams
from jobs.trace.streams import Move
from ledger import accounts, balances, holds, postings
from ledger.db import Tx
from ledger.postings import Leg
from ledger.schema import deposit, frozen_part, transfer

#: Why an account with a debt is frozen; lifted by itself once the debt is repaid.
REORG_FREEZE = "reorg_debt"
#: The kind of the transfer with which the house bears a debt.
WRITE_OFF = "write_off"


def collect(tx: Tx, account_id: int, asset: str, key: str) -> int:
    """Repay what the account owes in this asset from what is available; the units repaid.

    `key` makes the repayment unique. The account is unfrozen when nothing is owed in any asset, and what others may not
    spend because of this debt is thawed when it is paid.
    """
    if balances.get(tx, (account_id, "receivable"), asset) == 0:
        return 0
    owners = [(account_id, "available"), (account_id, "receivable")]
    ids = accounts.find(tx, owners, asset)
    units = accounts.lock_balances(tx, ids.values())
    available, due = (units[ids[owner]] for owner in owners)
    paid = min(available, due)
    if paid:
        postings.post(
            tx, f"repay:{key}", "repayment", asset, [Leg(owners[0], owners[1], paid)], ("account", account_id)
        )
    if paid == due:
        thaw_all(tx, account_id, asset)
    lift(tx, account_id)
    return paid


def lift(tx: Tx, account_id: int) -> bool:
    """Let the account spend again if it owes nothing in any asset; whether it was frozen for that.

    The last thing that is done about a debt: it locks the account's row, which comes after balances.
    """
    accounts.lock(tx, account_id)  # whoever adds a debt in another asset has it until that debt can be read
    return not owed(tx, account_id) and accounts.unfreeze(tx, account_id, REORG_FREEZE)


def owed(tx: Tx, account_id: int) -> dict[str, int]:
    """What the account owes the house, by asset; nothing that it does not. For who decides by it: behind
    `accounts.lock`."""
    found = balances.of_account(tx, account_id)
    return {code: kinds["receivable"] for code, kinds in found.items() if kinds.get("receivable")}


def thaw_all(tx: Tx, debtor_id: int, asset: str) -> None:
    """The debt is paid, or written off: what was frozen for it (`jobs.escrow.frozen_parts`) may be spent again."""
    p = frozen_part.c
    query = select(frozen_part).join(deposit, deposit.c.id == p.deposit_id)
    query = query.where(p.debtor_id == debtor_id, deposit.c.asset == asset, p.live == 1)
    for part in tx.all(query.order_by(p.id)):
        thaw(tx, part)
    alarms.clear(tx, debt_subject(debtor_id, asset))


def thaw(tx: Tx, part: Row[Any]) -> None:
    """Give one frozen part back to the account that has it; what that account owes is repaid first."""
    if end_part(tx, part) and part.place == "balance":
        holds.void(tx, part.hold_key, (part.kind, part.row_id))
        collect(tx, part.account_id, part.asset, f"thaw:{part.id}")


def end_part(tx: Tx, part: Row[Any]) -> bool:
    """Mark a frozen part as decided; False when it was."""
    p = frozen_part.c
    alarms.clear(tx, part_subject(part.id))
    return tx.execute(update(frozen_part).where(p.id == part.id, p.live == 1).values(live=None)).rowcount == 1


def reverse(tx: Tx, owner: accounts.Owner, asset: str, units: int, key: str, ref: tuple[str, int]) -> None:
    """Take a vanished deposit's units from whoever has them whole. Posted under the unique `key`."""
    postings.post(tx, key, "deposit_reversal", asset, [Leg(owner, accounts.house("treasury_hot"), units)], ref)


def take_back(
    tx: Tx,
    account_id: int,
    asset: str,
    units: int,
    key: str,
    ref: tuple[str, int],
    *,
    first: tuple[str, int] = ("escrow", 0),
) -> int:
    """Take a vanished deposit's units out of the account; what is no longer there becomes a debt and freezes it.

    `first`: (kind, units) of what is taken from another of its ledger accounts before the available one.
    Returns the units that are owed. Posted under the unique `key`.
    """
    available, aside, treasury = (account_id, "available"), (account_id, first[0]), accounts.house("treasury_hot")
    taken = min(first[1], units)
    row_id = accounts.find(tx, [available], asset)[available]
    there = min(accounts.lock_balances(tx, [row_id])[row_id], units - taken)
    legs = [Leg(aside, treasury, taken), Leg(available, treasury, there)]
    legs.append(Leg((account_id, "receivable"), treasury, units - taken - there))
    posted = postings.post(tx, key, "deposit_reversal", asset, legs, ref)
    if posted is None:
        return 0
    due = units - taken - there
    if due > 0:
        accounts.freeze(tx, account_id, REORG_FREEZE)
    return due


def owe_again(tx: Tx, paid: Row[Any], account_id: int, number: int) -> bool:
    """The deposit `paid` is about to be credited for the `number`th time: what the house had borne of the debt that it
    left in this account is owed again, so that the credit repays it. Whether there was any.

    Left as it is, one receipt would be two credits: the one that was spent and written off, and this one.
    """
    debt = _left_behind(tx, paid, account_id, number)
    if debt is None:
        return False
    owners = [(account_id, "available"), (account_id, "receivable")]
    accounts.lock_balances(tx, accounts.find(tx, owners, paid.asset).values())
    units = _written_off(tx, debt)
    if units == 0:
        return False
    key = f"deposit:{paid.id}:{streams.RECOVERED}:{debt.key.rpartition(':')[2]}"  # each debt comes back once
    leg = Leg(owners[1], accounts.house("reorg_loss"), units)
    postings.post(tx, key, streams.RECOVERED, paid.asset, [leg], ("deposit", paid.id))
    accounts.freeze(tx, account_id, REORG_FREEZE)
    return True


def _left_behind(tx: Tx, paid: Row[Any], account_id: int, number: int) -> Move | None:
    """What the account came to owe when the deposit was last taken back from a customer; the house may have kept it
    since, until a person gave it to somebody."""
    for generation in range(number - 1, 0, -1):
        found = list(streams.moves(tx, transfer.c.transfer_key == f"deposit:{paid.id}:reverse:{generation}"))
        owners = {streams.owner(tx, move.debit_id): move for move in found}
        if any(owner.account_id != accounts.HOUSE_ACCOUNT for owner in owners):
            return owners.get(streams.Owner(account_id, "receivable"))
    return None


def _written_off(tx: Tx, debt: Move) -> int:
    """How much of a debt the house has borne. The balance is locked."""
    parts = owing.repaid(tx, debt.debit_id)
    return sum(part.units for part in parts if part.debt.id == debt.id and part.by.kind == WRITE_OFF)


def debt_subject(debtor_id: int, asset: str) -> str:
    """What an alarm is about that stands as long as an account owes."""
    return f"debt:{debtor_id}:{asset}"


def part_subject(part_id: int) -> str:
    """What the alarm of a frozen part is about."""
    return f"frozen:{part_id}"
