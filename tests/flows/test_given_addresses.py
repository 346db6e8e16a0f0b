"""An address of the life that was lost is given to its owner in the moment in which a deposit to it is worked on: it is
the owner's, and nobody has to look for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import insert, select

from jobs.backup import assign
from ledger import crashpoint
from ledger.schema import account, chain, deposit, ready_address
from tests.flows.engine import Engine
from tests.flows.lock_waits import PATIENCE_SECONDS, server_of, until_over_or_waiting

#: Given out in the lost life, for all that the rows say.
INDEX = 77


def set_aside(engine: Engine) -> str:
    """The address of an index that a restore set aside."""
    key = engine.database.read(lambda tx: tx.value(select(chain.c.account_public_key).where(chain.c.name == "bitcoin")))
    text = engine.books.at(key, INDEX)
    made = insert(ready_address).values(chain="bitcoin", idx=INDEX, address=text)
    engine.database.run(lambda tx: tx.execute(made), "test")
    return text


def give(engine: Engine, text: str, owner: int) -> None:
    assign.give(engine.services, text, engine.row(account, owner).public_id, "BTC", "operator:ada")


def before(engine: Engine, patch: pytest.MonkeyPatch, unit_name: str, do: Callable[[], None]) -> None:
    """Have this done once, after a step has judged and before what it found is written."""
    real = engine.database.run

    def run(unit: Callable[..., Any], name: str) -> Any:
        if name == unit_name:
            patch.undo()
            do()
        return real(unit, name)

    patch.setattr(engine.database, "run", run)


def check_credited(engine: Engine, owner: int) -> None:
    engine.tick()
    (row,) = engine.rows(deposit)
    assert (row.state, row.account_id) == ("credited", owner)
    assert (engine.available(owner), engine.house("suspense")) == (20_000, 0)
    engine.check_invariants()


def test_a_deposit_that_was_judged_as_nobodys_before_its_address_was_given_is_credited(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, owner = set_aside(engine), engine.account()
    engine.chain.fund(text, 20_000, blocks=6)
    engine.run_task("scan")
    (row,) = engine.rows(deposit)
    before(engine, monkeypatch, "deposit.confirming.finish", lambda: give(engine, text, owner))
    engine.runtime.advance("deposit", row.id)
    check_credited(engine, owner)


def test_a_deposit_that_is_found_while_its_address_is_being_given_is_credited(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    server = server_of(engine.database, request)
    text, owner = set_aside(engine), engine.account()
    engine.chain.fund(text, 20_000, blocks=6)
    written, found = threading.Event(), threading.Event()

    def hear(name: str) -> None:
        if name == "quarantine_give.before_commit":
            written.set()
            until_over_or_waiting(server, found.is_set)

    giver = threading.Thread(target=lambda: give(engine, text, owner))

    def begin() -> None:
        giver.start()
        assert written.wait(PATIENCE_SECONDS)

    before(engine, monkeypatch, "task.active.finish", begin)
    crashpoint.listen(hear)
    try:
        engine.run_task("scan")
        found.set()
        giver.join(PATIENCE_SECONDS)
    finally:
        crashpoint.listen(None)
    assert not giver.is_alive()
    check_credited(engine, owner)
