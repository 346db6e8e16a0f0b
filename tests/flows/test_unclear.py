"""A payment that did something else than it says is decided by a person, and only in the way that fits the chain."""

from __future__ import annotations

import pytest

from jobs import explain
from jobs.resolve import accounts as resolve_accounts
from jobs.resolve import payments as resolve_payments
from ledger import balances
from ledger.errors import StateConflict
from ledger.schema import audit, payment, withdrawal
from tests.flows.ethereum_engine import EthereumEngine

_TEN = 10 * 10**6


def resolve(engine: EthereumEngine, public_id: str, choice: str) -> None:
    row, asked = engine.database.read(lambda tx: resolve_payments.needs_proof(tx, public_id))
    proof = resolve_payments.prove(engine.services, row, asked)
    engine.database.run(
        lambda tx: resolve_payments.resolve_payment(tx, public_id, choice, proof, "operator:ann"), "test_resolve"
    )


def in_review(engine: EthereumEngine, code: str, kind: str, *more: object) -> tuple[int, int, str]:
    """An account with tokens, its withdrawal in review, and the payment's id."""
    engine.stock()
    token = engine.add_token(code, kind, *more, sweep_minimum_units=10**12)
    customer = engine.account()
    contract = engine.contracts[code]
    for address in (engine.address(customer, token).address, engine.hot):
        engine.call(contract, kind, "mint", address, 5 * _TEN)
    engine.tick()
    row_id = engine.withdraw(customer, _TEN, engine.outside(), asset=code)
    engine.tick(2)
    engine.mine(2)
    assert engine.state(row_id) == "review"
    return customer, row_id, str(engine.payment_of(row_id).public_id)


def test_what_moved_nothing_is_given_back_once_it_is_final(ethereum: EthereumEngine) -> None:
    customer, row_id, public_id = in_review(ethereum, "FALSE", "FalseToken")
    for choice in ("refund", "retry", "paid"):
        with pytest.raises(StateConflict, match="not final"):
            resolve(ethereum, public_id, choice)
    ethereum.finalise()
    with pytest.raises(StateConflict, match="nothing of it has left"):
        resolve(ethereum, public_id, "paid")
    gas = ethereum.house("network_fees")
    resolve(ethereum, public_id, "refund")
    ethereum.tick()
    assert ethereum.state(row_id) == "failed"
    assert ethereum.available(customer, "FALSE") == 5 * _TEN
    assert ethereum.house("network_fees") < gas  # the gas is booked all the same
    ethereum.agree()


def test_what_moved_nothing_is_tried_again_in_another_payment(ethereum: EthereumEngine) -> None:
    _, row_id, public_id = in_review(ethereum, "FALSE", "FalseToken")
    ethereum.finalise()
    resolve(ethereum, public_id, "retry")
    ethereum.tick()
    again = ethereum.payment_of(row_id)
    assert again.public_id != public_id
    assert again.asset == "FALSE"


def test_what_left_in_full_is_booked_as_paid_whatever_the_payee_got(ethereum: EthereumEngine) -> None:
    customer, row_id, public_id = in_review(ethereum, "FEE", "FeeToken", False)
    told = ethereum.database.read(lambda tx: explain.explain(tx, public_id))
    assert [step for step in told.actions if "--paid" in step]
    ethereum.finalise()
    for choice in ("refund", "retry"):
        with pytest.raises(StateConflict, match="all of it has left"):
            resolve(ethereum, public_id, choice)
    resolve(ethereum, public_id, "paid")
    ethereum.tick()
    assert ethereum.state(row_id) == "completed"
    row = next(row for row in ethereum.rows(payment) if row.public_id == public_id)
    assert (row.state, row.status_reason) == ("final", "paid_by_operator")
    assert ethereum.available(customer, "FEE") == 4 * _TEN - 10**6
    assert ethereum.row(withdrawal, row_id).txid == row.txid
    assert [a.action for a in ethereum.rows(audit) if a.target == public_id] == ["payment.paid"]
    ethereum.agree()


def test_a_sweep_that_lost_a_part_is_booked_as_the_chain_shows(ethereum: EthereumEngine) -> None:
    """The index is empty, the hot wallet got less: the holdings are right at once, and the loss is booked by hand."""
    ethereum.stock()
    fee = ethereum.add_token("FEE", "FeeToken", False)
    home = ethereum.address(ethereum.account(), fee)
    ethereum.call(ethereum.contracts["FEE"], "FeeToken", "mint", home.address, 5 * _TEN)
    ethereum.tick()
    for _ in range(3):
        ethereum.mine(2)
    [collecting] = ethereum.payments("sweep")
    assert (collecting.state, collecting.status_reason) == ("review", "not_as_promised")
    with pytest.raises(StateConflict, match="not final"):
        resolve(ethereum, collecting.public_id, "paid")
    ethereum.finalise()
    with pytest.raises(StateConflict, match="own money"):
        resolve(ethereum, collecting.public_id, "refund")
    resolve(ethereum, collecting.public_id, "paid")
    ethereum.tick()
    assert ethereum.held(home.idx, "FEE") == ethereum.tokens_of("FEE", home.address) == 0
    assert [row.state for row in ethereum.sweeps()] == ["swept"]
    lost = 5 * _TEN // 100
    ethereum.database.run(
        lambda tx: resolve_accounts.book_loss(tx, "FEE", lost, "the token keeps a part", "operator:ann"), "test_loss"
    )
    assert ethereum.database.read(balances.faults) == []
    ethereum.agree()


def test_a_sweep_is_explained_with_its_payments(ethereum: EthereumEngine) -> None:
    ethereum.stock()
    good = ethereum.add_token("GOOD")
    customer = ethereum.funded(5 * _TEN, good)
    for _ in range(4):
        ethereum.mine(2)
    [row] = ethereum.sweeps()
    told = ethereum.database.read(lambda tx: explain.explain(tx, row.public_id))
    kinds = [subject["kind"] for subject in told.subjects]
    assert kinds.count("payment") == 2
    assert {subject.get("for") for subject in told.subjects} >= {"gas", "sweep"}
    moves = [move for subject in told.subjects for move in subject.get("moves", ())]
    assert f"50.000000 GOOD from index {row.idx} to the hot wallet" in moves
    assert any(f"from the hot wallet to index {row.idx}" in move for move in moves)
    home = ethereum.address(customer, good).address
    assert row.public_id in {
        subject["id"] for subject in ethereum.database.read(lambda tx: explain.explain(tx, home)).subjects
    }
