"""Ledger accounts: one per owner, kind and asset, made when first needed."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import bindparam, insert, select, tuple_, update
from sqlalchemy.exc import IntegrityError

from ledger.db import Tx
from ledger.errors import AccountFrozen, LedgerBroken
from ledger.schema import GUARDED_KINDS, account, balance, ledger_account

#: The house's own project and account: the first rows of every database.
HOUSE_PROJECT = 1
HOUSE_ACCOUNT = 1

Owner = tuple[int, str]  #: (account id, kind)


def house(kind: str) -> Owner:
    """The house's ledger account of a kind, as `find` and `legs` take it."""
    return HOUSE_ACCOUNT, kind


def find(tx: Tx, owners: Iterable[Owner], asset: str) -> dict[Owner, int]:
    """Ledger account ids of these owners in one asset; missing ones are created (with a zero balance row)."""
    wanted = set(owners)
    known: dict[Owner, int] = tx.memo.setdefault((find, asset), {})
    if wanted - known.keys():
        known |= _existing(tx, wanted - known.keys(), asset)
    for owner in sorted(wanted - known.keys()):
        made = _create(tx, owner, asset)
        known = tx.memo.setdefault((find, asset), known)  # a lost race for the row has emptied the memo
        known[owner] = made
    return {owner: known[owner] for owner in wanted}


_OWNERS = tuple_(ledger_account.c.account_id, ledger_account.c.kind).in_(bindparam("owners", expanding=True))
_EXISTING = select(ledger_account.c.id, ledger_account.c.account_id, ledger_account.c.kind).where(
    _OWNERS, ledger_account.c.asset == bindparam("asset")
)


def _existing(tx: Tx, wanted: set[Owner], asset: str) -> dict[Owner, int]:
    rows = tx.all(_EXISTING, {"owners": sorted(wanted), "asset": asset})
    return {(row.account_id, row.kind): row.id for row in rows}


def _create(tx: Tx, owner: Owner, asset: str) -> int:
    account_id, kind = owner
    try:
        with tx.savepoint():
            row_id = tx.insert(insert(ledger_account).values(account_id=account_id, kind=kind, asset=asset))
            if kind in GUARDED_KINDS:
                tx.execute(insert(balance).values(ledger_account_id=row_id, units=0))
            return row_id
    except IntegrityError:
        found = _existing(tx, {owner}, asset)  # another transaction was first
        if owner not in found:
            raise
        return found[owner]


_LOCK = (
    select(balance.c.ledger_account_id, balance.c.units)
    .where(balance.c.ledger_account_id.in_(bindparam("ids", expanding=True)))
    .order_by(balance.c.ledger_account_id)
    .with_for_update()
)


def lock_balances(tx: Tx, ids: Iterable[int]) -> dict[int, int]:
    """The units of these ledger accounts' balance rows, locked in id order until the transaction ends.

    House accounts have no row and are absent from the answer. Lock everything a unit needs in one call: that order
    is what keeps two units from waiting for each other.
    """
    return {row.ledger_account_id: row.units for row in tx.all(_LOCK, {"ids": sorted(set(ids))})}


def check_not_frozen(tx: Tx, account_id: int) -> None:
    """Raises `AccountFrozen` while the account may not spend."""
    reason = tx.value(select(account.c.frozen_reason).where(account.c.id == account_id))
    if reason is not None:
        raise AccountFrozen(f"the account is frozen: {reason}")


_LOCK_ACCOUNT = select(account.c.frozen_reason).where(account.c.id == bindparam("id")).with_for_update()


def lock(tx: Tx, account_id: int) -> str | None:
    """Why the account may not spend, None if it may; nobody else freezes or unfreezes it before this transaction ends.

    To be called after `lock_balances`: whoever frees an account has moved its money before.
    """
    reason = tx.one(_LOCK_ACCOUNT, {"id": account_id}).frozen_reason
    return None if reason is None else str(reason)


def freeze(tx: Tx, account_id: int, reason: str) -> bool:
    """Stop the account from spending; False when it was frozen already (the first reason stays).

    Either way who unfreezes it waits for this transaction, and sees then why it must not.
    """
    if account_id == HOUSE_ACCOUNT:
        raise LedgerBroken("the house account cannot be frozen")
    lock(tx, account_id)  # an UPDATE that finds nothing to change would let the row go again
    values = {"frozen_reason": reason, "frozen_at": tx.now, "updated_at": tx.now, "version": account.c.version + 1}
    condition = (account.c.id == account_id) & account.c.frozen_reason.is_(None)
    return tx.execute(update(account).where(condition).values(values)).rowcount == 1


def unfreeze(tx: Tx, account_id: int, reason: str) -> bool:
    """Let the account spend again if it was frozen for exactly this reason."""
    values = {"frozen_reason": None, "frozen_at": None, "updated_at": tx.now, "version": account.c.version + 1}
    condition = (account.c.id == account_id) & (account.c.frozen_reason == reason)
    return tx.execute(update(account).where(condition).values(values)).rowcount == 1
