"""The brake: what pauses an asset, what is only timing, and how it goes on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from jobs.reconcile import brake, differences
from jobs.saga import SECOND
from ledger import pauses
from ledger.db import Tx
from ledger.errors import StateConflict
from ledger.schema import audit, deposit, difference, pause
from ledger.schema import chain as chains
from tests.clock import Clock
from tests.flows.engine import Engine

LOST = -300


class Missing:
    """What the wallet says it holds differs from what is there by `units`."""

    def __init__(self) -> None:
        self.units = 0


@pytest.fixture
def missing(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Missing:
    found, wallet = Missing(), engine.services.wallet("bitcoin")
    real = wallet.balance

    def balance(*args: Any) -> Any:
        held = real(*args)
        return replace(held, total_units=held.total_units + found.units)

    monkeypatch.setattr(wallet, "balance", balance)
    return found


def paused(engine: Engine) -> set[tuple[str, str]]:
    return {(row.asset, row.flow) for row in engine.rows(pause)}


def look(engine: Engine, times: int = 1) -> None:
    for _ in range(times):
        engine.run_task("reconcile")


def resume(engine: Engine, despite: str | None = None) -> None:
    def unit(tx: Tx) -> None:
        if despite is None:
            differences.check(tx, "BTC", "withdrawals")
        else:
            differences.accept(tx, "BTC", "withdrawals", despite, "operator:ann")
        pauses.resume(tx, "BTC", "withdrawals", "operator:ann")

    engine.database.run(unit, "t")


def test_a_shortfall_seen_twice_pauses_withdrawals_of_its_asset_alone(engine: Engine, missing: Missing) -> None:
    account = engine.funded(1_000_000)
    missing.units = LOST
    look(engine)
    assert paused(engine) == set()
    assert ("reconciliation", "reconcile:BTC") in engine.alarms()
    look(engine)
    assert paused(engine) == {("BTC", "withdrawals")}
    why = engine.database.read(lambda tx: pauses.reason(tx, "BTC", "withdrawals"))
    assert "-300 units on chain are unexplained" in str(why)
    engine.chain.fund(engine.address(account).address, 50_000, blocks=6)
    engine.tick(2)
    assert engine.available(account) == 1_050_000  # what comes in goes on


def test_one_look_is_enough_where_nothing_can_be_on_the_move(engine: Engine, missing: Missing) -> None:
    engine.funded(1_000_000)
    engine.chain.mine(110)
    engine.tick()  # the deposit is final
    missing.units = LOST
    look(engine)
    assert paused(engine) == {("BTC", "withdrawals")}


def test_a_block_that_the_rows_do_not_know_yet_is_timing_for_minutes_and_no_longer(
    engine: Engine, missing: Missing, clock: Clock
) -> None:
    engine.funded(1_000_000)
    engine.chain.mine(1)
    missing.units = LOST
    look(engine, 3)
    assert paused(engine) == set()
    for_minutes(engine, clock)
    assert paused(engine) == {("BTC", "withdrawals")}


def for_minutes(engine: Engine, clock: Clock, every_us: int = 100 * SECOND) -> None:
    """Looks so far apart, until what was seen before has stood for long enough."""
    for _ in range(-(-brake.STANDS_US // every_us)):
        clock.forward(seconds=every_us // SECOND)
        read_again(engine)
        look(engine)


def test_looks_that_are_minutes_apart_do_not_tell_that_a_difference_stood(
    engine: Engine, missing: Missing, clock: Clock
) -> None:
    """Workers that were stopped in between: reorganisations that the rows had not read yet, each for itself."""
    engine.funded(1_000_000)
    engine.chain.mine(1)
    missing.units = LOST
    look(engine, 5)
    missing.units = LOST * 20
    for_minutes(engine, clock, every_us=brake.UNSEEN_US + SECOND)
    assert paused(engine) == set()
    for_minutes(engine, clock)
    assert paused(engine) == {("BTC", "withdrawals")}


def test_a_loss_that_grows_with_every_block_is_one_that_stands(engine: Engine, missing: Missing, clock: Clock) -> None:
    engine.funded(1_000_000)
    for missing.units in (LOST, LOST - 1):
        engine.chain.mine(1)
        look(engine)
    assert paused(engine) == set()
    for _ in range(brake.STANDS_US // brake.AGAIN_US):
        clock.forward(seconds=brake.AGAIN_US // SECOND)
        read_again(engine)
        missing.units -= 1
        look(engine)
    assert paused(engine) == {("BTC", "withdrawals")}


def test_too_little_after_too_much_begins_anew(engine: Engine, missing: Missing, clock: Clock) -> None:
    engine.funded(1_000_000)
    engine.chain.mine(1)
    missing.units = 300
    look(engine)
    clock.forward(seconds=brake.UNSEEN_US // SECOND)
    read_again(engine)
    missing.units = LOST
    look(engine)
    clock.forward(seconds=(brake.STANDS_US - brake.UNSEEN_US) // SECOND)
    read_again(engine)
    look(engine)
    assert paused(engine) == set()


@pytest.mark.parametrize("ill", [{"health_reason": "syncing"}, {"scanned_at": 0}], ids=["behind", "unread"])
def test_what_an_ill_node_says_is_no_proof(engine: Engine, missing: Missing, clock: Clock, ill: dict[str, Any]) -> None:
    """A node that lost its last blocks shows less for as long as it takes."""
    engine.funded(1_000_000)
    missing.units = LOST
    look(engine)
    for _ in range(2):
        clock.forward(seconds=brake.STANDS_US // SECOND + 1)
        read_again(engine, **ill)
        look(engine)
    assert paused(engine) == set()
    read_again(engine, health_reason=None)
    look(engine)
    for_minutes(engine, clock)
    assert paused(engine) == {("BTC", "withdrawals")}


def read_again(engine: Engine, **values: Any) -> None:
    """The chain was read just now, and the rows do not know its newest block."""

    def unit(tx: Tx) -> None:
        tx.execute(chains.update().where(chains.c.name == "bitcoin").values({"scanned_at": tx.now} | values))

    engine.database.run(unit, "t")


def test_an_undo_that_was_put_off_has_not_been_done(engine: Engine, missing: Missing) -> None:
    """Its node failed: the row is due later, and the books still have what it is to undo."""
    row = engine.deposit_of(engine.funded(1_000_000))
    missing.units = LOST
    put_off(engine, row.id, attempts=1)
    look(engine, 3)
    assert paused(engine) == set()
    put_off(engine, row.id, attempts=0)
    look(engine, 2)
    assert paused(engine) == {("BTC", "withdrawals")}


def test_an_undo_that_waits_for_a_clock_that_was_set_back_has_not_been_done(engine: Engine, missing: Missing) -> None:
    """The row was made due by an hour that has not come yet; its coin is seen in no block."""
    row = engine.deposit_of(engine.funded(1_000_000))
    missing.units = LOST
    put_off(engine, row.id, attempts=0, seen="gone")
    look(engine, 3)
    assert paused(engine) == set()
    put_off(engine, row.id, attempts=0, seen="confirmed")
    look(engine, 2)
    assert paused(engine) == {("BTC", "withdrawals")}


def put_off(engine: Engine, deposit_id: int, attempts: int, **more: str) -> None:
    def unit(tx: Tx) -> None:
        later = {"attempts": attempts, "due_at": tx.now + 3600 * SECOND} | more
        tx.execute(deposit.update().where(deposit.c.id == deposit_id).values(later))

    engine.database.run(unit, "t")


class Sent:
    """A payment that was sent and that the pool has forgotten, on a node that counts as Bitcoin Core does."""

    def __init__(self, engine: Engine, account: int) -> None:
        self.row_id = engine.withdraw(account, 100_000)
        engine.tick()
        self.payment = engine.payment_of(self.row_id)
        self.inputs = engine.chain.transaction(self.payment.txid).inputs
        engine.chain.evict(self.payment.txid)

    def units(self, engine: Engine) -> int:
        with engine.chain.state() as s:
            outputs = [s.output(outpoint) for outpoint in self.inputs]
        return sum(output.units for output in outputs if output is not None)


def test_a_payment_of_ours_that_fell_out_of_the_pool_is_told_and_pauses_nothing(
    engine: Engine, missing: Missing, clock: Clock
) -> None:
    """Its inputs count as spent and its change as nothing, until it is sent again."""
    sent = Sent(engine, engine.funded(1_000_000))
    assert sent.units(engine) == 1_000_000
    missing.units = -sent.units(engine)
    look(engine, 3)
    assert ("reconciliation", "reconcile:BTC") in engine.alarms()
    clock.forward(seconds=brake.STANDS_US // SECOND + 1)
    read_again(engine)
    look(engine, 2)
    assert paused(engine) == set()
    engine.tick()  # sent again
    assert sent.payment.txid in engine.chain.pool
    missing.units = 0
    look(engine, 2)
    assert (paused(engine), engine.alarms()) == (set(), set())


def test_more_than_a_lost_payment_explains_is_missing(engine: Engine, missing: Missing) -> None:
    sent = Sent(engine, engine.funded(1_000_000))
    missing.units = -sent.units(engine)
    look(engine, 3)
    assert paused(engine) == set()
    missing.units -= 1
    look(engine)
    assert paused(engine) == set()
    look(engine)
    assert paused(engine) == {("BTC", "withdrawals")}


def test_what_is_missing_still_when_the_payment_is_back_is_lost(engine: Engine, missing: Missing) -> None:
    sent = Sent(engine, engine.funded(1_000_000))
    missing.units = LOST
    look(engine, 3)
    assert paused(engine) == set()
    engine.tick()
    assert sent.payment.txid in engine.chain.pool
    look(engine, 2)
    assert paused(engine) == {("BTC", "withdrawals")}


def test_where_a_lost_payment_spends_change_no_shortfall_is_judged(engine: Engine, missing: Missing) -> None:
    """What our change was worth stands in no row."""
    account = engine.funded(1_000_000)
    engine.withdraw(account, 100_000)
    engine.tick()
    engine.chain.mine(6)
    engine.tick()
    sent = Sent(engine, account)
    missing.units = -2 * sent.units(engine)
    look(engine, 3)
    assert paused(engine) == set()
    engine.tick()
    look(engine, 2)
    assert paused(engine) == {("BTC", "withdrawals")}


def test_a_surplus_beside_a_lost_payment_is_judged_as_ever(engine: Engine, missing: Missing, clock: Clock) -> None:
    Sent(engine, engine.funded(1_000_000))
    missing.units = 300
    look(engine, 2)
    clock.forward(seconds=brake.SURPLUS_US // SECOND + 1)
    look(engine)
    assert paused(engine) == {("BTC", "withdrawals")}


def test_a_difference_that_goes_away_or_changes_begins_anew(engine: Engine, missing: Missing) -> None:
    engine.funded(1_000_000)
    for missing.units in (LOST, 0, LOST, LOST - 1):
        look(engine)
    assert paused(engine) == set()
    look(engine)
    assert paused(engine) == {("BTC", "withdrawals")}


def test_a_surplus_harms_nobody_at_once(engine: Engine, missing: Missing, clock: Clock) -> None:
    engine.funded(1_000_000)
    missing.units = 300
    look(engine, 3)
    assert paused(engine) == set()
    clock.forward(seconds=brake.SURPLUS_US // SECOND + 1)
    look(engine)
    assert paused(engine) == {("BTC", "withdrawals")}


def test_it_resumes_only_once_the_difference_is_gone(engine: Engine, missing: Missing) -> None:
    row_id = engine.withdraw(engine.funded(1_000_000), 100_000)
    missing.units = LOST
    look(engine, 2)
    with pytest.raises(StateConflict, match="despite-difference"):
        resume(engine)
    engine.tick()
    assert engine.state(row_id) == "queued"
    missing.units = 0
    look(engine)
    resume(engine)
    engine.tick()
    assert engine.state(row_id) == "broadcast"


def test_an_operator_lets_this_difference_stand_and_no_other(engine: Engine, missing: Missing) -> None:
    row_id = engine.withdraw(engine.funded(1_000_000), 100_000)
    missing.units = LOST
    look(engine, 2)
    resume(engine, despite="paid by hand, booked next month")
    engine.tick(2)
    assert engine.state(row_id) == "broadcast"
    assert ("accept_difference", "operator:ann") in {(row.action, row.actor) for row in engine.rows(audit)}
    missing.units = LOST - 1
    look(engine, 2)
    assert paused(engine) == {("BTC", "withdrawals")}
    missing.units = 0
    look(engine)
    resume(engine)
    assert engine.rows(difference) == []  # the same amount would be a new loss
    missing.units = LOST
    look(engine, 2)
    assert paused(engine) == {("BTC", "withdrawals")}


def test_a_reorganisation_that_the_books_have_not_undone_yet_is_timing(engine: Engine) -> None:
    """The scan has written the new tip; the deposit's own step has not taken the credit back."""
    account = engine.funded(1_000_000)
    engine.chain.reorg(7, gone=[engine.deposit_of(account).txid])
    engine.run_task("scan")
    look(engine, 3)
    assert ("reconciliation", "reconcile:BTC") in engine.alarms()
    assert paused(engine) == set()
    engine.tick(2)
    look(engine, 2)
    assert paused(engine) == set()
    assert engine.alarms() == set()
    assert engine.available(account) == 0
