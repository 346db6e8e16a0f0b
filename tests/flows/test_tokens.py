"""Tokens that do not do what they say: nothing is credited or called paid that did not move."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from jobs.reconcile import chain as reconcile
from ledger.ids import is_id
from ledger.schema import payment, withdrawal
from tests.flows.ethereum_engine import ETHER, EthereumEngine
from wallets.ethereum.deposits import Deposits

_TEN = 10 * 10**6


def test_a_token_is_paid_in_and_out(ethereum: EthereumEngine) -> None:
    ethereum.stock()
    good = ethereum.add_token("GOOD")
    customer = ethereum.funded(5 * _TEN, good)
    for _ in range(4):
        ethereum.mine(2)
    payee = ethereum.outside()
    row_id = ethereum.withdraw(customer, _TEN, payee, asset="GOOD")
    ethereum.tick(2)
    ethereum.mine(3)
    assert ethereum.state(row_id) == "completed"
    assert ethereum.tokens_of("GOOD", payee) == _TEN
    assert ethereum.available(customer, "GOOD") == 4 * _TEN - 10**6  # the flat fee
    assert ethereum.house("service_fees", "GOOD") == 10**6
    ethereum.agree()


def test_a_token_that_keeps_a_part_is_held_not_credited(ethereum: EthereumEngine) -> None:
    """Its event says the whole, its balances say less: a person decides, and nothing is swept meanwhile."""
    ethereum.stock()
    fee = ethereum.add_token("FEE", "FeeToken", True)
    customer = ethereum.account()
    home = ethereum.address(customer, fee)
    ethereum.give("FEE", home.address, 5 * _TEN)
    ethereum.tick()
    [row] = [row for row in ethereum.deposits() if row.asset == "FEE"]
    assert (row.state, row.status_reason) == ("held", "balance_mismatch")
    assert is_id(row.public_id, "dp")
    assert ethereum.available(customer, "FEE") == 0
    assert (ethereum.sweeps(), ethereum.left()) == ([], {("FEE", home.idx): "deposit_held"})
    report = reconcile.of_asset(ethereum.services, "FEE", "ethereum")
    assert (report.doubtful_units, report.unexplained_units) == (-(5 * _TEN) // 100, 0)


def test_a_token_that_tells_what_arrived_is_credited_with_that(ethereum: EthereumEngine) -> None:
    fee = ethereum.add_token("FEE", "FeeToken", False)
    customer = ethereum.account()
    ethereum.give("FEE", ethereum.address(customer, fee).address, _TEN)
    ethereum.tick()
    assert ethereum.available(customer, "FEE") == _TEN - _TEN // 100
    ethereum.agree()


def test_a_token_that_says_false_credits_nothing(ethereum: EthereumEngine) -> None:
    false = ethereum.add_token("FALSE", "FalseToken")
    customer = ethereum.account()
    ethereum.give("FALSE", ethereum.address(customer, false).address, _TEN)
    ethereum.tick()
    assert [row for row in ethereum.deposits() if row.asset == "FALSE"] == []
    ethereum.agree()


def test_a_withdrawal_of_a_token_that_says_false_waits_for_a_person(ethereum: EthereumEngine) -> None:
    """The receipt says success; no event says that anything moved, and nothing has."""
    ethereum.stock()
    false = ethereum.add_token("FALSE", "FalseToken", sweep_minimum_units=10**12)
    customer = ethereum.account()
    home = ethereum.address(customer, false)
    contract = ethereum.contracts["FALSE"]
    ethereum.call(contract, "FalseToken", "mint", home.address, 5 * _TEN)
    ethereum.call(contract, "FalseToken", "mint", ethereum.hot, 5 * _TEN)
    ethereum.tick()
    assert ethereum.available(customer, "FALSE") == 5 * _TEN
    row_id = ethereum.withdraw(customer, _TEN, ethereum.outside(), asset="FALSE")
    ethereum.tick(2)
    for _ in range(3):
        ethereum.mine(2)
    paid = ethereum.payment_of(row_id)
    assert (ethereum.state(row_id), ethereum.row(withdrawal, row_id).status_reason) == ("review", "not_as_promised")
    assert (paid.state, ethereum.row(payment, paid.id).status_reason) == ("review", "not_as_promised")
    assert ethereum.balance(customer, "held", "FALSE") == _TEN + 10**6  # neither paid nor given back
    report = reconcile.of_asset(ethereum.services, "FALSE", "ethereum")
    assert (report.doubtful_units, report.unexplained_units) == (_TEN, 0)


def test_a_paused_tokens_withdrawal_gives_its_money_back(ethereum: EthereumEngine) -> None:
    """What the contract refuses beforehand is never sent."""
    ethereum.stock()
    paused = ethereum.add_token("PAUSE", "PausableToken", sweep_minimum_units=10**12)
    customer = ethereum.funded(5 * _TEN, paused)
    ethereum.give("PAUSE", ethereum.hot, 5 * _TEN)
    ethereum.call(ethereum.contracts["PAUSE"], "PausableToken", "setPaused", True)
    before = ethereum.node.nonce(ethereum.hot)
    row_id = ethereum.withdraw(customer, _TEN, ethereum.outside(), asset="PAUSE")
    ethereum.tick(3)
    ethereum.mine(3)
    assert ethereum.state(row_id) == "failed"
    assert ethereum.available(customer, "PAUSE") == 5 * _TEN
    assert ethereum.node.nonce(ethereum.hot) == before
    ethereum.agree()


def test_tokens_of_one_address_are_told_apart_from_its_ether(ethereum: EthereumEngine) -> None:
    good = ethereum.add_token("GOOD")
    customer = ethereum.account()
    home = ethereum.address(customer, good)
    ethereum.give("GOOD", home.address, _TEN // 2)
    ethereum.pay(home.address, ETHER // 1_000)
    assert (ethereum.available(customer), ethereum.available(customer, "GOOD")) == (ETHER // 1_000, _TEN // 2)
    assert (ethereum.held(home.idx), ethereum.held(home.idx, "GOOD")) == (ETHER // 1_000, _TEN // 2)
    ethereum.agree()


def _away_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """The node has forgotten the balances of the blocks that are read now, as one that is no archive does."""

    def unknown(self: Deposits, paid: Sequence[Any], *_: object) -> dict[tuple[str, str, str], str]:
        return {(each.token, each.payee, each.block_hash): "balance_unknown" for each in paid if each.token}

    monkeypatch.setattr(Deposits, "_odd", unknown)


def test_a_token_deposit_of_a_block_that_is_forgotten_is_credited_by_todays_balance(
    ethereum: EthereumEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    ethereum.stock()
    good = ethereum.add_token("GOOD")
    customer = ethereum.account()
    _away_for_long(monkeypatch)
    for units in (_TEN, 2 * _TEN):
        ethereum.give("GOOD", ethereum.address(customer, good).address, units)
    for _ in range(4):  # a sweep of the first is under way: until it is done nothing can be compared
        ethereum.mine(2)
    assert ethereum.available(customer, "GOOD") == 3 * _TEN
    ethereum.agree()


def test_a_token_that_keeps_a_part_is_held_also_when_its_block_is_forgotten(
    ethereum: EthereumEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    fee = ethereum.add_token("FEE", "FeeToken", True)
    customer = ethereum.account()
    _away_for_long(monkeypatch)
    ethereum.give("FEE", ethereum.address(customer, fee).address, _TEN)
    ethereum.tick()
    assert [(row.state, row.status_reason) for row in ethereum.deposits()] == [("held", "balance_unknown")]
    assert ethereum.available(customer, "FEE") == 0
