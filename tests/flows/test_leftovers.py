"""A payment that was made anew from fewer of its coins leaves the others over (Monero, FAULTS E10). They serve others
once it is final, and not before the signer's record says so."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Row, delete, select, update

from jobs.payment import books as payment_books
from jobs.payment import leftover, second_line, succession
from jobs.resolve import payments as resolve_payments
from jobs.signer import Signer
from ledger import halts, pauses
from ledger.schema import halt, payment, resource
from ledger.schema import withdrawal as withdrawals
from tests.flows.engine import MAC, Engine
from wallets.fake import FakeWallet
from wallets.protocol import Proposal, SignedTransaction, Spend

COIN = 1_000_000


@pytest.fixture
def left(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    """A withdrawal whose first bytes spend three coins, and whose second ones, settled now, two of them; the third."""
    account = engine.account()
    address = engine.address(account).address
    for _ in range(3):
        engine.chain.fund(address, COIN, blocks=6)
    engine.tick()
    wallet = engine.services.wallets["bitcoin"]
    assert isinstance(wallet, FakeWallet)
    propose, reprice = wallet._choose, wallet.reprice

    def of_all(s, outputs, rate, excluded):  # type: ignore[no-untyped-def]
        fee = propose(s, outputs, rate, excluded)[1] * 3
        coins = wallet._spendable(s)
        return list(coins), fee, sum(coins.values()) - sum(output.units for output in outputs) - fee

    def of_fewer(signed: SignedTransaction, spend: Spend, rate: int, fee_max_units: int) -> Proposal:
        whole = reprice(signed, spend, rate, fee_max_units)
        body = json.loads(whole.payload)
        body["inputs"].pop()
        body["outputs"][-1][1] -= COIN
        coins = tuple(body["inputs"])
        return replace(whole, resources=coins, spends=coins, payload=json.dumps(body))

    with monkeypatch.context() as patch:
        patch.setattr(wallet, "_choose", of_all)
        patch.setattr(wallet, "reprice", of_fewer)
        row_id = engine.withdraw(account, 100_000)
        engine.tick()
        public_id = engine.payment_of(row_id).public_id
        engine.database.run(lambda tx: resolve_payments.bump_payment(tx, public_id, None, "op"), "t")
        engine.tick()
    engine.chain.mine(6)
    engine.tick()
    row = engine.payment_of(row_id)
    assert (row.state, row.candidates, row.settled_candidate) == ("settled", 2, 2)
    first, second = known_bytes(engine, row_id)
    assert (len(first), len(second)) == (3, 2)
    return row_id, next(iter(first - second))


def known_bytes(engine: Engine, row_id: int) -> list[set[str]]:
    known = engine.services.require_signer().known(engine.payment_of(row_id).public_id)
    assert known is not None
    return [set(each.resources) for each in known.candidates]


def settled_bytes(engine: Engine, row: Row[Any]) -> Row[Any]:
    known = engine.database.read(lambda tx: payment_books.candidates(tx, row.id))
    return next(each for each in known if each.number == row.settled_candidate)


def bound(engine: Engine, row_id: int) -> set[str]:
    """What the payment of a withdrawal keeps from others."""
    query = select(resource.c.resource_key).where(
        resource.c.payment_id == engine.payment_of(row_id).id, resource.c.live == 1
    )
    return {row.resource_key for row in engine.database.read(lambda tx: tx.all(query))}


def pay_with_all(engine: Engine, row_id: int) -> int:
    """A withdrawal for which all coins are needed, with that one. The node thaws it for the small one before."""
    account_id = engine.row(withdrawals, row_id).account_id
    check_paid(engine, engine.withdraw(account_id, 50_000))
    return engine.withdraw(account_id, 2_400_000)


def check_paid(engine: Engine, row_id: int) -> None:
    engine.tick(2)
    engine.chain.mine(3)
    engine.tick(2)
    assert engine.state(row_id) == "completed"
    assert engine.rows(halt) == []
    assert engine.database.read(lambda tx: pauses.reason(tx, "BTC", "withdrawals")) is None
    assert engine.services.require_signer().faults() == []
    engine.check_invariants()


def kinds(engine: Engine) -> list[str]:
    return [entry.kind for entry in engine.services.require_signer().record.since(0, "bitcoin")]


def new_record(engine: Engine) -> None:
    """The signer's record is lost for good, and its place taken by one that learns from the database."""
    shutil.rmtree(engine.folder / "signer")
    engine.services.signer = Signer(engine.folder / "signer", MAC, {"BTC": 10**12}, engine.cold())
    engine.tick()
    succession.accept(engine.services, "bitcoin", "the disk is gone", "op")
    engine.database.run(lambda tx: tx.execute(delete(halt)), "t")
    assert engine.database.read(lambda tx: halts.reason(tx, "bitcoin")) is None


def test_a_coin_that_a_final_payment_left_over_pays_the_next(engine: Engine, left: tuple[int, str]) -> None:
    row_id, coin = left
    assert coin in bound(engine, row_id), "a reorganisation may bring the first bytes back"
    engine.chain.mine(100)
    engine.tick()
    assert (engine.payment_of(row_id).state, bound(engine, row_id)) == ("final", set())
    assert kinds(engine)[-1] == "spared"
    other = pay_with_all(engine, row_id)
    engine.tick(2)
    assert coin in bound(engine, other)
    check_paid(engine, other)


def test_a_worker_that_dies_after_the_record_leaves_nothing_strange(engine: Engine, left: tuple[int, str]) -> None:
    row_id, coin = left
    engine.chain.mine(100)
    row, services = engine.payment_of(row_id), engine.services
    settled = settled_bytes(engine, row)
    leftover.let_go(row, services, settled)  # and nothing of it is committed
    assert (coin in bound(engine, row_id), kinds(engine)[-1]) == (True, "spared")
    assert second_line.look(services, "bitcoin") is None
    engine.tick()
    assert (engine.payment_of(row_id).state, bound(engine, row_id)) == ("final", set())
    assert second_line.look(services, "bitcoin") is None
    assert kinds(engine).count("spared") == 1
    check_paid(engine, pay_with_all(engine, row_id))


def test_an_older_database_is_told_by_what_was_spared(engine: Engine, left: tuple[int, str]) -> None:
    """A row that does not even know that it was paid has not led to that entry."""
    row_id, _ = left
    engine.chain.mine(100)
    row = engine.payment_of(row_id)
    leftover.let_go(row, engine.services, settled_bytes(engine, row))
    old = update(payment).where(payment.c.id == row.id).values(state="confirming", settled_candidate=None)
    engine.database.run(lambda tx: tx.execute(old), "t")
    assert "spared" in str(second_line.look(engine.services, "bitcoin"))


def test_a_halted_chain_lets_no_coin_go(engine: Engine, left: tuple[int, str]) -> None:
    row_id, coin = left
    engine.database.run(lambda tx: halts.stop(tx, "bitcoin", "operator", "a drill", "op"), "t")
    engine.chain.mine(100)
    engine.tick()
    assert (engine.payment_of(row_id).state, coin in bound(engine, row_id)) == ("settled", True)
    assert "spared" not in kinds(engine)
    engine.database.run(lambda tx: tx.execute(delete(halt)), "t")
    engine.tick(2)
    assert (engine.payment_of(row_id).state, bound(engine, row_id)) == ("final", set())


def test_a_new_record_knows_what_was_spared(engine: Engine, left: tuple[int, str]) -> None:
    row_id, _ = left
    engine.chain.mine(100)
    engine.tick()
    new_record(engine)
    check_paid(engine, pay_with_all(engine, row_id))


def test_of_bytes_that_a_new_record_has_learnt_nothing_is_left_over(engine: Engine, left: tuple[int, str]) -> None:
    """The rows do not say what the second ones spend: no coin is let go, none of them is chosen, nothing halts."""
    row_id, coin = left
    new_record(engine)
    engine.chain.mine(100)
    engine.tick()
    assert engine.payment_of(row_id).state == "final"
    assert coin in bound(engine, row_id)
    assert "spared" not in kinds(engine)
    check_paid(engine, engine.withdraw(engine.row(withdrawals, row_id).account_id, 200_000))
    assert coin in bound(engine, row_id)
