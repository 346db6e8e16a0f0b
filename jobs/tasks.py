"""Periodic work as saga rows: each task has one live state and is due again after its interval, or when woken."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Row, insert, select, update
from sqlalchemy.exc import IntegrityError

from jobs.saga import SECOND, Outcome, Saga, Step
from ledger.db import Tx
from ledger.founding import CHAINS
from ledger.schema import task


class TaskState(StrEnum):
    ACTIVE = "active"  #: due again and again


@dataclass(frozen=True, kw_only=True)
class Ran(Outcome):
    """The task did its work; `due_us` None means its own interval."""

    due_us: int | None = None


TaskFunction = Callable[[Row[Any], Any], Ran]

#: Work of each chain's own queue, in seconds between runs; the rows are named `<work>:<chain>`.
OF_A_CHAIN: dict[str, float] = {
    "scan": 5,
    "batch": 2,
    "watch": 10,
    "relock": 300,
    "reconcile": 30,
    "sync": 300,
    "sweep": 3_600,
    "hot": 60,
}

#: name -> (queue, seconds between runs) of what belongs to no chain.
SCHEDULE: dict[str, tuple[str, float]] = {
    "sequence": ("tasks", 1),
    "requests": ("tasks", 5),
    "snapshot": ("tasks", 600),
    "audit": ("tasks", 86_400),
    "heads": ("tasks", 86_400),
    "mirror": ("tasks", 10),
    "quotes": ("tasks", 10),
    "inventory": ("tasks", 60),
    "hedge": ("rates", 60),
    "rates": ("rates", 900),
    "fanout": ("webhooks", 1),
    "tidy": ("tasks", 3_600),
}


def saga(functions: dict[str, TaskFunction]) -> Saga:
    """The saga of all tasks; `functions` is keyed by the part of the name before the colon."""

    def run(row: Row[Any], services: Any) -> Outcome:
        ran = functions[row.name.partition(":")[0]](row, services)
        if ran.due_us is not None:
            return ran
        return Ran(values=ran.values, effect=ran.effect, due_us=row.interval_us, reason=ran.reason, detail=ran.detail)

    return Saga("task", task, TaskState.ACTIVE, frozenset(), {TaskState.ACTIVE: Step(run, {Ran: TaskState.ACTIVE})})


def found(tx: Tx, chains: Collection[str] = CHAINS) -> None:
    """Make the rows of all tasks that do not exist yet."""
    there = {row.name for row in tx.all(select(task.c.name))}
    wanted = SCHEDULE | {f"{work}:{chain}": (chain, every) for work, every in OF_A_CHAIN.items() for chain in chains}
    for name, (queue, seconds) in wanted.items():
        if name not in there:
            clock = {"due_at": tx.now, "created_at": tx.now, "updated_at": tx.now}
            values = {"name": name, "queue": queue, "interval_us": int(seconds * SECOND), "state": TaskState.ACTIVE}
            with suppress(IntegrityError), tx.savepoint():  # another process may make it in this very moment
                tx.execute(insert(task).values(clock | values))


def run_now(tx: Tx, name: str) -> bool:
    """Make a task due now; False when there is none of this name."""
    row_id = tx.value(select(task.c.id).where(task.c.name == name))
    if row_id is None:
        return False
    tx.execute(update(task).where(task.c.id == row_id).values(due_at=tx.now, wakes=task.c.wakes + 1))
    tx.wake("task", row_id)
    return True


def wake_all(tx: Tx, work: str) -> None:
    """Wake this work of every chain."""
    for row in tx.all(select(task.c.name).where(task.c.name.startswith(f"{work}:", autoescape=True))):
        wake(tx, row.name)


_ids: dict[tuple[str, str], int] = {}


def wake(tx: Tx, name: str) -> None:
    """Have a task run soon after this transaction commits, before its time. A hint: its interval is the guarantee."""
    key = (str(tx.connection.engine.url), name)
    if key not in _ids:
        row_id = tx.value(select(task.c.id).where(task.c.name == name))
        if row_id is None:
            return
        _ids[key] = row_id  # rows of tasks are made once and keep their id
    tx.wake("task", _ids[key])
