"""A worker that lost its lease tells the signer's record nothing, and halts nothing: another does its work by now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import update

from jobs.deposit.saga import DEPOSIT
from jobs.payment import second_line
from jobs.resolve import by_hand
from jobs.saga import Outcome
from jobs.signer import SignerRefused
from ledger.db import Tx
from ledger.errors import LeaseLost
from ledger.ids import new_token
from ledger.schema import account, deposit, lease, payment
from tests.flows.engine import Engine
from tests.flows.test_yesterdays_database import causes, stopped_at


def end_leases(engine: Engine, **more: Any) -> None:
    """As if their time were over; `more` is written to every payment."""

    def unit(tx: Tx) -> None:
        tx.execute(update(payment).values(more | {"lease_until": 0}))
        tx.execute(update(lease).values(until=0))

    engine.database.run(unit, "t")


@pytest.fixture
def taken_over_in(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """The worker sleeps once at the end of a call, for longer than its lease; another takes its row over meanwhile."""

    def arrange(owner: Any, name: str, raised: Exception | None = None) -> None:
        call = getattr(owner, name)

        def slow(*given: Any) -> Any:
            monkeypatch.setattr(owner, name, call)
            found = call(*given)
            end_leases(engine, lease_token=new_token())
            if raised is not None:
                raise raised
            return found

        monkeypatch.setattr(owner, name, slow)

    return arrange


def withdrawn(engine: Engine, state: str) -> tuple[int, int]:
    """A withdrawal, and its payment, which is in this state."""
    row_id = engine.withdraw(engine.funded(1_000_000), 100_000)
    return row_id, stopped_at(engine, row_id, state)


def entries(engine: Engine) -> list[str]:
    return [entry.kind for entry in engine.services.require_signer().record.since(0, engine.name)]


def test_bytes_of_a_worker_that_lost_its_lease_are_not_recorded(
    engine: Engine, taken_over_in: Callable[..., None]
) -> None:
    row_id, payment_id = withdrawn(engine, "reserved")
    taken_over_in(engine.services.wallet(engine.name), "sign")
    assert engine.runtime.advance("payment", payment_id) == 0
    assert entries(engine) == ["signed"]
    engine.tick(2)
    assert (engine.state(row_id), causes(engine)) == ("broadcast", set())


def test_a_worker_that_lost_its_lease_does_not_say_that_bytes_left(
    engine: Engine, taken_over_in: Callable[..., None]
) -> None:
    row_id, payment_id = withdrawn(engine, "signed")
    taken_over_in(second_line, "check")
    assert engine.runtime.advance("payment", payment_id) == 0
    assert entries(engine) == ["signed", "candidate"]
    engine.tick(2)
    assert (engine.state(row_id), causes(engine)) == ("broadcast", set())


def test_what_a_worker_that_lost_its_lease_finds_wrong_halts_nothing(
    engine: Engine, taken_over_in: Callable[..., None]
) -> None:
    """Its rows are of before: the other has let the payment go, and the record says so."""
    row_id, _ = withdrawn(engine, "signed")
    refused = SignerRefused("let_go", "this payment was let go")
    taken_over_in(engine.services.require_signer(), "check_sendable", refused)
    engine.tick(2)
    assert (engine.state(row_id), causes(engine)) == ("broadcast", set())


def test_bytes_that_a_dead_worker_recorded_are_no_riddle_while_their_payment_is_let_go(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    row_id, payment_id = withdrawn(engine, "reserved")
    signer = engine.services.require_signer()
    note = signer.note

    def recorded(*given: Any) -> Any:
        note(*given)
        raise LeaseLost("t")

    with monkeypatch.context() as patch:
        patch.setattr(signer, "note", recorded)
        engine.runtime.advance("payment", payment_id)
    assert entries(engine) == ["signed", "candidate"]
    end_leases(engine, state="releasing", declined="paused", due_at=1)
    engine.runtime.advance("payment", payment_id)
    assert (engine.row(payment, payment_id).state, causes(engine)) == ("dead", set())
    engine.tick(2)
    assert (engine.state(row_id), causes(engine)) == ("broadcast", set())


def test_a_payment_for_which_another_signer_took_the_wallet_over_is_not_written(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row is still its own: the other one works on another row, and has chosen by what this one has not changed."""
    row_id, payment_id = withdrawn(engine, "reserved")
    wallet = engine.services.wallet(engine.name)
    sign = wallet.sign

    def slow(*given: Any) -> Any:
        monkeypatch.setattr(wallet, "sign", sign)
        engine.database.run(lambda tx: tx.execute(update(lease).values(token=new_token())), "t")
        return sign(*given)

    monkeypatch.setattr(wallet, "sign", slow)
    assert engine.runtime.advance("payment", payment_id) == 0
    assert engine.row(payment, payment_id).state == "reserved"
    end_leases(engine)
    engine.tick(2)
    assert (engine.state(row_id), causes(engine)) == ("broadcast", set())


def test_a_worker_that_slept_while_a_person_decided_writes_nothing(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A held deposit is given to its owner; the step that began before would call it held again."""
    engine.set_policy(deposit_minimum_units=50_000)
    owner = engine.account()
    engine.chain.fund(engine.address(owner).address, 700, blocks=6)
    engine.tick()
    [row] = engine.rows(deposit)
    assert row.state == "ignored"
    step = DEPOSIT.steps[DEPOSIT.state(row.state)]  # type: ignore[index]
    name = engine.row(account, owner).public_id

    def slow(row: Any, services: Any) -> Outcome:
        found = step.run(row, services)
        engine.database.run(lambda tx: tx.execute(update(deposit).values(lease_until=0)), "t")
        engine.database.run(lambda tx: by_hand.credit_deposit(tx, row.public_id, name, "operator:ada"), "t")
        return found

    monkeypatch.setitem(DEPOSIT.steps, DEPOSIT.state(row.state), replace(step, run=slow))  # type: ignore[misc]
    engine.database.run(lambda tx: tx.execute(update(deposit).values(due_at=1)), "t")
    engine.runtime.advance("deposit", row.id)
    assert (engine.row(deposit, row.id).state, engine.available(owner)) == ("credited", 700)
