"""An escrow is released in the moment in which the deposit that had funded it leaves the chain (FAULTS E2, G10): what
the vendor gets of it is kept still, whoever commits first.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from typing import Any

import pytest

from devstack.mariadb import MariaDB
from jobs import transfers
from jobs.escrow import ending, saga
from ledger.schema import deposit, frozen_part
from tests.flows.engine import Engine
from tests.flows.escrow_desk import HOUR, Desk
from tests.flows.lock_waits import PATIENCE_SECONDS, beside, server_of

#: How an escrow comes to be released: by a call, or by its deadline.
Way = Callable[[Desk, int], Any]
WAYS: dict[str, Way] = {
    "call": lambda desk, row_id: desk.release(row_id),
    "deadline": lambda d, i: d.over(i, "deadline"),
}


@pytest.fixture
def server(engine: Engine, request: pytest.FixtureRequest) -> MariaDB:
    return server_of(engine.database, request)


@pytest.fixture
def desk(engine: Engine) -> Desk:
    return Desk(engine)


def lost(desk: Desk, txid: str) -> Callable[[], object]:
    """The deposit has left the chain and the scan has seen it; what a worker does about it then."""
    engine = desk.engine
    engine.chain.reorg(6, gone=[txid])
    engine.run_task("scan")
    (paid,) = [row for row in engine.rows(deposit) if row.txid == txid]
    return lambda: engine.runtime.advance("deposit", paid.id)


def once_it_looks_free(monkeypatch: pytest.MonkeyPatch, do: Callable[[], None]) -> None:
    """Have this done once, between the look whether an escrow is free and what is moved because it is."""
    real, thread = saga.check_free, threading.current_thread()

    def looks(tx: Any, row: Any) -> None:
        real(tx, row)
        # Twice in one step: the first time before its transaction, in which nothing is locked yet.
        if threading.current_thread() is thread and tx.connection.get_execution_options().get("coffer_read") is None:
            monkeypatch.undo()
            do()

    for module in (saga, ending):
        monkeypatch.setattr(module, "check_free", looks)


def race(
    desk: Desk, server: MariaDB, patch: pytest.MonkeyPatch, way: Way, row_id: int, work: Callable[[], Any]
) -> None:
    """`work` begins while the escrow is being released, and ends when it can."""
    others: list[threading.Thread] = []
    once_it_looks_free(patch, lambda: others.append(beside(server, work)))
    way(desk, row_id)
    (other,) = others
    other.join(PATIENCE_SECONDS)
    assert not other.is_alive()


def frozen(desk: Desk) -> list[tuple[str, int, int]]:
    """(place, account, units) of the parts that are frozen now."""
    return [(row.place, row.account_id, row.units) for row in desk.engine.rows(frozen_part) if row.live == 1]


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_what_an_escrow_releases_while_its_money_is_being_traced_is_frozen_at_the_vendor(
    desk: Desk, server: MariaDB, monkeypatch: pytest.MonkeyPatch, way: Way
) -> None:
    engine, other = desk.engine, desk.another()
    txid = desk.paid_in(500_000)
    order = transfers.Order(desk.buyer, other.buyer, "BTC", 500_000, secrets.token_hex(8))
    desk.run(lambda tx: transfers.make(tx, engine.caller, order))
    escrow_id = other.make(deadline=engine.database.now() + HOUR, at_deadline="release")
    other.fund(escrow_id)
    race(other, server, monkeypatch, way, escrow_id, lost(desk, txid))
    assert other.state(escrow_id)[0] == "released"
    assert engine.balance(desk.buyer, "receivable") == 500_000
    assert frozen(desk) == [("balance", other.vendor, 500_000)]
    assert other.money() == (0, 0)
    other.check()


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_what_the_debtors_own_escrow_releases_while_he_is_being_frozen_is_frozen_at_the_vendor(
    desk: Desk, server: MariaDB, monkeypatch: pytest.MonkeyPatch, way: Way
) -> None:
    txid = desk.paid_in(500_000)
    escrow_id = desk.make(deadline=desk.engine.database.now() + HOUR, at_deadline="release")
    desk.fund(escrow_id)
    race(desk, server, monkeypatch, way, escrow_id, lost(desk, txid))
    assert desk.state(escrow_id)[0] == "released"
    assert desk.engine.balance(desk.buyer, "receivable") == 500_000
    assert frozen(desk) == [("balance", desk.vendor, 500_000)]
    assert desk.money() == (0, 0)
    desk.check()
