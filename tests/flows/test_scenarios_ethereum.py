"""Scenarios of docs/scenarios.md that no other test plays: on an EVM chain."""

from __future__ import annotations

from tests.flows.ethereum_engine import ETHER, EthereumEngine


def test_a_withdrawal_to_a_contract_that_refuses_gives_its_money_back(ethereum: EthereumEngine) -> None:
    """E13: nothing is signed, no nonce is used, and those beside it leave."""
    ethereum.stock()
    customer = ethereum.funded(3 * ETHER)
    refusing, payee = ethereum.deployed("Rejecter"), ethereum.outside()
    before = ethereum.node.nonce(ethereum.hot)
    refused = ethereum.withdraw(customer, ETHER, refusing)
    ethereum.tick(3)
    assert ethereum.state(refused) == "failed"
    assert ethereum.available(customer) == 3 * ETHER
    assert ethereum.node.nonce(ethereum.hot) == before
    good = ethereum.withdraw(customer, ETHER, payee)
    ethereum.tick(2)
    ethereum.mine(3)
    assert (ethereum.state(good), ethereum.node.balance(payee)) == ("completed", ETHER)
    ethereum.agree()
