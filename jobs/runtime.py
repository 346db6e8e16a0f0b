"""Drives saga rows: claim, run the step, write its outcome, all fenced by a lease token in the row.

Losing a worker anywhere loses nothing: the row stays due, its lease runs out after `LEASE_SECONDS`, and the next
claim runs the same step again. A step therefore repeats safely, or has stored beforehand what it is about to do.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

import structlog
from sqlalchemy import Row, Select, Table, Update, bindparam, case, exists, func, select, update

from jobs import alarms, claims, leases
from jobs.heartbeat import Heartbeat
from jobs.saga import SECOND, Outcome, Saga, Step
from ledger import history, pauses
from ledger.db import Database, Tx
from ledger.errors import (
    CofferError,
    DatabaseError,
    DatabaseUnavailable,
    LeaseLost,
    LedgerBroken,
    NodeNotReady,
    NodeUnavailable,
    SigningHalted,
)
from ledger.ids import new_token
from ledger.schema import alarm

log = structlog.get_logger("coffer.saga")

LEASE_SECONDS = 15
#: Node failures in a row before an alarm; the row keeps its place and its money either way.
ATTEMPTS_BEFORE_ALARM = 3
BACKOFF_SECONDS = (5, 10, 20)
#: Claims that never came back before a row is set aside for a person.
CRASHES_MAX = 20
#: Steps of one row in one go; a row that needs more is due again at once.
STEPS_MAX = 12
#: Rows in unknown states that one look at the queue may report.
STRANGERS_MAX = 5
BUSY_TRIES = 40
BUSY_SECONDS = 0.05


@dataclass(frozen=True)
class Claim:
    row: Row[Any]  #: as read when it was claimed, and `stuck`: whether an alarm says that it did not come on
    token: str
    step: Step


class _Busy(Exception):
    """The wallet belongs to another signer at this moment."""


class Runtime:
    """Advances the rows of some sagas with some services. One a process; any number of threads may call it."""

    def __init__(self, database: Database, sagas: dict[str, Saga], services: Any) -> None:
        self.database = database
        self.sagas = sagas
        self.services = services
        self.owner = f"{socket.gethostname()}:{os.getpid()}"
        self.heartbeat = Heartbeat(database, LEASE_SECONDS)
        self.sleep: Callable[[float], None] = time.sleep

    def advance(self, kind: str, row_id: int, *, woken: bool = False) -> int:
        """Run the row's steps while they are due; how many ran. Never raises for anything about the row itself.

        Safe to call any number of times, at once, in any order. `woken` makes a periodic task run before its time.
        """
        saga = self.sagas[kind]
        with structlog.contextvars.bound_contextvars(saga=kind, row=row_id, id=None, txid=None):
            try:
                return self._advance(saga, row_id, woken)
            except LeaseLost:
                log.info("lease lost")
            except DatabaseError as error:
                log.warning("database", code=error.code, detail=error.detail)
        return 0

    def _advance(self, saga: Saga, row_id: int, woken: bool) -> int:
        claim = self._claim_patiently(saga, row_id, woken)
        steps = 0
        while claim is not None:
            _name_in_logs(claim.row)
            steps += 1
            more = steps < STEPS_MAX
            try:
                outcome = self._run(saga, claim)
                following = None if outcome is None else self._finish(saga, claim, outcome, more=more)
            except DatabaseUnavailable:
                self._give_back(saga, claim)
                raise
            if outcome is None:
                return steps
            claim = following
            if claim is None and more and outcome.due_us == 0:
                claim = self._claim_patiently(saga, row_id, woken=False)
        return steps

    def _claim_patiently(self, saga: Saga, row_id: int, woken: bool) -> Claim | None:
        for _ in range(BUSY_TRIES):
            try:
                return self.database.run(lambda tx: self._claim(tx, saga, row_id, woken), f"{saga.kind}.claim")
            except _Busy:
                self.sleep(BUSY_SECONDS)
        return None

    def _claim(self, tx: Tx, saga: Saga, row_id: int, woken: bool) -> Claim | None:
        t = saga.table.c
        row = _read(tx, saga, row_id)
        if row is None or row.due_at is None or (row.due_at > tx.now and not woken):
            return None
        if row.lease_until > tx.now:
            if woken:
                tx.execute(update(saga.table).where(t.id == row_id).values(wakes=t.wakes + 1))
            return None
        state = saga.state(row.state)
        step = None if state is None else saga.steps.get(state)
        if step is None:
            log.error("unknown state", state=row.state)  # written by another version: leave it alone
            subject = alarms.of_row(saga.kind, row_id)
            alarms.raise_(tx, alarms.UNKNOWN_STATE, subject, f"state {row.state} has no step here")
            return None
        if row.crashes >= CRASHES_MAX:
            _set_aside(tx, saga, row)
            return None
        token = new_token()
        if step.exclusive and not leases.take(tx, wallet_lease(row), token, self.owner, LEASE_SECONDS):
            raise _Busy
        return self._take(tx, saga, row, token, step)

    def _take(self, tx: Tx, saga: Saga, row: Row[Any], token: str, step: Step) -> Claim | None:
        given = {"own_id": row.id, "own_version": row.version, "now": tx.now}
        lease = {"lease_token": token, "lease_until": tx.now + LEASE_SECONDS * SECOND}
        taken = tx.execute(_taking(saga.table), given | lease)
        return Claim(row, token, step) if taken.rowcount == 1 else None

    def _run(self, saga: Saga, claim: Claim) -> Outcome | None:
        lease = wallet_lease(claim.row) if claim.step.exclusive else None
        try:
            with (
                self.heartbeat.keep(saga.table, claim.row.id, claim.token, lease),
                claims.holding(saga.table, claim.row.id, claim.token),
            ):
                return claim.step.run(claim.row, self.services)
        except LeaseLost:
            raise
        except (NodeUnavailable, NodeNotReady) as error:
            self._failed(saga, claim, error)
        except DatabaseError:
            raise  # nothing to write with
        except Exception as error:  # the runner's edge: a fault in one row must not stop the others
            log.exception("step failed", state=claim.row.state)
            self._failed(saga, claim, error)
        return None

    def _failed(self, saga: Saga, claim: Claim, error: Exception) -> None:
        code = error.code if isinstance(error, CofferError) else "internal_error"
        detail = (error.detail if isinstance(error, CofferError) else type(error).__name__)[:512]
        log.warning("step will be tried again", state=claim.row.state, code=code, detail=detail)

        def unit(tx: Tx) -> None:
            attempts = claim.row.attempts + 1
            wait = BACKOFF_SECONDS[min(attempts, len(BACKOFF_SECONDS)) - 1]
            values = {"attempts": attempts, "due_at": tx.now + wait * SECOND, "crashes": 0}
            values |= {"status_reason": code, "status_detail": detail, "lease_until": 0, "updated_at": tx.now}
            self._write(tx, saga, claim, values)
            outage = isinstance(error, (NodeUnavailable, NodeNotReady))
            told = isinstance(error, SigningHalted)  # by the halt's own alarm
            if not told and (attempts >= ATTEMPTS_BEFORE_ALARM or not outage):
                alarms.raise_(tx, code, alarms.of_row(saga.kind, claim.row.id), detail)
            if isinstance(error, LedgerBroken) and "asset" in saga.table.c:
                pauses.stop(tx, claim.row.asset, "withdrawals", f"ledger: {detail}"[:255], "engine")

        self.database.run(unit, f"{saga.kind}.{claim.row.state}.failed")

    def _finish(self, saga: Saga, claim: Claim, outcome: Outcome, *, more: bool) -> Claim | None:
        """Write the outcome; the claim of the next step when that is due at once, otherwise None."""
        to = claim.step.outcomes[type(outcome)]
        following = saga.steps.get(to)
        go_on = more and outcome.due_us == 0 and following is not None and following.exclusive == claim.step.exclusive

        def unit(tx: Tx) -> Row[Any] | None:
            values = _outcome_values(tx, saga, claim.row, outcome, str(to))
            values["lease_until"] = tx.now + LEASE_SECONDS * SECOND if go_on else 0
            if not self._write(tx, saga, claim, values):  # another signer may have chosen by what this step changes
                raise LeaseLost(f"{wallet_lease(claim.row)}: taken over while {saga.kind} {claim.row.id} had it")
            if claim.row.state != to:
                history.note(tx, saga.kind, claim.row.id, claim.row.state, str(to), outcome.reason)
            _came_on(tx, saga, claim.row)  # before the effect: what that raises stays
            if outcome.effect is not None:
                outcome.effect(tx, claim.row)
            return _read(tx, saga, claim.row.id) if go_on else None

        try:
            row = self.database.run(unit, f"{saga.kind}.{claim.row.state}.finish")
        except (LeaseLost, DatabaseError):
            raise
        except Exception as error:  # as in _run: the effect refused, so nothing of it stands
            log.exception("outcome could not be written", state=claim.row.state, outcome=type(outcome).__name__)
            self._failed(saga, claim, error)
            return None
        if claim.row.state != to:
            log.info("moved", state_from=claim.row.state, state_to=str(to), reason=outcome.reason)
        return Claim(row, claim.token, following) if row is not None and following is not None else None

    def _give_back(self, saga: Saga, claim: Claim) -> None:
        """Nothing of the step could be written, by no fault of its row: its claim does not count as a crash. A disk
        that is full may yet take this much; one that does not leaves the lease to run out."""

        def unit(tx: Tx) -> None:
            due = {"due_at": tx.now + BACKOFF_SECONDS[0] * SECOND, "lease_until": 0}
            self._write(tx, saga, claim, due | {"crashes": claim.row.crashes})

        with suppress(DatabaseError, LeaseLost):
            self.database.run(unit, f"{saga.kind}.give_back")

    def _write(self, tx: Tx, saga: Saga, claim: Claim, values: dict[str, Any]) -> bool:
        """Write to a row that is still held; whether the wallet's lease is, too, where the step needs it."""
        fence = {"own_id": claim.row.id, "own_token": claim.token, "own_wakes": claim.row.wakes, "now": tx.now}
        nudged = values.pop("nudged", False)
        written = tx.execute(_writing(saga.table, tuple(sorted(values)), nudged), fence | values)
        if written.rowcount != 1:
            raise LeaseLost(f"{saga.kind} {claim.row.id}")
        if not claim.step.exclusive:
            return True
        name = wallet_lease(claim.row)
        if values["lease_until"] == 0:
            return leases.give_back(tx, name, claim.token)
        return leases.extend(tx, name, claim.token, LEASE_SECONDS)


# The statements of every step, made once: building them anew costs more than SQLite takes to run them.


@cache
def _reading(table: Table) -> Select[Any]:
    a = alarm.c
    raised = exists().where(a.name.in_(alarms.STUCK), a.subject == bindparam("own_subject"), a.open == 1)
    return select(table, raised.label("stuck")).where(table.c.id == bindparam("own_id"))


def _read(tx: Tx, saga: Saga, row_id: int) -> Row[Any] | None:
    subject = alarms.of_row(saga.kind, row_id)
    return tx.execute(_reading(saga.table), {"own_id": row_id, "own_subject": subject}).first()


@cache
def _taking(table: Table) -> Update:
    """The row's lease, if it is as it was read and free."""
    t = table.c
    free = (t.id == bindparam("own_id")) & (t.version == bindparam("own_version")) & (t.lease_until <= bindparam("now"))
    lease: dict[str, Any] = {name: bindparam(name) for name in ("lease_token", "lease_until")}
    return update(table).where(free).values(lease | {"crashes": t.crashes + 1, "version": t.version + 1})


@cache
def _writing(table: Table, names: tuple[str, ...], nudged: bool) -> Update:
    """These columns of a row that is still held under the token; `nudged`: `due_at` gives way to a wake-up."""
    t = table.c
    values: dict[str, Any] = {name: bindparam(name) for name in names}
    if nudged:
        due = bindparam("due_at", type_=t.due_at.type)
        values["due_at"] = case((t.wakes != bindparam("own_wakes"), bindparam("now", type_=t.due_at.type)), else_=due)
    held = (t.id == bindparam("own_id")) & (t.lease_token == bindparam("own_token"))
    return update(table).where(held).values(values | {"version": t.version + 1})


def _name_in_logs(row: Row[Any]) -> None:
    """What people search logs for: the public id and the transaction id, where a row has them."""
    names = {"id": getattr(row, "public_id", None) or getattr(row, "name", None), "txid": getattr(row, "txid", None)}
    structlog.contextvars.bind_contextvars(**names)


def wallet_lease(row: Row[Any]) -> str:
    """The name of the lease that serialises changes of one wallet (SPEC decision 12)."""
    return f"wallet:{row.chain}"


def _outcome_values(tx: Tx, saga: Saga, row: Row[Any], outcome: Outcome, to: str) -> dict[str, Any]:
    steps_on = saga.state(to) in saga.steps  # a state without a step is never due, whatever the outcome says
    due = None if outcome.due_us is None or not steps_on else tx.now + outcome.due_us
    return dict(outcome.values) | {
        "state": to,
        "status_reason": outcome.reason,
        "status_detail": outcome.detail,
        "due_at": due,
        "nudged": steps_on,  # a wake-up that came during the step makes the row due now, whatever is in `due_at`
        "attempts": 0,
        "crashes": 0,
        "updated_at": tx.now,
    }


def _came_on(tx: Tx, saga: Saga, row: Row[Any]) -> None:
    """Its step has an outcome: what was raised because it had none is over."""
    subject = alarms.of_row(saga.kind, row.id)
    if row.attempts:
        alarms.clear_failures(tx, subject, row.status_reason)
    if row.stuck:
        alarms.clear(tx, subject, *alarms.STUCK)


def _set_aside(tx: Tx, saga: Saga, row: Row[Any]) -> None:
    detail = f"its worker died {row.crashes} times in state {row.state}"
    subject = alarms.of_row(saga.kind, row.id)
    if row.attempts:  # nobody will know by the row what it was
        alarms.clear_failures(tx, subject, row.status_reason)
    alarms.raise_(tx, alarms.CRASHED, subject, detail)
    t = saga.table.c
    values: dict[str, Any] = {"status_reason": alarms.CRASHED, "status_detail": detail, "updated_at": tx.now}
    values["attempts"] = 0
    if saga.review is None:
        values |= {"due_at": tx.now + 60 * SECOND, "crashes": 0}
    else:
        values |= {"state": str(saga.review), "due_at": None}
        history.note(tx, saga.kind, row.id, row.state, str(saga.review), alarms.CRASHED)
    tx.execute(
        update(saga.table).where(t.id == row.id, t.version == row.version).values(values | {"version": t.version + 1})
    )


def nudge(tx: Tx, saga: Saga, condition: Any) -> int:
    """Make rows due now, also those that a worker holds at this moment; how many. One whose last step has been written
    since it was chosen has nothing to be due for."""
    t = saga.table.c
    live = t.state.in_([str(state) for state in saga.steps])
    return tx.execute(update(saga.table).where(condition, live).values(due_at=tx.now, wakes=t.wakes + 1)).rowcount


def due_rows(tx: Tx, saga: Saga, queue: str, limit: int) -> list[int]:
    """Ids of rows of a queue that are due and free, the longest due first.

    Rows in states of another version come last and few at a time: they stay due, and must not keep the others out.
    """
    t = saga.table.c
    due = (t.due_at <= tx.now) & (t.lease_until <= tx.now) & (t[saga.queue_column()] == queue)
    known = t.state.in_([str(state) for state in saga.steps])
    found: list[int] = []
    for condition, most in ((due & known, limit), (due & ~known, STRANGERS_MAX)):
        query = select(t.id).where(condition).order_by(t.due_at)
        found += [row.id for row in tx.all(query.limit(min(most, limit - len(found))))]
    return found


def next_due(tx: Tx, saga: Saga, queue: str) -> float:
    """Seconds until the queue's next row is due; infinity when none is."""
    t = saga.table.c
    soonest = tx.value(select(func.min(t.due_at)).where(t.due_at > tx.now, t[saga.queue_column()] == queue))
    return float("inf") if soonest is None else float(soonest - tx.now) / SECOND
