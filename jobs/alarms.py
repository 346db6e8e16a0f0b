"""Alarms: what an operator should know now, one open row a name and subject, cleared when the cause is gone.

What only a person can decide is closed by the act that decides it, in the same commit: should it come again, it is
raised again, and told again.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, insert, update
from sqlalchemy.exc import IntegrityError

from ledger import history
from ledger.accounts import HOUSE_PROJECT
from ledger.db import Tx
from ledger.errors import codes
from ledger.schema import alarm


def raise_(tx: Tx, name: str, subject: str, detail: str) -> None:
    """Open the alarm, or count it again while it is open. The first opening is an event of the house's project."""
    is_open = (alarm.c.name == name) & (alarm.c.subject == subject) & (alarm.c.open == 1)
    again = {"last_at": tx.now, "count": alarm.c.count + 1, "detail": detail[:512]}
    if tx.execute(update(alarm).where(is_open).values(again)).rowcount:
        return
    first = {"name": name, "subject": subject, "detail": detail[:512], "open": 1, "count": 1}
    try:
        with tx.savepoint():
            tx.execute(insert(alarm).values(first | {"first_at": tx.now, "last_at": tx.now}))
    except IntegrityError:
        return  # opened by another worker in this moment
    history.emit(tx, HOUSE_PROJECT, "alarm.raised", subject[:40], {"name": name, "subject": subject, "detail": detail})


_OF_SUBJECT = (alarm.c.subject == bindparam("own_subject")) & (alarm.c.open == 1)
_CLEAR = update(alarm).where(_OF_SUBJECT).values(open=None, last_at=bindparam("now"))
_CLEAR_NAMED = _CLEAR.where(alarm.c.name.in_(bindparam("own_names", expanding=True)))

CRASHED, UNKNOWN_STATE = "crashed_repeatedly", "unknown_state"
#: Raised of a saga's row because it did not come on.
STUCK = (CRASHED, UNKNOWN_STATE)


def clear_failures(tx: Tx, subject: str, *more: str | None) -> None:
    """Close what was raised of it because something failed: under an error's code, or `more`. What was found out of it
    stays open, for whoever decides about it."""
    clear(tx, subject, *sorted(codes().union(name for name in more if name is not None)))


def clear(tx: Tx, subject: str, *names: str) -> None:
    """Close the open alarms of a subject: of these names, or all."""
    given: dict[str, Any] = {"own_subject": subject, "now": tx.now}
    tx.execute(_CLEAR_NAMED if names else _CLEAR, given | {"own_names": list(names)} if names else given)


def of_row(kind: str, row_id: int) -> str:
    """The subject of what is raised of a saga's row."""
    return f"{kind}:{row_id}"
