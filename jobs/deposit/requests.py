"""Payment requests: an address with an expected amount and perhaps an expiry. They tell; they never hold money back.

Every deposit is credited in full to the address's account, on time or late, too little or too much.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, select, update

from jobs import views
from jobs.services import Services
from jobs.tasks import Ran
from ledger import history
from ledger.db import Tx
from ledger.schema import address

EXPIRE_MAX = 500


def count(tx: Tx, paid_by: Row[Any], units: int) -> None:
    """Add a credited (or, negative, a taken back) deposit to its address, and tell what that makes of the request."""
    home = tx.first(select(address).where(address.c.id == paid_by.address_id).with_for_update())
    if home is None or home.asset != paid_by.asset:  # another asset that shares the address pays no request
        return
    received = home.received_units + units
    state = None if home.expected_units is None else judge(home, received, tx.now)
    _write(tx, home, state, received)
    if state is not None and paid_by.late and units > 0:
        _tell(tx, home, "address.paid_late")


def judge(home: Row[Any], received: int, now: int) -> str:
    """The state of a request that has received so much: `open`, `underpaid`, `paid`, `overpaid` or `expired`."""
    if received == 0:
        return "expired" if home.expires_at is not None and home.expires_at <= now else "open"
    if received < home.expected_units:
        return "underpaid"
    return "paid" if received == home.expected_units else "overpaid"


def expire(row: Row[Any], services: Services) -> Ran:
    """Task step: open requests whose time is over become `expired`; money that comes later is credited all the same."""
    return Ran(effect=_expire)


def _expire(tx: Tx, _: Row[Any]) -> None:
    a = address.c
    over = (a.request_state == "open") & (a.expires_at <= tx.now)
    for home in tx.all(select(address).where(over).order_by(a.expires_at).limit(EXPIRE_MAX).with_for_update()):
        _write(tx, home, "expired", home.received_units)


def _write(tx: Tx, home: Row[Any], state: str | None, received: int) -> None:
    values = {"received_units": received, "request_state": state, "updated_at": tx.now, "version": home.version + 1}
    tx.execute(update(address).where(address.c.id == home.id).values(values))
    if state is not None and state != home.request_state:
        _tell(tx, home, f"address.{state}")


def _tell(tx: Tx, home: Row[Any], type_: str) -> None:
    row = tx.one(select(address).where(address.c.id == home.id))
    history.emit(tx, row.project_id, type_, row.public_id, views.address(tx, row))
