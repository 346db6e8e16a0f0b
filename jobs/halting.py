"""Halting a chain, and lifting that: the row that stops signing, the alarm that tells of it, and the rows it wakes."""

from __future__ import annotations

from typing import Any, NoReturn

from jobs import alarms, tasks
from jobs.saga import SECOND
from jobs.services import Services
from ledger import halts
from ledger.db import Tx
from ledger.errors import SigningHalted
from ledger.schema import payment

#: Payments that a halt may hold back.
_WAITING = ("building", "reserved", "signed", "releasing", "broadcast")


def stop(tx: Tx, chain: str, cause: str, why: str, actor: str = "engine") -> bool:
    """Halt the chain and raise the alarm of that name; False when this cause halts it already. An operator's own halt
    needs no alarm."""
    if cause != "operator":
        alarms.raise_(tx, cause, subject(chain), why)
    return halts.stop(tx, chain, cause, why, actor)


def at_once(services: Services, chain: str, cause: str, why: str) -> NoReturn:
    """Halt in a transaction of its own, whatever becomes of the step that noticed; raises `SigningHalted`."""
    services.database.run(lambda tx: stop(tx, chain, cause, why), "halt")
    raise SigningHalted(f"nothing is signed on {chain}: {cause}: {why}")


def lift(tx: Tx, chain: str, cause: str, actor: str, reason: str = "") -> bool:
    """Take one cause away; what waited for it goes on at once. False when there was none."""
    lifted = halts.lift(tx, chain, cause, actor, reason)
    alarms.clear(tx, subject(chain), cause)
    if halts.reason(tx, chain) is None:
        p: Any = payment.c
        held = (p.chain == chain) & p.state.in_(_WAITING)
        soon = {"due_at": tx.now, "wakes": p.wakes + 1}
        tx.execute(payment.update().where(held, p.due_at.is_not(None), p.due_at < tx.now + 60 * SECOND).values(soon))
        for work in ("batch", "sweep", "hot"):
            tasks.wake(tx, f"{work}:{chain}")
    return lifted


def subject(chain: str) -> str:
    return f"halt:{chain}"
