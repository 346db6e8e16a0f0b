"""What an account owes after a reorganisation took back money that it had spent: booked, and repaid first."""

from __future__ import annotations

from ledger import accounts, balances, postings
from ledger.db import Tx
from ledger.postings import Leg

#: Why an account with a debt is frozen; lifted by itself once the debt is repaid.
REORG_FREEZE = "reorg_debt"


def collect(tx: Tx, account_id: int, asset: str, key: str) -> int:
    """Repay what the account owes in this asset from what is available; the units repaid.

    `key` makes the repayment unique. The account is unfrozen when nothing is owed in any asset.
    """
    if balances.get(tx, (account_id, "receivable"), asset) == 0:
        return 0
    owners = [(account_id, "available"), (account_id, "receivable")]
    ids = accounts.find(tx, owners, asset)
    units = accounts.lock_balances(tx, ids.values())
    available, owed = (units[ids[owner]] for owner in owners)
    paid = min(available, owed)
    if paid:
        postings.post(
            tx, f"repay:{key}", "repayment", asset, [Leg(owners[0], owners[1], paid)], ("account", account_id)
        )
    if all(kinds.get("receivable", 0) == 0 for kinds in balances.of_account(tx, account_id).values()):
        accounts.unfreeze(tx, account_id, REORG_FREEZE)
    return paid


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
    owed = units - taken - there
    if owed > 0:
        accounts.freeze(tx, account_id, REORG_FREEZE)
    return owed
