"""An address of the life that was lost is given to its owner in the moment in which a deposit to it is worked on: it is
the owner's, and nobody has to look for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from jobs.backup import assign
from jobs.resolve import by_hand
from ledger import crashpoint
from ledger.errors import InvalidInput
from ledger.schema import account, address, chain, deposit, ready_address
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


def give(engine: Engine, text: str, owner: int) -> assign.Given:
    return assign.give(engine.services, text, name_of(engine, owner), "BTC", "operator:ada")


def name_of(engine: Engine, account_id: int) -> str:
    return str(engine.row(account, account_id).public_id)


def held(engine: Engine, text: str, *units: int) -> list[str]:
    """Deposits of so much to the address, held as nobody's; their public ids."""
    for each in units:
        engine.chain.fund(text, each, blocks=6)
    engine.tick()
    rows = engine.rows(deposit)
    assert [(row.state, row.status_reason) for row in rows] == [("held", "unknown_address")] * len(units)
    return [row.public_id for row in rows]


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


def test_a_deposit_whose_stories_contradict_each_other_is_not_credited_with_the_rest(engine: Engine) -> None:
    text, owner = set_aside(engine), engine.account()
    odd, good = held(engine, text, 30_000, 20_000)
    doubt = update(deposit).where(deposit.c.public_id == odd).values(suspect="balance_mismatch")
    engine.database.run(lambda tx: tx.execute(doubt), "test")
    given = give(engine, text, owner)
    assert (given.credited, given.doubtful) == ([good], [odd])
    first, second = engine.rows(deposit)
    assert (first.state, first.status_reason, first.account_id) == ("held", "balance_mismatch", owner)
    assert (second.state, engine.available(owner), engine.house("suspense")) == ("credited", 20_000, 30_000)
    other, name = name_of(engine, engine.account()), name_of(engine, owner)
    with pytest.raises(InvalidInput, match="only that account"):
        engine.database.run(lambda tx: by_hand.credit_deposit(tx, odd, other, "operator:ada"), "t")
    engine.database.run(lambda tx: by_hand.credit_deposit(tx, odd, name, "operator:ada"), "t")
    assert (engine.available(owner), engine.house("suspense")) == (50_000, 0)


def test_an_address_can_be_given_of_which_the_house_has_kept_a_deposit(engine: Engine) -> None:
    text, owner = set_aside(engine), engine.account()
    kept, good = held(engine, text, 30_000, 20_000)
    engine.database.run(lambda tx: by_hand.keep_deposit(tx, kept, "operator:ada"), "t")
    assert give(engine, text, owner).credited == [good]
    assert (engine.available(owner), engine.house("capital"), engine.house("suspense")) == (20_000, 30_000, 0)
    assert engine.rows(deposit)[0].status_reason == "kept_by_house"
    engine.check_invariants()


def test_a_deposit_that_was_credited_by_hand_stays_whose_it_is(engine: Engine) -> None:
    text, first, owner = set_aside(engine), engine.account(), engine.account()
    mine, good = held(engine, text, 30_000, 20_000)
    name = name_of(engine, first)
    engine.database.run(lambda tx: by_hand.credit_deposit(tx, mine, name, "operator:ada"), "t")
    assert give(engine, text, owner).credited == [good]
    by_hand_, given = engine.rows(deposit)
    assert (by_hand_.account_id, by_hand_.address_id) == (first, None)
    assert (given.account_id, given.address_id) == (owner, engine.rows(address)[-1].id)
    assert (engine.available(first), engine.available(owner)) == (30_000, 20_000)
    engine.check_invariants()


def test_a_deposit_that_was_credited_by_hand_and_came_again_does_not_stop_the_giving(engine: Engine) -> None:
    """It is held for the account that it was given to: only a person can say that it is another's now."""
    text, first, owner = set_aside(engine), engine.account(), engine.account()
    (mine,), name = held(engine, text, 30_000), name_of(engine, first)
    engine.database.run(lambda tx: by_hand.credit_deposit(tx, mine, name, "operator:ada"), "t")
    engine.chain.reorg(6)
    engine.tick(2)
    engine.chain.mine(6)
    engine.tick(2)
    (row,) = engine.rows(deposit)
    assert (row.state, row.account_id, row.address_id) == ("held", first, None)
    assert give(engine, text, owner).credited == []
    assert (engine.rows(deposit)[0].account_id, engine.available(owner)) == (first, 0)
