"""Scenarios of docs/scenarios.md that no other test plays: on the model chain, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import event, exc, func, select, update

from jobs import bootstrap
from jobs.deposit import scan
from ledger import pauses
from ledger.db import Database
from ledger.errors import AssetPaused, NodeProtocolError
from ledger.schema import balance, candidate, chain, deposit, payment, withdrawal
from tests.clock import Clock, end_leases
from tests.flows.engine import Engine
from tests.flows.test_crash_takeover import Died, Silence
from tests.flows.test_payments import txids_paying
from wallets.protocol import Output, Spend

QUEUED = 1_000
DEATHS = 4


@contextmanager
def sqlite_with(database: Database, pragma: str) -> Iterator[None]:
    """Connections from now on have this set."""

    def restrict(raw: Any, _: Any) -> None:
        raw.execute(f"PRAGMA {pragma}")

    database.engine.dispose()
    event.listen(database.engine, "connect", restrict)
    try:
        yield
    finally:
        event.remove(database.engine, "connect", restrict)
        database.engine.dispose()


@contextmanager
def no_room(engine: Engine, request: pytest.FixtureRequest, *, full: bool) -> Iterator[None]:
    """No write is taken: a full disk, or one that the system has mounted anew to be read only."""
    database = engine.database
    if not database.sqlite:
        server = request.getfixturevalue("mariadb_server")
        server.admin("SET GLOBAL read_only=1")
        try:
            yield
        finally:
            server.admin("SET GLOBAL read_only=0")
        return
    with database.engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    with sqlite_with(database, f"max_page_count={pages}" if full else "query_only=1"):
        yield


@pytest.mark.parametrize("full", [False, True], ids=["read-only", "full"])
def test_what_cannot_be_written_is_not_sent(
    engine: Engine, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, full: bool
) -> None:
    """C4: the disk fails once the payment is signed, so that the intent to send it cannot be committed."""
    monkeypatch.setattr(engine.runtime, "heartbeat", Silence())
    payee = engine.chain.outside_address()
    row_id = engine.withdraw(engine.funded(1_000_000), 100_000, payee)
    wallet = engine.services.wallet("bitcoin")
    sign, failing = wallet.sign, no_room(engine, request, full=full)

    def signed_then_full(*arguments: Any) -> Any:
        monkeypatch.setattr(wallet, "sign", sign)
        tx = sign(*arguments)
        failing.__enter__()
        return tx

    monkeypatch.setattr(wallet, "sign", signed_then_full)
    try:
        with suppress(exc.DBAPIError):  # a full disk may yet take the few bytes that say what went wrong
            engine.tick()
        assert engine.payment_of(row_id).state == "reserved"
        assert engine.rows(candidate) == []
        assert txids_paying(engine, payee) == set()
    finally:
        failing.__exit__(None, None, None)
    monkeypatch.undo()
    engine.database.run(lambda tx: end_leases(tx.execute), "test_clock")
    engine.tick()
    assert engine.state(row_id) == "broadcast"
    assert len(txids_paying(engine, payee)) == 1
    engine.check_invariants()


def test_a_balance_changed_by_hand_stops_every_asset(engine: Engine) -> None:
    """C11, J6: the nightly sum finds it."""
    account = engine.funded(1_000_000)
    row_id = engine.withdraw(account, 100_000)
    more = update(balance).where(balance.c.units == 1_000_000 - 102_000).values(units=2_000_000)
    assert engine.database.run(lambda tx: tx.execute(more).rowcount, "test") == 1
    nightly = engine.runtime.sagas["task"].table
    audit = engine.database.read(lambda tx: tx.value(select(nightly.c.id).where(nightly.c.name == "audit")))
    engine.runtime.advance("task", audit, woken=True)
    assert ("books_broken", "books") in engine.alarms()
    for code in ("BTC", "ETH", "XMR"):
        reason = engine.database.read(lambda tx, c=code: pauses.reason(tx, c, "withdrawals"))
        assert reason is not None
        assert "do not add up" in reason
    engine.tick(2)
    assert engine.state(row_id) == "queued"


@pytest.mark.parametrize("reason", ["syncing", "stale_tip", "no_peers"])
def test_a_node_that_is_not_ready_chooses_no_coins_and_buries_no_payment(engine: Engine, reason: str) -> None:
    """D5: what it does not show may be in the blocks that it does not have."""
    account = engine.funded(1_000_000)
    sent = engine.withdraw(account, 100_000)
    engine.tick()
    before = engine.payment_of(sent)
    engine.chain.evict(before.txid)
    waiting = engine.withdraw(account, 200_000)
    engine.chain.unready(reason, "somewhere behind")
    engine.tick(4)
    assert (engine.state(sent), engine.state(waiting)) == ("broadcast", "queued")
    assert [row.id for row in engine.rows(payment)] == [before.id]
    assert engine.payment_of(sent).candidates == 1
    told = engine.database.read(lambda tx: tx.value(select(chain.c.health_reason).where(chain.c.name == "bitcoin")))
    assert told == reason
    engine.chain.up()
    engine.tick(2)
    engine.chain.mine(3)
    engine.tick(2)
    assert (engine.state(sent), engine.state(waiting)) == ("completed", "completed")
    engine.check_invariants()


def test_a_reply_that_cannot_be_read_credits_nothing_and_is_told(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D14: as after an upgrade of the node that renamed a field."""
    account = engine.account()
    engine.chain.fund(engine.address(account).address, 50_000_000, blocks=1)  # needs three confirmations
    engine.tick()
    assert engine.deposit_of(account).state == "confirming"

    def renamed(*_: Any, **__: Any) -> Any:
        raise NodeProtocolError("listsinceblock: no `amount`")

    with monkeypatch.context() as patch:
        patch.setattr(engine.services.wallet("bitcoin"), "deposits_since", renamed)
        engine.chain.mine(5)
        engine.tick(3)
        assert engine.available(account) == 0
        assert engine.deposit_of(account).state == "confirming"
        assert "node_protocol_error" in {name for name, _ in engine.alarms()}
    engine.tick(2)
    assert engine.available(account) == 50_000_000
    assert "node_protocol_error" not in {name for name, _ in engine.alarms()}
    engine.check_invariants()


def test_a_death_between_two_batches_of_one_block_credits_each_deposit_once(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """E18, A11."""
    monkeypatch.setattr(engine.runtime, "heartbeat", Silence())
    monkeypatch.setattr(scan, "NEW_MAX", 7)
    accounts = [engine.account() for _ in range(30)]
    engine.chain.pay(*(Output(engine.address(each).address, 5_000) for each in accounts))
    engine.chain.mine(1)
    wallet = engine.services.wallet("bitcoin")
    look, deadly = wallet.deposits_since, [14, 7]

    def mortal(cursor: str | None) -> Any:
        if deadly and len(engine.rows(deposit)) == deadly[-1]:
            deadly.pop()
            raise Died
        return look(cursor)

    monkeypatch.setattr(wallet, "deposits_since", mortal)
    for seen in (7, 14):
        with pytest.raises(Died):
            engine.tick()
        assert len(engine.rows(deposit)) == seen
        engine.database.run(lambda tx: end_leases(tx.execute), "test_clock")
    engine.tick()
    assert [engine.available(each) for each in accounts] == [5_000] * 30
    assert [row.credits for row in engine.rows(deposit)] == [1] * 30
    engine.check_invariants()


@pytest.mark.slow
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)  # what is shown is the workers'; requests take a while
def test_a_thousand_queued_withdrawals_outlive_their_workers(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A15: the worker is killed out of memory again and again while it signs; each payee is paid once."""
    monkeypatch.setattr(engine.runtime, "heartbeat", Silence())
    account = engine.funded(QUEUED * 5_000)
    payees = [engine.chain.outside_address() for _ in range(QUEUED)]
    ids = [engine.withdraw(account, 1_000, payee) for payee in payees]
    wallet = engine.services.wallet("bitcoin")
    sign, signed = wallet.sign, [0]

    def mortal(*arguments: Any) -> Any:
        signed[0] += 1
        if signed[0] % 3 == 0 and signed[0] <= 3 * DEATHS:
            raise Died
        return sign(*arguments)

    monkeypatch.setattr(wallet, "sign", mortal)
    deaths, unpaid = 0, withdrawal.c.state != "completed"
    while engine.database.read(lambda tx: tx.value(select(func.count()).where(unpaid))):
        try:
            engine.tick()
        except Died:
            deaths += 1
            engine.database.run(lambda tx: end_leases(tx.execute), "test_clock")
        engine.chain.mine(1)
        assert engine.chain.tip.height < 300
    assert deaths == DEATHS
    assert {engine.state(row_id) for row_id in ids} == {"completed"}
    with engine.chain.state() as s:
        outputs = [output for txid in s.height_of for output in s.txs[txid].outputs]
    paid = [output.address for output in outputs if output.units == 1_000]
    assert sorted(paid) == sorted(payees)
    engine.check_invariants()


def test_a_locked_deposit_is_credited_when_it_opens(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """F6: as deep as it may be, what nobody can spend is nobody's to spend."""
    wallet = engine.services.wallet("bitcoin")
    look, again = wallet.deposits_since, wallet.look_up_deposits

    def locked_page(cursor: str | None) -> Any:
        page = look(cursor)
        return replace(page, deposits=tuple(replace(seen, locked=True) for seen in page.deposits))

    def locked_again(asked: Any) -> Any:
        return {key: replace(seen, locked=True) for key, seen in again(asked).items()}

    account = engine.account()
    with monkeypatch.context() as patch:
        patch.setattr(wallet, "deposits_since", locked_page)
        patch.setattr(wallet, "look_up_deposits", locked_again)
        engine.chain.fund(engine.address(account).address, 500_000, blocks=20)
        engine.tick(2)
        row = engine.deposit_of(account)
        assert (row.state, row.status_reason, engine.available(account)) == ("confirming", "locked", 0)
    engine.tick(2)
    assert engine.available(account) == 500_000
    engine.check_invariants()


def test_a_payment_by_hand_stops_its_asset(engine: Engine) -> None:
    """J2: somebody has the wallet pay without the books; a person must say what that was."""
    customer = engine.funded(1_000_000)
    row_id = engine.withdraw(customer, 100_000)
    wallet = engine.services.wallet("bitcoin")
    spend = Spend((Output(engine.chain.outside_address(), 300_000),))
    wallet.broadcast(wallet.sign(wallet.propose(spend, 2_000, 9_000), spend))
    engine.chain.mine(1)
    for work in ("scan", "reconcile", "reconcile"):
        engine.run_task(work)
    assert engine.alarms() == {("reconciliation", "reconcile:BTC"), ("unknown_outgoing", "halt:bitcoin")}
    assert "unexplained" in (engine.database.read(lambda tx: pauses.reason(tx, "BTC", "withdrawals")) or "")
    engine.tick(2)
    assert engine.state(row_id) == "queued"
    assert engine.rows(payment) == []
    with pytest.raises(AssetPaused):
        engine.withdraw(customer, 100_000)


def test_a_clock_that_steps_pays_and_releases_once(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """I-1: an hour ahead in the middle of a send, so that the lease seems over, and two hours back before it ends."""
    clock = Clock(monkeypatch)
    monkeypatch.setattr(engine.runtime, "heartbeat", Silence())
    account, payee = engine.funded(1_000_000), engine.chain.outside_address()
    row_id = engine.withdraw(account, 100_000, payee)
    wallet, other = engine.services.wallet("bitcoin"), bootstrap.runtime(engine.services)
    send, sent = wallet.broadcast, list[str]()

    def stepping(tx: Any) -> None:
        sent.append(tx.txid)
        if len(sent) == 1:
            clock.forward(hours=1)
            assert other.advance("payment", engine.payment_of(row_id).id, woken=True) > 0
            clock.forward(hours=-2)
        send(tx)

    monkeypatch.setattr(wallet, "broadcast", stepping)
    engine.tick()
    engine.chain.mine(3)
    engine.tick(2)
    assert engine.state(row_id) == "completed"
    assert len(sent) == 2
    assert txids_paying(engine, payee) == set(sent)
    assert (engine.available(account), engine.balance(account, "held")) == (1_000_000 - 102_000, 0)
    assert engine.payment_of(row_id).settlements == 1
    engine.check_invariants()
