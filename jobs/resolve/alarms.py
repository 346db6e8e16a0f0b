"""Alarms that no decision about a row closes: what they tell of has happened, and its row has come to its end."""

from __future__ import annotations

from sqlalchemy import select

from jobs import alarms
from jobs.deposit.scan import MOVED
from jobs.swap.payout import CHANGED_ALARM
from ledger import audit
from ledger.db import Tx
from ledger.errors import InvalidInput, NotFound
from ledger.schema import alarm

#: Told of something that is over; a person says that he has looked.
BY_HAND = (MOVED, CHANGED_ALARM)


def close(tx: Tx, name: str, subject: str, actor: str) -> None:
    """Say that somebody has looked at it; audited. Raises `InvalidInput` for one that ends with its cause, `NotFound`
    for one that is not open."""
    if name not in BY_HAND:
        raise InvalidInput("/name", f"closes with its cause, or by the act that decides; by hand: {', '.join(BY_HAND)}")
    a = alarm.c
    if tx.value(select(a.id).where(a.name == name, a.subject == subject, a.open == 1)) is None:
        raise NotFound(f"no open alarm {name} of {subject}")
    alarms.clear(tx, subject, name)
    audit.record(tx, actor, "alarm.close", subject, {"name": name})
