"""Scenarios of docs/scenarios.md that no other test plays: on an EVM chain."""

from __future__ import annotations

import pytest

from jobs.reconcile import chain as reconcile
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


@pytest.mark.parametrize(("words", "state"), [(4_000, "completed"), (30_000, "failed"), (87_000, "failed")])
def test_a_payee_whose_contract_burns_gas_is_paid_up_to_a_bound(
    ethereum: EthereumEngine, words: int, state: str
) -> None:
    """The house pays for the gas. The last needs nearly all that a transaction may have: with the margin on top no
    node would take what was signed, and all later nonces would wait behind it."""
    ethereum.stock()
    customer = ethereum.funded(3 * ETHER)
    hungry, payee = ethereum.outside(), ethereum.outside()
    ethereum.node.rpc("anvil_setCode", hungry, f"0x5f62{32 * words:06x}5200")  # memory: words² / 512 gas
    first = ethereum.withdraw(customer, ETHER // 1000, hungry)
    ethereum.tick(3)
    assert (ethereum.available(customer) == 3 * ETHER) is (state == "failed")
    other = ethereum.withdraw(customer, ETHER, payee)
    for _ in range(3):
        ethereum.mine(3)
    assert (ethereum.state(first), ethereum.state(other)) == (state, "completed")
    ethereum.agree()


@pytest.mark.parametrize("code", ["ETH", "GOOD"])
def test_what_came_to_a_new_address_a_moment_ago_is_no_difference(ethereum: EthereumEngine, code: str) -> None:
    """The chain is asked about this index too, though no row tells yet that anything is there."""
    good = ethereum.add_token("GOOD")
    home = ethereum.address(ethereum.account(), None if code == "ETH" else good).address
    if code == "ETH":
        ethereum.node.pay(home, ETHER, gas=100_000)
        ethereum.node.mine(1)
    else:
        ethereum.call(ethereum.contracts[code], ethereum.kinds[code], "transfer", home, 5_000_000)
    report = reconcile.of_asset(ethereum.services, code, "ethereum")
    assert (report.uncredited_units, report.unexplained_units) == (ETHER if code == "ETH" else 5_000_000, 0)
