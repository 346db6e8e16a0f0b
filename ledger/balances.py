"""What accounts have: customers from their balance row, the house from snapshots and the postings since."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, bindparam, delete, func, insert, select

from ledger import accounts
from ledger.db import Tx
from ledger.money import UNITS_BOUND
from ledger.postings import DEBIT_NORMAL
from ledger.schema import GUARDED_KINDS, HOUSE_KINDS, balance, ledger_account, posting, snapshot, transfer
from ledger.types import total

#: A snapshot leaves out what is younger: an INSERT that is running may have an older posting id, and no row yet. Where
#: there is a row, `take_snapshots` waits for it.
SNAPSHOT_AGE_US = 10 * 60 * 1_000_000


#: Kinds of the house that have a balance row.
HOUSE_BALANCES = ("inventory", "reserved")


def of_account(tx: Tx, account_id: int) -> dict[str, dict[str, int]]:
    """A customer's units by asset and kind (`available`, `held` …)."""
    a = ledger_account.c
    query = select(a.asset, a.kind, balance.c.units).join(balance, balance.c.ledger_account_id == a.id)
    found: dict[str, dict[str, int]] = {}
    for row in tx.all(query.where(a.account_id == account_id).order_by(a.asset, a.kind)):
        found.setdefault(row.asset, {})[row.kind] = row.units
    return found


def get(tx: Tx, owner: accounts.Owner, asset: str) -> int:
    """Units of one guarded account, 0 when it was never used."""
    a = ledger_account.c
    query = select(balance.c.units).join(ledger_account, a.id == balance.c.ledger_account_id)
    value = tx.value(query.where(a.account_id == owner[0], a.kind == owner[1], a.asset == asset))
    return int(value or 0)


def of_house(tx: Tx, asset: str) -> dict[str, int]:
    """The house's credit-normal units by kind: what the treasury holds is negative here."""
    a = ledger_account.c
    query = select(a.id, a.kind).where(a.account_id == accounts.HOUSE_ACCOUNT, a.asset == asset)
    ids = {row.kind: row.id for row in tx.all(query)}
    found = {kind: summed(tx, ids[kind]) if kind in ids else 0 for kind in HOUSE_KINDS}
    return found | {kind: get(tx, accounts.house(kind), asset) for kind in HOUSE_BALANCES}


def summed(tx: Tx, ledger_account_id: int, *, from_start: bool = False) -> int:
    """Credits minus debits of one ledger account, from its newest snapshot or (`from_start`) from the first posting."""
    start = None if from_start else _newest(tx, ledger_account_id)
    after, units = (start.posting_id, start.units) if start is not None else (0, 0)
    return int(units) + _moved(tx, ledger_account_id, after, None)


def _newest(tx: Tx, ledger_account_id: int) -> Row[Any] | None:
    s = snapshot.c
    return tx.first(
        select(s.posting_id, s.units)
        .where(s.ledger_account_id == ledger_account_id)
        .order_by(s.posting_id.desc())
        .limit(1)
    )


#: No posting has an id as great as this.
_END = 2**63 - 1
_WITHIN = (posting.c.id > bindparam("after")) & (posting.c.id <= bindparam("until"))
_CREDITED, _DEBITED = (
    select(total(posting.c.units)).where(column == bindparam("own_id"), _WITHIN)
    for column in (posting.c.credit_id, posting.c.debit_id)
)
#: A locking read sees what is not committed, and waits until it is, or is undone. SQLite has one writer: this one.
_CREDITED_BY_ALL, _DEBITED_BY_ALL = (query.with_for_update(read=True) for query in (_CREDITED, _DEBITED))


def _moved(tx: Tx, ledger_account_id: int, after: int, until: int | None) -> int:
    given = {"own_id": ledger_account_id, "after": after, "until": _END if until is None else until}
    return int(tx.value(_CREDITED, given) or 0) - int(tx.value(_DEBITED, given) or 0)


def _moved_by_all(tx: Tx, ledger_account_id: int, after: int, until: int) -> int:
    """As `_moved`, once every transaction has ended that has postings in there."""
    given = {"own_id": ledger_account_id, "after": after, "until": until}
    return int(tx.value(_CREDITED_BY_ALL, given) or 0) - int(tx.value(_DEBITED_BY_ALL, given) or 0)


def take_snapshots(tx: Tx) -> int:
    """Write a snapshot of every house account up to the newest posting that is old enough; how many were written.

    Waits for postings with older ids that are not committed yet, however long ago they were made: a snapshot that had
    left one out would leave it out for ever.
    """
    p = posting.c
    old = select(func.max(p.id)).join(transfer, transfer.c.id == p.transfer_id)
    until = tx.value(old.where(transfer.c.created_at < tx.now - SNAPSHOT_AGE_US))
    if until is None:
        return 0
    written = 0
    for row in tx.all(select(ledger_account.c.id).where(ledger_account.c.kind.in_(HOUSE_KINDS))):
        start = _newest(tx, row.id)
        after, units = (start.posting_id, start.units) if start is not None else (0, 0)
        if after >= until:
            continue
        units += _moved_by_all(tx, row.id, after, until)
        if abs(units) >= UNITS_BOUND:
            continue  # no column holds it (a token without bound); the one before, with the postings since, is as right
        values = {"ledger_account_id": row.id, "posting_id": until, "created_at": tx.now}
        tx.execute(insert(snapshot).values(values | {"units": units}))
        tx.execute(delete(snapshot).where(snapshot.c.ledger_account_id == row.id, snapshot.c.posting_id < after))
        written += 1
    return written


def faults(tx: Tx) -> list[str]:
    """Every way in which the stored ledger contradicts itself (I1, I2); empty when it is sound."""
    p, a = posting.c, ledger_account.c
    sums: dict[int, int] = {}
    for row in tx.execute(select(p.debit_id, p.credit_id, p.units)):
        sums[row.credit_id] = sums.get(row.credit_id, 0) + row.units
        sums[row.debit_id] = sums.get(row.debit_id, 0) - row.units
    found = []
    query = select(a.id, a.account_id, a.kind, a.asset, balance.c.units).outerjoin(
        balance, balance.c.ledger_account_id == a.id
    )
    for row in tx.all(query):
        credited = sums.pop(row.id, 0)
        expected = credited * (-1 if row.kind in DEBIT_NORMAL else 1)
        if row.kind in GUARDED_KINDS and row.units != expected:
            found.append(f"account {row.account_id} {row.kind} {row.asset}: balance {row.units}, postings {expected}")
        if row.kind in GUARDED_KINDS and expected < 0:
            found.append(f"account {row.account_id} {row.kind} {row.asset}: negative {expected}")
        if row.kind in HOUSE_KINDS and (told := summed(tx, row.id)) != credited:
            where = f"account {row.account_id} {row.kind} {row.asset}"
            found.append(f"{where}: {told} from its snapshot, postings {credited}")
    found += [f"postings of unknown ledger account {row_id}" for row_id in sums]
    return found
