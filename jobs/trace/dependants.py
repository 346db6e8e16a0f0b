"""What a deposit had paid for when it left the chain, and is not spent yet, is kept still: in balances, escrows and
withdrawals, of any asset.

Only as much as its depositor owes: what he can pay himself is taken from him alone. What was spent last is frozen
first, because without the deposit that is what he could not have paid.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, exc, or_, select

from jobs import alarms, debts, withdrawal
from jobs.escrow import frozen_parts
from jobs.escrow.frozen_parts import Cause
from jobs.escrow.state import ENDED
from jobs.payment import books as payment_books
from jobs.trace import own, streams
from jobs.trace.follow import Leaf, Trace, leaves, trace
from ledger import accounts, balances
from ledger.accounts import HOUSE_ACCOUNT
from ledger.db import Tx
from ledger.errors import DatabaseError
from ledger.schema import address, escrow

log = logging.getLogger("coffer.trace")

#: How often the trace is followed until it stands still: others spend while their balances are not locked yet.
LOOKS_MAX = 4


def stop(tx: Tx, paid: Row[Any], debtor_id: int) -> None:
    """Lock every escrow that the reversal of the deposit `paid` of the account `debtor_id` may keep from being
    released, and the withdrawals that it may cancel for the debt. What is being released, or joins a payment, has let
    its money go by then, and what is to be sees what was frozen.

    To be called before the reversal locks any balance: whoever ends one of them locks them in this order, too.
    """
    _lock_escrows(tx, _others(tx, paid, debtor_id)[1], paid, debtor_id)
    own.lock(tx, debtor_id, paid.asset)


def take_back(
    tx: Tx, paid: Row[Any], debtor_id: int, key: str, ref: tuple[str, int], *, first: tuple[str, int] = ("escrow", 0)
) -> int:
    """As `debts.take_back`, of the deposit `paid`, and then out of the account's own withdrawals that have not left;
    the units that are owed all the same."""
    owed = debts.take_back(tx, debtor_id, paid.asset, paid.units, key, ref, first=first)
    if owed:
        own.repay(tx, debtor_id, paid.asset)
        owed = min(owed, balances.get(tx, (debtor_id, "receivable"), paid.asset))
    return owed


def freeze(tx: Tx, paid: Row[Any], debtor_id: int, owed: int) -> None:
    """Keep still what others have from the deposit `paid`, up to the `owed` units that its reversal has just left the
    account `debtor_id` owing. Whatever the trace is like, the reversal stands: what cannot be followed is not frozen,
    and an alarm tells of it until the debt is over."""
    left = owed
    for leaf in _settled(tx, paid, debtor_id) if owed else ():
        share = min(left, leaf.share)
        if share > 0:
            left -= _keep(tx, paid, debtor_id, leaf, share)


def _settled(tx: Tx, paid: Row[Any], debtor_id: int) -> Sequence[Leaf]:
    """Where it is, with every escrow and every balance locked in which it lies."""
    whole, found = _others(tx, paid, debtor_id)
    for _ in range(LOOKS_MAX):
        _lock_escrows(tx, found, paid, debtor_id)
        _lock_balances(tx, found)
        whole, again = _others(tx, paid, debtor_id)
        if [(leaf.path, leaf.step.left) for leaf in again] == [(leaf.path, leaf.step.left) for leaf in found]:
            break
        found = again
    if not whole:
        _tell(tx, paid, debtor_id)
    return found


def _others(tx: Tx, paid: Row[Any], debtor_id: int) -> tuple[bool, list[Leaf]]:
    """Whether all was followed, and what others have: the debtor may spend nothing at all, and what is frozen stays
    so."""
    try:
        found = trace(tx, paid)
        if found is None:
            return True, []
        return found.whole, _of_others(found, debtor_id)
    except (exc.DBAPIError, DatabaseError):
        raise  # the whole unit is run again
    except Exception:  # raised, it would undo the reversal each time that it is tried
        log.exception("the money of %s cannot be followed", paid.public_id)
        return False, []


def _of_others(found: Trace, debtor_id: int) -> list[Leaf]:
    not_others = (debtor_id, HOUSE_ACCOUNT)
    return [one for one in leaves(found.root) if one.step.account_id not in not_others and one.step.what != "frozen"]


def _tell(tx: Tx, paid: Row[Any], debtor_id: int) -> None:
    detail = f"{paid.public_id} has left the chain, and only part of what it paid for could be followed and frozen; "
    detail += f"see `coffer explain {paid.public_id}`"
    alarms.raise_(tx, "money_not_followed", debts.debt_subject(debtor_id, paid.asset), detail)


def _lock_escrows(tx: Tx, found: Sequence[Leaf], paid: Row[Any], debtor_id: int) -> None:
    """Those in which it lies, the one whose address it came to, and the debtor's own: these are not followed, but wait
    because he may spend nothing, which whoever releases one reads without a lock."""
    ids = {_escrow(tx, leaf) for leaf in found if leaf.step.place == "escrow"} | _own_escrows(tx, paid, debtor_id)
    if ids:  # in one order, and by their keys alone: a search would lock what it passes
        tx.all(select(escrow.c.id).where(escrow.c.id.in_(sorted(ids))).order_by(escrow.c.id).with_for_update())


def _own_escrows(tx: Tx, paid: Row[Any], debtor_id: int) -> set[int]:
    e, a = escrow.c, address.c
    his = select(e.id).where(or_(e.buyer_id == debtor_id, e.order_id == debtor_id), e.state.not_in(sorted(ENDED)))
    home = select(a.purpose_id.label("id")).where(a.id == paid.address_id, a.purpose_kind == "escrow")
    return {int(row.id) for query in (his, home) for row in tx.all(query)}


def _lock_balances(tx: Tx, found: Sequence[Leaf]) -> None:
    ids: set[int] = set()
    for leaf in found:
        ids |= set(accounts.find(tx, [(leaf.step.account_id, "available")], leaf.step.asset).values())
    accounts.lock_balances(tx, ids)


def _keep(tx: Tx, paid: Row[Any], debtor_id: int, leaf: Leaf, share: int) -> int:
    """Freeze what stands for so much of the deposit, where it lies; how much of the deposit that is."""
    step = leaf.step
    cause = Cause(paid, debtor_id, leaf.source or step.ref)
    units = -(-step.left * share // leaf.share)
    if step.what == "withdrawn":
        kept = _stop(tx, cause, step.ref[1], step.account_id, step.asset, units)
    elif step.place == "available":
        kept = frozen_parts.freeze(tx, cause, step.account_id, step.asset, units)
    elif step.place == "escrow":
        frozen_parts.mark(tx, cause, step.account_id, step.asset, units, ("escrow", _escrow(tx, leaf)))
        kept = units
    else:
        kept = 0
    return share * kept // units


def _escrow(tx: Tx, leaf: Leaf) -> int:
    """In which escrow the money of a leaf lies."""
    (move,) = streams.moves(tx, streams.of_posting(leaf.step.number))
    return streams.part_of(tx, "escrow", move)[0]


def _stop(tx: Tx, cause: Cause, withdrawal_id: int, account_id: int, asset: str, units: int) -> int:
    """Take a withdrawal back that has joined no payment; one of which nothing can be out yet waits, and so does one
    that may have been paid by what this database does not know."""
    (row,) = withdrawal.lock_all(tx, [withdrawal_id])
    if withdrawal.take_back(tx, row):
        return frozen_parts.freeze(tx, cause, account_id, asset, units)
    if not withdrawal.is_unsent(row) and (row.payment_id is None or payment_books.intent_stands(tx, row.payment_id)):
        return 0
    frozen_parts.mark(tx, cause, account_id, asset, units, ("withdrawal", row.id))
    return units
