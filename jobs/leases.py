"""Named leases: one holder at a time by the database's clock, taken over once they run out."""

from __future__ import annotations

from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError

from jobs.saga import SECOND
from ledger.db import Tx
from ledger.schema import lease


def take(tx: Tx, name: str, token: str, owner: str, seconds: int) -> bool:
    """Take or extend the lease for `token`; False while another token holds it."""
    _ensure(tx, name)
    free = (lease.c.name == name) & ((lease.c.until <= tx.now) | (lease.c.token == token))
    values = {"token": token, "owner": owner, "until": tx.now + seconds * SECOND}
    return tx.execute(update(lease).where(free).values(values)).rowcount == 1


def extend(tx: Tx, name: str, token: str, seconds: int) -> bool:
    """Keep a lease that is still ours; False when it is another's."""
    ours = (lease.c.name == name) & (lease.c.token == token) & (lease.c.until > 0)
    return tx.execute(update(lease).where(ours).values(until=tx.now + seconds * SECOND)).rowcount == 1


def give_back(tx: Tx, name: str, token: str) -> bool:
    """End the lease if it is still ours; False when it is another's."""
    ours = (lease.c.name == name) & (lease.c.token == token)
    return tx.execute(update(lease).where(ours).values(until=0)).rowcount == 1


def _ensure(tx: Tx, name: str) -> None:
    if tx.value(select(lease.c.name).where(lease.c.name == name)) is not None:
        return
    try:
        with tx.savepoint():
            tx.execute(insert(lease).values(name=name, until=0))
    except IntegrityError:
        return  # another process made it first
