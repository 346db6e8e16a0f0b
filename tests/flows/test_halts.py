"""A halted chain: nothing new is reserved, signed or sent there, nothing is lost, and all goes on once it is lifted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from jobs import halting, withdrawal
from jobs.next_steps import next_steps
from ledger import halts, pauses
from ledger.db import Tx
from ledger.errors import AssetPaused, StateConflict
from ledger.schema import audit, payment
from ledger.schema import withdrawal as withdrawals
from tests.flows.engine import Engine


def halt(engine: Engine, cause: str = "operator") -> None:
    engine.database.run(lambda tx: halting.stop(tx, engine.name, cause, "a drill", "op"), "t")


def lift(engine: Engine, cause: str = "operator") -> bool:
    return engine.database.run(lambda tx: halting.lift(tx, engine.name, cause, "op"), "t")


def steps(engine: Engine, kind: str, table: Any, row_id: int) -> list[str]:
    row = engine.row(table, row_id)
    return engine.database.read(lambda tx: next_steps(tx, kind, row))


def test_withdrawals_wait_with_the_reason_and_leave_once_it_is_lifted(engine: Engine) -> None:
    account = engine.funded(1_000_000)
    payee = engine.chain.outside_address()
    row_id = engine.withdraw(account, 100_000, payee)
    halt(engine)
    engine.tick(3)
    row = engine.row(withdrawals, row_id)
    assert (row.state, row.status_reason, row.payment_id) == ("queued", "signing_halted", None)
    assert engine.rows(payment) == []
    assert any("coffer lift-halt bitcoin operator" in step for step in steps(engine, "withdrawal", withdrawals, row_id))
    assert lift(engine)
    engine.tick(2)
    engine.chain.mine(3)
    engine.tick()
    row = engine.row(withdrawals, row_id)
    assert (row.state, row.status_reason, engine.chain.received(payee)) == ("completed", None, 100_000)
    engine.check_invariants()


def test_a_reason_as_long_as_it_may_be_is_shown_cut(engine: Engine) -> None:
    """The cause is written before it, and a withdrawal has no more room than the halt has."""
    row_id = engine.withdraw(engine.funded(1_000_000), 100_000)
    why = "x" * 512
    engine.database.run(lambda tx: halting.stop(tx, engine.name, "operator", why, "op"), "t")
    engine.tick(2)
    row = engine.row(withdrawals, row_id)
    assert (row.state, row.status_reason) == ("queued", "signing_halted")
    assert row.status_detail == f"operator: {why}"[:512]


@pytest.mark.parametrize(
    ("call", "stays"), [("propose", "building"), ("hold", "building"), ("sign", "reserved"), ("fee_market", None)]
)
def test_a_halt_in_the_middle_of_a_step_stops_what_the_step_would_write(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, call: str, stays: str | None
) -> None:
    """The node has answered; what it chose or signed is not stored, and so never sent."""
    account = engine.funded(1_000_000)
    payee = engine.chain.outside_address()
    wallet = engine.services.wallet(engine.name)
    after(monkeypatch, wallet, call, lambda: halt(engine))
    row_id = engine.withdraw(account, 100_000, payee)
    engine.tick(3)
    monkeypatch.undo()
    assert [row.state for row in engine.rows(payment)] == ([] if stays is None else [stays])
    assert engine.state(row_id) == "queued"
    assert engine.chain.received(payee) == 0
    lift(engine)
    engine.tick(2)
    engine.chain.mine(3)
    engine.tick()
    assert (engine.state(row_id), engine.chain.received(payee)) == ("completed", 100_000)
    engine.check_invariants()


def after(monkeypatch: pytest.MonkeyPatch, wallet: Any, name: str, act: Callable[[], None]) -> None:
    """`act` once this method of the wallet has answered; on its first call alone."""
    real, calls = getattr(wallet, name), []

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        answer = real(*args, **kwargs)
        if not calls:
            calls.append(name)
            act()
        return answer

    monkeypatch.setattr(wallet, name, wrapped)


def test_signed_bytes_whose_intent_is_not_committed_stay_here(engine: Engine) -> None:
    """And they are not let go either: rows that may not know what was sent decide nothing."""
    row_id = signed(engine)
    halt(engine, "chain_ahead")
    engine.tick(3)
    paid = engine.payment_of(row_id)
    assert (paid.state, paid.status_reason) == ("signed", "signing_halted")
    assert engine.chain.received(engine.row(withdrawals, row_id).address) == 0
    lift(engine, "chain_ahead")
    engine.tick(2)
    assert engine.state(row_id) == "broadcast"


def signed(engine: Engine) -> int:
    """A withdrawal whose payment is signed and paused before its intent; then the pause is gone."""
    account = engine.funded(1_000_000)
    wallet = engine.services.wallet(engine.name)
    stop = lambda: engine.database.run(lambda tx: pauses.stop(tx, "BTC", "withdrawals", "a drill", "op"), "t")  # noqa: E731
    with pytest.MonkeyPatch.context() as patch:
        after(patch, wallet, "sign", stop)
        row_id = engine.withdraw(account, 100_000)
        engine.tick()
    assert engine.payment_of(row_id).state == "signed"
    engine.database.run(lambda tx: pauses.resume(tx, "BTC", "withdrawals", "op"), "t")
    return row_id


def test_what_was_sent_goes_on_to_its_end_and_is_not_bumped(engine: Engine) -> None:
    row_id = engine.withdraw(engine.funded(1_000_000), 100_000)
    engine.tick()
    halt(engine)
    paid = engine.payment_of(row_id)
    engine.database.run(lambda tx: tx.execute(payment.update().values(bump_rate=paid.rate * 2)), "t")
    engine.tick(2)
    paid = engine.payment_of(row_id)
    assert (paid.state, paid.candidates, paid.status_reason) == ("confirming", 1, "signing_halted")
    engine.chain.mine(3)
    engine.tick(2)
    assert engine.state(row_id) == "completed"
    engine.check_invariants()


def test_no_money_goes_back_while_it_may_have_been_paid_by_what_this_database_does_not_know(engine: Engine) -> None:
    """A database of yesterday shows as queued what left this morning; cancelled, it would be paid and given back."""
    row_id = engine.withdraw(engine.funded(1_000_000), 100_000)
    halt(engine, "restored")
    cancel = lambda tx: withdrawal.cancel(tx, engine.caller, row_id)  # noqa: E731
    with pytest.raises(StateConflict, match="looked into"):
        engine.database.run(cancel, "t")
    lift(engine, "restored")
    halt(engine, "operator")
    engine.database.run(cancel, "t")
    assert engine.state(row_id) == "cancelled"


def test_new_withdrawals_are_refused_and_deposits_credited(engine: Engine) -> None:
    account = engine.funded(1_000_000)
    halt(engine, "unknown_outgoing")
    with pytest.raises(AssetPaused, match="until an operator has looked"):
        engine.withdraw(account, 100_000)
    engine.funded(50_000)
    assert ("unknown_outgoing", "halt:bitcoin") in engine.alarms()
    lift(engine, "unknown_outgoing")
    assert engine.alarms() == set()
    engine.withdraw(account, 100_000)


def test_each_cause_is_lifted_by_itself_and_all_is_audited(engine: Engine) -> None:
    for cause in ("operator", "signer_record"):
        halt(engine, cause)
    assert not engine.database.run(lambda tx: halting.stop(tx, "bitcoin", "operator", "again", "op"), "t")
    lift(engine, "operator")
    assert reason(engine) == "signer_record: a drill"
    lift(engine, "signer_record")
    assert reason(engine) is None
    assert not lift(engine, "signer_record")
    acts = [(row.action, row.target) for row in engine.rows(audit)]
    assert {("halt", "bitcoin/signer_record"), ("lift_halt", "bitcoin/operator")} <= set(acts)


def reason(engine: Engine) -> str | None:
    def read(tx: Tx) -> str | None:
        return halts.reason(tx, engine.name)

    return engine.database.read(read)
