"""Trouble beside the money: it must not be taken for trouble with the money."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import exc

from jobs.heartbeat import Heartbeat
from ledger.db import Database, Tx
from tests.flows.engine import Engine


def test_a_wake_up_that_fails_leaves_its_commit_as_it_is(database: Database) -> None:
    """The hint goes out after the commit: an error of its own must not run the unit again, nor look like one of it."""
    runs = []

    def broken(wakes: object) -> None:
        raise exc.OperationalError("SELECT", {}, Exception("lost"), connection_invalidated=True)

    def unit(tx: Tx) -> str:
        runs.append(tx.now)
        tx.wake("task", 1)
        return "done"

    database.on_commit = broken
    assert database.run(unit, "t") == "done"
    assert len(runs) == 1


def test_leases_are_kept_again_after_any_error(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    row = engine.rows(engine.runtime.sagas["task"].table)[0]
    heartbeat, beats = Heartbeat(engine.database, 1), []  # type: ignore[var-annotated]

    def extend(tx: Tx, entry: object) -> None:
        beats.append(entry)
        if len(beats) == 1:
            raise OSError("the disk is full")

    monkeypatch.setattr(heartbeat, "_extend", extend)
    until = time.monotonic() + 10
    with heartbeat.keep(engine.runtime.sagas["task"].table, row.id, "token", None):
        while len(beats) < 3 and time.monotonic() < until:
            time.sleep(0.05)
    assert len(beats) >= 3
