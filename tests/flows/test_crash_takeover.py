"""Workers that die, are paused or meet over one row: FAULTS A16, A17, B5 to B7, B10, H1, H7, on both databases.

Here a death is an exception that nothing catches: the row stays claimed, as after `kill -9`. The real ones are in
test_crash.py and tests/chain/test_kill_worker.py.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError

from jobs import bootstrap, runtime
from jobs.runtime import CRASHES_MAX
from jobs.sweeper import Sweeper
from ledger.schema import alarm, deposit, resource, task, transfer, transition
from tests.clock import end_leases
from tests.flows.engine import Engine
from wallets.fake import Lie
from wallets.protocol import Output

PAID_IN_ORDER = ["building", "reserved", "signed", "broadcast", "confirming", "settled"]


@pytest.fixture
def engine(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """One whose leases end when a test says so: a beat that is under way would give one back to the dead."""
    monkeypatch.setattr(engine.runtime, "heartbeat", Silence())
    return engine


class Died(BaseException):
    """The process ended here."""


class Silence:
    """The heartbeat of a process that is dead or paused."""

    @contextmanager
    def keep(self, *lease: Any) -> Iterator[None]:
        yield


def expire_leases(engine: Engine) -> None:
    """Whoever holds a row has not been heard of for longer than its lease."""
    engine.database.run(lambda tx: end_leases(tx.execute), "test_clock")


def states_of(engine: Engine, payment_id: int) -> list[str]:
    """Every state that the payment ever entered, in order."""
    mine = (transition.c.kind == "payment") & (transition.c.row_id == payment_id)
    query = select(transition.c.to_state).where(mine).order_by(transition.c.id)
    return [row.to_state for row in engine.database.read(lambda tx: tx.all(query))]


def keys_of(engine: Engine) -> list[str]:
    return [row.transfer_key for row in engine.rows(transfer)]


def test_a_worker_paused_while_it_signs_finds_its_row_taken_and_writes_nothing(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B6: another worker signs, commits the intent and sends meanwhile."""
    account = engine.funded(1_000_000)
    payee = engine.chain.outside_address()
    row_id = engine.withdraw(account, 400_000, payee)
    wallet = engine.services.wallet("bitcoin")
    sign = wallet.sign

    def paused(*arguments: Any) -> Any:
        monkeypatch.setattr(wallet, "sign", sign)
        expire_leases(engine)
        engine.tick()
        assert engine.state(row_id) == "broadcast"
        return sign(*arguments)

    monkeypatch.setattr(wallet, "sign", paused)
    engine.tick()
    assert states_of(engine, engine.payment_of(row_id).id) == PAID_IN_ORDER[:5]
    assert engine.rows(alarm) == []
    assert engine.chain.received(payee) == 400_000
    engine.check_invariants()


def test_a_worker_paused_inside_a_send_does_not_take_a_settled_payment_back(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B6: when it goes on, another worker has sent the same bytes, and the chain has confirmed them."""
    account = engine.funded(1_000_000)
    payee = engine.chain.outside_address()
    row_id = engine.withdraw(account, 400_000, payee)
    wallet = engine.services.wallet("bitcoin")
    broadcast = wallet.broadcast

    def paused(tx: Any) -> None:
        monkeypatch.setattr(wallet, "broadcast", broadcast)
        expire_leases(engine)
        engine.tick()
        engine.chain.mine(3)
        engine.tick()
        assert engine.state(row_id) == "completed"
        broadcast(tx)

    monkeypatch.setattr(wallet, "broadcast", paused)
    engine.tick()
    assert states_of(engine, engine.payment_of(row_id).id) == PAID_IN_ORDER
    assert [key for key in keys_of(engine) if ":settle:" in key] == [f"payment:{engine.payment_of(row_id).id}:settle:1"]
    assert engine.rows(alarm) == []
    assert engine.chain.received(payee) == 400_000
    engine.check_invariants()


def test_a_row_that_kills_every_worker_is_set_aside_with_its_money_and_the_others_go_on(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A16."""
    poisoned, healthy = engine.funded(500_000), engine.funded(600_000)
    deadly = engine.chain.outside_address()
    bad = engine.withdraw(poisoned, 400_000, deadly)
    wallet = engine.services.wallet("bitcoin")
    sign = wallet.sign

    def die(proposal: Any, spend: Any) -> Any:
        if any(output.address == deadly for output in spend.outputs):
            raise Died
        return sign(proposal, spend)

    monkeypatch.setattr(wallet, "sign", die)
    deaths = 0
    while deaths < CRASHES_MAX + 5:
        try:
            engine.tick()
            break
        except Died:
            deaths += 1
            expire_leases(engine)
    assert deaths == CRASHES_MAX + 1  # the first is not counted: it came in a claim whose earlier step was committed
    aside = engine.payment_of(bad)
    assert (aside.state, aside.status_reason) == ("review", "crashed_repeatedly")
    assert "crashed_repeatedly" in {row.name for row in engine.rows(alarm)}
    assert engine.balance(poisoned, "held") == 402_000
    good = engine.withdraw(healthy, 100_000)
    engine.tick()
    assert engine.state(good) == "broadcast"
    engine.check_invariants()


def test_a_state_of_another_version_is_left_alone_with_an_alarm(engine: Engine) -> None:
    """A17: no step runs for it, nothing is written to it, and other rows go on."""
    account = engine.funded(1_000_000)
    tidy = next(row for row in engine.rows(task) if row.name == "tidy")
    strange = update(task).where(task.c.id == tidy.id).values(state="from_tomorrow", due_at=1)
    engine.database.run(lambda tx: tx.execute(strange), "test_strange")
    before = engine.row(task, tidy.id)
    assert engine.runtime.advance("task", tidy.id) == 0
    assert engine.row(task, tidy.id) == before
    assert [(row.name, row.open) for row in engine.rows(alarm)] == [("unknown_state", 1)]
    paid = engine.withdraw(account, 100_000)
    engine.tick()
    assert engine.state(paid) == "broadcast"


def test_wake_ups_that_come_late_often_or_for_nothing_change_nothing(engine: Engine) -> None:
    """B7, B10, J8: rows that have ended, and rows that do not exist (yet)."""
    account = engine.funded(1_000_000)
    row_id = engine.withdraw(account, 400_000)
    engine.tick()
    engine.chain.mine(103)
    engine.tick(2)
    paid, came = engine.payment_of(row_id), engine.deposit_of(account)
    assert (paid.state, came.state) == ("final", "final")
    before = keys_of(engine)
    for _ in range(5):
        for kind, wanted in (("payment", paid.id), ("deposit", came.id), ("payment", 10**6), ("deposit", 10**6)):
            assert engine.runtime.advance(kind, wanted, woken=True) == 0
    assert (engine.payment_of(row_id), engine.deposit_of(account)) == (paid, came)
    assert keys_of(engine) == before


def test_one_row_woken_in_many_places_at_once_is_advanced_by_one(engine: Engine) -> None:
    """B5, H1, H6: every worker has the wake-up, and the sweeper sees the row too."""
    account = engine.funded(1_000_000)
    payee = engine.chain.outside_address()
    row_id = engine.withdraw(account, 400_000, payee)
    batch = next(row.id for row in engine.rows(task) if row.name == "batch:bitcoin")
    engine.runtime.advance("task", batch, woken=True)
    payment_id = engine.payment_of(row_id).id
    workers = [bootstrap.runtime(engine.services) for _ in range(6)]
    ready = threading.Barrier(len(workers))
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            ready.wait()
            for _ in range(5):
                workers[number].advance("payment", payment_id, woken=True)
                Sweeper(workers[number], "bitcoin").sweep()
        except BaseException as error:  # noqa: BLE001  # shown by the assertion below
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(workers))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    engine.tick()
    assert states_of(engine, payment_id) == PAID_IN_ORDER[:5]
    assert engine.chain.received(payee) == 400_000
    assert engine.rows(alarm) == []
    engine.check_invariants()


def test_a_row_in_another_workers_hands_is_left_alone(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """B5, H6: while one worker sends, a wake-up of the same row does nothing anywhere else."""
    account = engine.funded(1_000_000)
    row_id = engine.withdraw(account, 400_000)
    wallet, other = engine.services.wallet("bitcoin"), bootstrap.runtime(engine.services)
    broadcast = wallet.broadcast
    sent: list[str] = []

    def slow(tx: Any) -> None:
        sent.append(tx.txid)
        if len(sent) == 1:
            assert other.advance("payment", engine.payment_of(row_id).id, woken=True) == 0
        broadcast(tx)

    monkeypatch.setattr(wallet, "broadcast", slow)
    engine.tick()
    assert len(sent) == 1
    assert engine.state(row_id) == "broadcast"


def test_a_wallet_has_one_signer_at_a_time(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC decision 12: while a payment is signed, no other payment of the wallet is reserved or signed."""
    first, second = engine.funded(500_000), engine.funded(600_000)
    payee = engine.chain.outside_address()
    one, two = engine.withdraw(first, 400_000, payee), engine.withdraw(second, 300_000, payee)  # two payments
    wallet, other = engine.services.wallet("bitcoin"), bootstrap.runtime(engine.services)
    sign = wallet.sign
    signed: list[int] = []
    monkeypatch.setattr(runtime, "BUSY_TRIES", 2)

    def slow(proposal: Any, spend: Any) -> Any:
        signed.append(spend.outputs[0].units)
        if len(signed) == 1:
            rest = two if spend.outputs[0].units == 400_000 else one
            assert other.advance("payment", engine.payment_of(rest).id, woken=True) == 0
            assert engine.payment_of(rest).state == "building"
        return sign(proposal, spend)

    monkeypatch.setattr(wallet, "sign", slow)
    engine.tick()
    assert sorted(signed) == [300_000, 400_000]
    assert {engine.state(one), engine.state(two)} == {"broadcast"}
    assert engine.chain.received(payee) == 700_000


def test_coins_of_an_unsent_payment_are_left_alone_though_the_node_forgot_its_locks(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D11: the database remembers whose they are, and keeps them out of the next proposal."""
    first, second = engine.funded(500_000), engine.funded(400_000)
    one, two = engine.chain.outside_address(), engine.chain.outside_address()
    engine.chain.lie("broadcast", Lie.LOST_UNDONE, times=2)
    waiting = engine.withdraw(first, 100_000, one)
    engine.tick()
    assert engine.payment_of(waiting).state == "broadcast"
    wallet = engine.services.wallet("bitcoin")
    propose = wallet.propose

    def forgetful(*arguments: Any, **more: Any) -> Any:
        wallet.free(wallet.held())
        return propose(*arguments, **more)

    monkeypatch.setattr(wallet, "propose", forgetful)
    passing = engine.withdraw(second, 100_000, two)
    engine.tick()
    assert (engine.chain.received(one), engine.chain.received(two)) == (0, 100_000)
    coins = {row.payment_id: row.resource_key for row in engine.rows(resource)}
    assert coins[engine.payment_of(waiting).id] != coins[engine.payment_of(passing).id]
    assert {row.name for row in engine.rows(alarm)} <= {"node_unavailable"}
    engine.tick()
    assert (engine.chain.received(one), engine.chain.received(two)) == (100_000, 100_000)
    engine.check_invariants()


def test_an_output_on_chain_has_one_row_whoever_writes_it(engine: Engine) -> None:
    """H7, I3: the database itself refuses a second one."""
    account = engine.account()
    engine.chain.pay(Output(engine.address(account).address, 500_000))
    engine.tick()
    row = dict(engine.deposit_of(account)._mapping)
    again = {name: value for name, value in row.items() if name != "id"} | {"public_id": row["public_id"][:-1] + "0"}
    with pytest.raises(IntegrityError):
        engine.database.run(lambda tx: tx.execute(insert(deposit).values(again)), "test_second_row")
    engine.chain.mine(1)
    engine.tick()
    assert engine.available(account) == 500_000


def test_two_scanners_that_saw_the_same_block_credit_it_once(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """H7, A11: the second looked before the first had written, and lost its lease while it looked."""
    account = engine.account()
    engine.chain.fund(engine.address(account).address, 500_000)
    wallet = engine.services.wallet("bitcoin")
    look = wallet.deposits_since

    def slow(cursor: str | None) -> Any:
        monkeypatch.setattr(wallet, "deposits_since", look)
        page = look(cursor)
        expire_leases(engine)
        engine.tick()
        assert engine.available(account) == 500_000
        return page

    monkeypatch.setattr(wallet, "deposits_since", slow)
    engine.tick()
    assert len(engine.rows(deposit)) == 1
    assert engine.available(account) == 500_000
    assert engine.deposit_of(account).credits == 1
    engine.check_invariants()
