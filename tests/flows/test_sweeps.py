"""Sweeps on a real EVM chain: what lies on deposit addresses comes to the hot wallet, and nothing of it is lost."""

from __future__ import annotations

from ledger.schema import sweep
from tests.flows.ethereum_engine import ETHER, EthereumEngine


def test_ether_on_an_index_comes_to_the_hot_wallet(ethereum: EthereumEngine) -> None:
    customer = ethereum.funded(ETHER)
    index = ethereum.address(customer).idx
    [planned] = ethereum.sweeps()
    ethereum.mine(3)
    row = ethereum.row(sweep, planned.id)
    assert (row.state, row.live, row.idx) == ("swept", None, index)
    assert ethereum.node.balance(ethereum.hot) == row.units
    assert 0 < ethereum.held(index) < ETHER // 1_000  # what the fee might have cost more
    assert ethereum.available(customer) == ETHER
    assert ethereum.house("network_fees") < 0
    assert ethereum.left() == {("ETH", index): "below_minimum"}
    ethereum.agree()


def test_a_token_is_swept_only_after_its_gas_is_settled(ethereum: EthereumEngine) -> None:
    ethereum.stock()
    good = ethereum.add_token("GOOD")
    customer = ethereum.funded(50 * 10**6, good)
    index = ethereum.address(customer).idx
    [row] = ethereum.sweeps()
    assert (row.state, len(ethereum.payments("gas")), ethereum.payments("sweep")) == ("funding", 1, [])
    ethereum.mine(1)
    assert ethereum.sweeps()[0].state == "funding"
    ethereum.mine(2)
    assert ethereum.sweeps()[0].state == "sweeping"
    ethereum.mine(3)
    assert ethereum.sweeps()[0].state == "swept"
    assert ethereum.tokens_of("GOOD", ethereum.hot) == 50 * 10**6
    assert (ethereum.held(index, "GOOD"), ethereum.available(customer, "GOOD")) == (0, 50 * 10**6)
    ethereum.agree()


def test_dust_is_left_and_listed(ethereum: EthereumEngine) -> None:
    good = ethereum.add_token("GOOD")
    ethereum.stock()
    small = ethereum.address(ethereum.funded(9 * 10**6, good)).idx
    coin = ethereum.address(ethereum.funded(5 * 10**15)).idx
    assert ethereum.sweeps() == []
    assert ethereum.left() == {("GOOD", small): "below_minimum", ("ETH", coin): "below_minimum"}
    ethereum.agree()
