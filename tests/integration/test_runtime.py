"""The saga runtime on real databases: one worker a row, fenced writes, waits in the row, and no wake-up lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import pytest
from sqlalchemy import Row, insert, select, text, update

from jobs import alarms, leases, runtime, tasks
from jobs.runtime import BACKOFF_SECONDS, CRASHES_MAX, Runtime, nudge
from jobs.saga import SECOND, Outcome, Saga, Step
from jobs.sweeper import LOOK_MAX, Sweeper
from ledger import pauses
from ledger.db import Database, Tx
from ledger.errors import InsufficientFunds, LedgerBroken, NodeNotReady, NodeUnavailable
from ledger.ids import new_id
from ledger.schema import alarm, lease, payment, task, transition
from tests.ledger_books import unique

DEADLINE_SECONDS = 60


class State(StrEnum):
    """Words that the payment table admits, for a flow of our own on it."""

    BUILDING = "building"
    SIGNED = "signed"
    SETTLED = "settled"
    REVIEW = "review"
    DEAD = "dead"


class Went(Outcome):
    """On to the next state."""


class Stayed(Outcome):
    """Not yet."""


@dataclass
class Rig:
    """A flow of two steps whose bodies a test replaces."""

    database: Database
    first: Callable[[Row[Any], Any], Outcome] = lambda row, services: Went()
    second: Callable[[Row[Any], Any], Outcome] = lambda row, services: Went()
    exclusive: bool = False
    review: State | None = State.REVIEW
    chain: str = field(default_factory=lambda: unique()[:12])

    def __post_init__(self) -> None:
        self.runtime = self.new_runtime()

    def new_runtime(self) -> Runtime:
        """As another process would have."""
        steps = {
            State.BUILDING: Step(lambda r, s: self.first(r, s), {Went: State.SIGNED, Stayed: State.BUILDING},
                                 exclusive=self.exclusive),
            State.SIGNED: Step(lambda r, s: self.second(r, s), {Went: State.SETTLED, Stayed: State.SIGNED}),
        }  # fmt: skip
        resting = frozenset({State.REVIEW, State.DEAD})
        self.saga = Saga("payment", payment, State.BUILDING, frozenset({State.SETTLED}), steps, self.review, resting)
        return Runtime(self.database, {"payment": self.saga}, None)

    def row(self, **values: Any) -> int:
        def unit(tx: Tx) -> int:
            given = {
                "public_id": new_id("pay"),
                "chain": self.chain,
                "asset": "BTC",
                "purpose": "withdrawal",
                "fee_asset": "BTC",
            }
            saga = {"units": 1, "rate": 1, "rate_max": 1, "state": "building", "due_at": tx.now}
            clock = {"created_at": tx.now, "updated_at": tx.now}
            return tx.insert(insert(payment).values(given | saga | clock | values))

        return self.database.run(unit, "test_row")

    def read(self, row_id: int) -> Row[Any]:
        return self.database.read(lambda tx: tx.one(select(payment).where(payment.c.id == row_id)))

    def change(self, row_id: int, **values: Any) -> None:
        where = payment.c.id == row_id
        self.database.run(lambda tx: tx.execute(update(payment).where(where).values(**values)), "test_change")

    def history(self, row_id: int) -> list[tuple[str, str]]:
        t = transition.c
        query = select(t.from_state, t.to_state).where(t.kind == "payment", t.row_id == row_id).order_by(t.id)
        return [(row.from_state, row.to_state) for row in self.database.read(lambda tx: tx.all(query))]

    def alarms(self, row_id: int) -> list[str]:
        a = alarm.c
        query = select(a.name).where(a.subject == f"payment:{row_id}", a.open == 1)
        return [row.name for row in self.database.read(lambda tx: tx.all(query))]

    def raised(self, row_id: int, name: str) -> None:
        self.database.run(lambda tx: alarms.raise_(tx, name, f"payment:{row_id}", "t"), "test_alarm")


@pytest.fixture
def rig(shared_database: Database) -> Rig:
    return Rig(shared_database)


def failing(error: Exception) -> Callable[[Row[Any], Any], Outcome]:
    def step(row: Row[Any], services: Any) -> Outcome:
        raise error

    return step


def wait_for(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.01)


def run_in_threads(*calls: Callable[[], Any]) -> list[threading.Thread]:
    threads = [threading.Thread(target=call, daemon=True) for call in calls]
    for thread in threads:
        thread.start()
    return threads


def join(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.join(DEADLINE_SECONDS)
        assert not thread.is_alive()


def test_a_row_goes_through_its_states_in_one_go(rig: Rig) -> None:
    row_id = rig.row()
    rig.second = lambda row, services: Went(due_us=None, values={"txid": "aa"}, reason="done")
    assert rig.runtime.advance("payment", row_id) == 2
    row = rig.read(row_id)
    assert (row.state, row.txid, row.status_reason, row.due_at, row.crashes) == ("settled", "aa", "done", None, 0)
    assert rig.history(row_id) == [("building", "signed"), ("signed", "settled")]
    assert rig.runtime.advance("payment", row_id) == 0


def test_eight_threads_run_a_step_once(rig: Rig) -> None:
    """FAULTS H1, B5: the same wake-up, delivered eight times at once."""
    ran: list[int] = []

    def step(row: Row[Any], _: Any) -> Outcome:
        ran.append(row.id)
        time.sleep(0.05)
        return Went(due_us=None)

    rig.first = step
    row_ids, start = [rig.row() for _ in range(5)], threading.Barrier(8)
    workers = [rig.new_runtime() for _ in range(8)]

    def work(own: Runtime) -> None:
        start.wait()
        for row_id in row_ids:
            own.advance("payment", row_id)

    join(run_in_threads(*(lambda w=w: work(w) for w in workers)))
    assert sorted(ran) == row_ids
    assert [rig.history(row_id) for row_id in row_ids] == [[("building", "signed")]] * 5


def test_a_paused_workers_write_hits_nothing(rig: Rig) -> None:
    """FAULTS B6: it slept through its lease, another took over and finished; its own outcome must not count."""
    row_id, entered, go_on, results = rig.row(), threading.Event(), threading.Event(), list[int]()
    effects: list[str] = []

    def slow(row: Row[Any], _: Any) -> Outcome:
        entered.set()
        go_on.wait(DEADLINE_SECONDS)
        return Went(due_us=None, values={"txid": "slow"}, effect=lambda tx, r: effects.append("slow"))

    rig.first = slow
    sleeper = run_in_threads(lambda: results.append(rig.runtime.advance("payment", row_id)))
    assert entered.wait(DEADLINE_SECONDS)
    rig.change(row_id, lease_until=0)  # its heartbeat stood still too, as under SIGSTOP
    rig.first = lambda row, services: Went(due_us=None, values={"txid": "quick"})
    assert rig.new_runtime().advance("payment", row_id) == 1
    go_on.set()
    join(sleeper)
    assert results == [0]
    assert effects == []
    row = rig.read(row_id)
    assert (row.state, row.txid) == ("signed", "quick")
    assert rig.history(row_id) == [("building", "signed")]


def test_a_stale_failure_is_fenced_too(rig: Rig) -> None:
    row_id, entered, go_on = rig.row(), threading.Event(), threading.Event()

    def slow(row: Row[Any], _: Any) -> Outcome:
        entered.set()
        go_on.wait(DEADLINE_SECONDS)
        raise NodeUnavailable("late")

    rig.first = slow
    sleeper = run_in_threads(lambda: rig.runtime.advance("payment", row_id))
    assert entered.wait(DEADLINE_SECONDS)
    rig.change(row_id, lease_until=0)
    rig.first = lambda row, services: Went(due_us=None)
    rig.new_runtime().advance("payment", row_id)
    go_on.set()
    join(sleeper)
    assert (rig.read(row_id).attempts, rig.read(row_id).status_reason) == (0, None)


def test_a_slow_step_keeps_its_lease(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "LEASE_SECONDS", 1)
    rig.exclusive = True
    slow, other = rig.new_runtime(), rig.new_runtime()
    row_id, entered, go_on, ran = rig.row(), threading.Event(), threading.Event(), list[int]()

    def step(row: Row[Any], _: Any) -> Outcome:
        ran.append(1)
        entered.set()
        go_on.wait(DEADLINE_SECONDS)
        return Went(due_us=None)

    rig.first = step
    thread = run_in_threads(lambda: slow.advance("payment", row_id))
    assert entered.wait(DEADLINE_SECONDS)
    taken = rig.read(row_id).lease_until
    wallet = select(lease.c.until).where(lease.c.name == f"wallet:{rig.chain}")
    wait_for(lambda: rig.read(row_id).lease_until > taken + 2 * SECOND)  # two terms later it is still held
    assert rig.database.read(lambda tx: tx.value(wallet) > tx.now)
    assert other.advance("payment", row_id) == 0
    go_on.set()
    join(thread)
    assert ran == [1]
    assert rig.read(row_id).state == "signed"
    assert rig.database.read(lambda tx: tx.value(wallet)) == 0


def test_a_dead_workers_row_is_taken_over_when_its_lease_ends(rig: Rig) -> None:
    row_id = rig.row()
    rig.database.run(lambda tx: rig.runtime._claim(tx, rig.saga, row_id, False), "test_claim")  # and then it died
    assert rig.new_runtime().advance("payment", row_id) == 0
    assert rig.read(row_id).crashes == 1
    rig.change(row_id, lease_until=1)
    rig.second = lambda row, services: Went(due_us=None)
    assert rig.new_runtime().advance("payment", row_id) == 2
    assert (rig.read(row_id).state, rig.read(row_id).crashes) == ("settled", 0)


def test_a_row_that_has_come_to_its_end_is_not_nudged(rig: Rig) -> None:
    """Who nudges has chosen it before: it may have ended since, and would stay due in a state that has no step."""
    row_id = rig.row(state="final", due_at=None)
    assert rig.database.run(lambda tx: nudge(tx, rig.saga, payment.c.id == row_id), "test_nudge") == 0
    assert rig.read(row_id).due_at is None


@pytest.mark.parametrize("due_us", [3600 * SECOND, None], ids=["resting", "waiting for news only"])
def test_a_nudge_during_a_step_is_not_lost(rig: Rig, due_us: int | None) -> None:
    """The block arrives while the row is being looked at: it must be looked at again."""
    row_id, seen = rig.row(), list[int]()

    def step(row: Row[Any], _: Any) -> Outcome:
        seen.append(1)
        if len(seen) == 1:
            rig.database.run(lambda tx: nudge(tx, rig.saga, payment.c.id == row_id), "test_nudge")
        return Stayed(due_us=due_us)

    rig.first = step
    rig.runtime.advance("payment", row_id)
    assert rig.read(row_id).due_at <= rig.database.now()
    rig.runtime.advance("payment", row_id)
    assert len(seen) == 2
    due_at = rig.read(row_id).due_at
    assert due_at is None if due_us is None else due_at > rig.database.now()


@pytest.mark.parametrize("error", [NodeUnavailable("down"), NodeNotReady("syncing")])
def test_a_node_that_is_away_is_tried_ever_more_slowly(rig: Rig, error: Exception) -> None:
    """SPEC: 5, 10, 20, 20 … seconds, for ever; an alarm from the third on; it never fails the row."""
    row_id = rig.row()

    def step(row: Row[Any], _: Any) -> Outcome:
        raise error

    rig.first = step
    for attempt in range(1, 7):
        before = rig.database.now()
        assert rig.runtime.advance("payment", row_id) == 1
        row, wait = rig.read(row_id), BACKOFF_SECONDS[min(attempt, 3) - 1] * SECOND
        assert before + wait <= row.due_at <= rig.database.now() + wait
        assert (row.state, row.attempts, row.crashes, row.lease_until) == ("building", attempt, 0, 0)
        assert row.status_detail == error.args[0]
        assert bool(rig.alarms(row_id)) == (attempt >= 3)
        assert rig.runtime.advance("payment", row_id) == 0  # not before it is due
        rig.change(row_id, due_at=1)
    rig.first = lambda row, services: Went(due_us=None)
    assert rig.runtime.advance("payment", row_id) == 1
    row = rig.read(row_id)
    assert (row.attempts, row.status_reason, rig.alarms(row_id)) == (0, None, [])


def test_a_fault_of_ours_waits_and_is_alarmed_at_once(rig: Rig) -> None:
    row_id = rig.row()

    def step(row: Row[Any], _: Any) -> Outcome:
        raise ZeroDivisionError("secret text")

    rig.first = step
    assert rig.runtime.advance("payment", row_id) == 1
    row = rig.read(row_id)
    assert (row.state, row.status_reason, row.status_detail) == ("building", "internal_error", "ZeroDivisionError")
    assert rig.alarms(row_id) == ["internal_error"]


def test_an_effect_that_is_refused_leaves_nothing(rig: Rig) -> None:
    row_id = rig.row()

    def effect(tx: Tx, row: Row[Any]) -> None:
        tx.execute(text("UPDATE payment SET txid = 'half' WHERE id = :i"), {"i": row.id})
        raise InsufficientFunds("no")

    rig.first = lambda row, services: Went(effect=effect, values={"height": 7})
    assert rig.runtime.advance("payment", row_id) == 1
    row = rig.read(row_id)
    assert (row.state, row.txid, row.height, row.attempts) == ("building", None, None, 1)
    assert rig.history(row_id) == []
    assert row.due_at > rig.database.now()


def test_a_broken_ledger_stops_the_asset(database: Database) -> None:
    rig = Rig(database)

    def effect(tx: Tx, row: Row[Any]) -> None:
        raise LedgerBroken("impossible")

    rig.first = lambda row, services: Went(effect=effect)
    rig.runtime.advance("payment", rig.row())
    assert "impossible" in (rig.database.read(lambda tx: pauses.reason(tx, "BTC", "withdrawals")) or "")


def test_a_wake_up_during_a_step_is_not_lost(rig: Rig) -> None:
    row_id, seen = rig.row(), list[int]()

    def step(row: Row[Any], _: Any) -> Outcome:
        seen.append(1)
        if len(seen) == 1:
            assert rig.new_runtime().advance("payment", row_id, woken=True) == 0
        return Stayed(due_us=3600 * SECOND)

    rig.first = step
    rig.runtime.advance("payment", row_id)
    rig.runtime.advance("payment", row_id)
    assert len(seen) == 2


def test_a_row_that_keeps_killing_its_worker_is_set_aside(rig: Rig) -> None:
    """FAULTS A16: others proceed, the hold stays, a person looks."""
    row_id = rig.row(crashes=CRASHES_MAX)
    rig.first = lambda row, services: pytest.fail("it must not run again")
    assert rig.runtime.advance("payment", row_id) == 0
    row = rig.read(row_id)
    assert (row.state, row.due_at, row.status_reason) == ("review", None, "crashed_repeatedly")
    assert rig.history(row_id) == [("building", "review")]
    assert rig.alarms(row_id) == ["crashed_repeatedly"]


def test_without_a_review_state_it_rests_a_minute(rig: Rig) -> None:
    rig.review = None
    own = rig.new_runtime()
    row_id = rig.row(crashes=CRASHES_MAX)
    assert own.advance("payment", row_id) == 0
    row = rig.read(row_id)
    assert (row.state, row.crashes) == ("building", 0)
    assert row.due_at > rig.database.now() + 30 * SECOND


def test_what_was_raised_of_a_row_that_did_not_come_on_is_over_when_it_does(rig: Rig) -> None:
    """Also where an outage came in between, and whatever it had failed with before its workers died."""
    rig.review = None
    own = rig.new_runtime()
    row_id = rig.row(crashes=CRASHES_MAX, attempts=3, status_reason="rate_unavailable")
    rig.raised(row_id, "rate_unavailable")
    own.advance("payment", row_id)
    assert (rig.alarms(row_id), rig.read(row_id).attempts) == (["crashed_repeatedly"], 0)
    rig.first = failing(NodeUnavailable("down"))
    own.advance("payment", row_id, woken=True)
    assert rig.alarms(row_id) == ["crashed_repeatedly"]
    rig.first = lambda row, services: Stayed(due_us=3600 * SECOND)
    own.advance("payment", row_id, woken=True)
    assert rig.alarms(row_id) == []


def test_a_state_that_is_known_again_is_strange_no_more(rig: Rig) -> None:
    row_id = rig.row(state="bumping")
    rig.runtime.advance("payment", row_id)
    assert rig.alarms(row_id) == ["unknown_state"]
    rig.change(row_id, state="building")  # as the version that knows both would leave it
    rig.first = lambda row, services: Stayed(due_us=3600 * SECOND)
    rig.runtime.advance("payment", row_id)
    assert rig.alarms(row_id) == []


def test_what_a_step_raises_with_its_outcome_stays(rig: Rig) -> None:
    row_id = rig.row(attempts=3, status_reason="node_unavailable")
    rig.raised(row_id, "node_unavailable")

    def tell(tx: Tx, row: Row[Any]) -> None:
        alarms.raise_(tx, "node_unavailable", f"payment:{row.id}", "of another kind")

    rig.first = lambda row, services: Stayed(due_us=3600 * SECOND, effect=tell)
    rig.runtime.advance("payment", row_id)
    assert rig.alarms(row_id) == ["node_unavailable"]


def test_a_state_of_another_version_is_left_alone(rig: Rig) -> None:
    """FAULTS A17: skipped with an alarm, never a default branch; the other rows go on."""
    strange, plain = rig.row(state="bumping"), rig.row()
    before = rig.read(strange)
    rig.first = lambda row, services: Went(due_us=None)
    assert Sweeper(rig.runtime, rig.chain).sweep() == 1
    after = rig.read(strange)
    assert (after.state, after.due_at, after.version) == (before.state, before.due_at, before.version)
    assert rig.alarms(strange) == ["unknown_state"]
    assert rig.read(plain).state == "signed"


def test_rows_of_another_version_do_not_starve_the_rest(rig: Rig) -> None:
    for _ in range(LOOK_MAX + 5):
        rig.row(state="bumping", due_at=1)
    plain = rig.row()
    rig.first = lambda row, services: Went(due_us=None)
    sweeper = Sweeper(rig.runtime, rig.chain)
    for _ in range(3):
        sweeper.sweep()
    assert rig.read(plain).state == "signed"


def test_an_unknown_row_is_nothing_to_do(rig: Rig) -> None:
    assert rig.runtime.advance("payment", 10**12) == 0


def test_one_wallets_exclusive_steps_never_overlap(rig: Rig) -> None:
    """SPEC decision 12: one signer a wallet at a time, whatever the number of workers; none is left out."""
    rig.exclusive = True
    inside, most, guard = 0, list[int](), threading.Lock()

    def step(row: Row[Any], _: Any) -> Outcome:
        nonlocal inside
        with guard:
            inside += 1
            most.append(inside)
        time.sleep(0.02)
        with guard:
            inside -= 1
        return Went(due_us=None)

    rig.first = step
    row_ids = [rig.row() for _ in range(8)]
    workers = [rig.new_runtime() for _ in row_ids]

    def work(own: Runtime, row_id: int) -> None:
        wait_for(lambda: own.advance("payment", row_id) or rig.read(row_id).state == "signed")

    join(run_in_threads(*(lambda w=w, i=i: work(w, i) for w, i in zip(workers, row_ids, strict=True))))
    assert most == [1] * 8
    assert {rig.read(row_id).state for row_id in row_ids} == {"signed"}


def test_two_wallets_exclusive_steps_may_overlap(rig: Rig) -> None:
    other = Rig(rig.database, exclusive=True)
    rig.exclusive = True
    both, meet = [rig.new_runtime(), other.new_runtime()], threading.Barrier(2)

    def step(row: Row[Any], _: Any) -> Outcome:
        meet.wait(DEADLINE_SECONDS)  # only passes when the two are inside together
        return Went(due_us=None)

    rig.first = other.first = step
    ids = [rig.row(), other.row()]
    join(run_in_threads(*(lambda w=w, i=i: w.advance("payment", i) for w, i in zip(both, ids, strict=True))))
    assert (rig.read(ids[0]).state, other.read(ids[1]).state) == ("signed", "signed")


def test_a_failed_exclusive_step_gives_the_wallet_back(rig: Rig) -> None:
    rig.exclusive = True
    own = rig.new_runtime()

    def step(row: Row[Any], _: Any) -> Outcome:
        raise NodeUnavailable("down")

    rig.first = step
    own.advance("payment", rig.row())
    rig.first = lambda row, services: Went(due_us=None)
    assert own.advance("payment", rig.row()) == 1


def test_a_lease_is_one_holders_until_it_ends(shared_database: Database) -> None:
    name, tries = unique(), [unique() for _ in range(8)]
    start, won = threading.Barrier(8), list[str]()

    def take(token: str) -> None:
        start.wait()
        if shared_database.run(lambda tx: leases.take(tx, name, token, "me", 60), "test_lease"):
            won.append(token)

    join(run_in_threads(*(lambda t=t: take(t) for t in tries)))
    assert len(won) == 1
    loser = next(t for t in tries if t != won[0])
    run = shared_database.run
    assert not run(lambda tx: leases.extend(tx, name, loser, 60), "test_lease")
    run(lambda tx: leases.give_back(tx, name, loser), "test_lease")
    assert not run(lambda tx: leases.take(tx, name, loser, "me", 60), "test_lease")
    assert run(lambda tx: leases.take(tx, name, won[0], "me", 60), "test_lease")
    run(lambda tx: leases.give_back(tx, name, won[0]), "test_lease")
    assert run(lambda tx: leases.take(tx, name, loser, "me", 60), "test_lease")


def test_a_worker_whose_clock_runs_ahead_takes_nothing(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """FAULTS I-2: leases are by the database's clock. (SQLite's clock is its host's.)"""
    if rig.database.sqlite:
        pytest.skip("an embedded database has its host's clock")
    row_id = rig.row()
    rig.database.run(lambda tx: rig.runtime._claim(tx, rig.saga, row_id, False), "test_claim")
    ahead = time.time_ns() + 600 * 10**9
    monkeypatch.setattr(time, "time_ns", lambda: ahead)
    monkeypatch.setattr(time, "time", lambda: ahead / 1e9)
    assert rig.new_runtime().advance("payment", row_id) == 0


def test_a_task_woken_runs_before_its_time_and_rests_again(shared_database: Database) -> None:
    ran: list[str] = []

    def work(row: Row[Any], _: Any) -> tasks.Ran:
        ran.append(row.name)
        return tasks.Ran(due_us=None)

    saga = tasks.saga({"tidy": work})
    own = Runtime(shared_database, {"task": saga}, None)
    row_id = shared_database.read(lambda tx: tx.value(select(task.c.id).where(task.c.name == "tidy")))
    own.advance("task", row_id, woken=True)
    assert own.advance("task", row_id) == 0
    assert own.advance("task", row_id, woken=True) == 1
    assert ran == ["tidy"] * 2
