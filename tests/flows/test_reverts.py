"""A payment that the chain reverts is let go with its gas booked, by itself or by a person, once that is final."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from jobs.resolve import payments as resolve_payments
from ledger.errors import StateConflict
from ledger.schema import payment
from tests.flows.ethereum_engine import EthereumEngine
from tests.flows.test_unclear import resolve
from wallets.ethereum.contracts import encode, load

_TEN = 10 * 10**6


def reverting(engine: EthereumEngine) -> tuple[int, int]:
    """(account, withdrawal) of tokens that are paused once the payment is in the pool."""
    engine.stock()
    token = engine.add_token("PAUSE", "PausableToken", sweep_minimum_units=10**12)
    customer = engine.funded(5 * _TEN, token)
    engine.give("PAUSE", engine.hot, 5 * _TEN)
    row_id = engine.withdraw(customer, _TEN, engine.outside(), asset="PAUSE")
    engine.tick(2)
    assert engine.state(row_id) == "broadcast"
    return customer, row_id


def pause(engine: EthereumEngine) -> None:
    """Its owner pauses the token, at a fee that puts this first into the next block."""
    data = encode(load("PausableToken"), "setPaused", [True])
    price = hex(10**12)
    fees = {"maxFeePerGas": price, "maxPriorityFeePerGas": price}
    engine.node.send({"to": engine.contracts["PAUSE"], "data": data} | fees)
    engine.mine(2)


def test_a_bumped_payment_that_reverts_is_let_go(ethereum: EthereumEngine) -> None:
    """The other candidate lost its nonce to it, less deep than would prove it dead alone."""
    customer, row_id = reverting(ethereum)
    first = ethereum.payment_of(row_id)
    ethereum.database.run(
        lambda tx: resolve_payments.bump_payment(tx, first.public_id, None, "operator:ann"), "test_bump"
    )
    ethereum.tick()
    assert ethereum.row(payment, first.id).candidates == 2
    pause(ethereum)
    assert ethereum.row(payment, first.id).status_reason == "reverting"
    gas = ethereum.house("network_fees")
    ethereum.finalise()
    assert ethereum.row(payment, first.id).state == "dead"
    assert ethereum.house("network_fees") < gas
    assert ethereum.balance(customer, "held", "PAUSE") + ethereum.available(customer, "PAUSE") == 5 * _TEN
    ethereum.agree()


def test_one_in_review_is_let_go_by_a_person_once_it_is_final(ethereum: EthereumEngine) -> None:
    customer, row_id = reverting(ethereum)
    paid = ethereum.payment_of(row_id)
    parked = update(payment).where(payment.c.id == paid.id).values(state="review", due_at=None)
    ethereum.database.run(lambda tx: tx.execute(parked), "test")  # as a step that ended many workers leaves it
    pause(ethereum)
    with pytest.raises(StateConflict, match="not final"):
        resolve(ethereum, paid.public_id, "refund")
    ethereum.finalise()
    with pytest.raises(StateConflict, match="did something else"):
        resolve(ethereum, paid.public_id, "paid")
    resolve(ethereum, paid.public_id, "refund")
    ethereum.tick()
    assert (ethereum.row(payment, paid.id).state, ethereum.state(row_id)) == ("dead", "failed")
    assert ethereum.available(customer, "PAUSE") == 5 * _TEN
    ethereum.agree()


def test_one_in_review_that_paid_is_never_let_go(ethereum: EthereumEngine) -> None:
    _, row_id = reverting(ethereum)
    paid = ethereum.payment_of(row_id)
    parked = update(payment).where(payment.c.id == paid.id).values(state="review", due_at=None)
    ethereum.database.run(lambda tx: tx.execute(parked), "test")
    ethereum.mine(2)
    ethereum.finalise()
    for choice in ("refund", "retry", "paid"):
        with pytest.raises(StateConflict):
            resolve(ethereum, paid.public_id, choice)
    ethereum.database.run(
        lambda tx: resolve_payments.recheck_payment(tx, paid.public_id, "operator:ann"), "test_recheck"
    )
    ethereum.tick(2)
    assert ethereum.state(row_id) == "completed"
    ethereum.agree()
