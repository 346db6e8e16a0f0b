"""Tokens good and bad, contracts as payees, and calls. On anvil and on a real geth."""

from __future__ import annotations

import pytest

from ledger.errors import (
    InsufficientHotFunds,
    InvalidAddress,
    InvalidInput,
)
from tests.contract.ethereum_rig import EthereumRig
from tests.contract.rigs import Trait, needs
from wallets.ethereum.contracts import creation, encode, load
from wallets.protocol import Output, TxState

ETH = 10**18
TOKENS = 1_000_000  #: one whole token

pytestmark = needs(Trait.TOKENS)


def payee(chain: EthereumRig, units: int = ETH // 100) -> Output:
    return Output(chain.outside_address(), units)


def hot(chain: EthereumRig) -> str:
    return chain.address(0)


# Tokens


def test_a_token_is_paid_and_costs_gas(chain: EthereumRig) -> None:
    token = chain.token()
    chain.fund(0, ETH)
    chain.give_tokens(token, 0, 5 * TOKENS)
    address = chain.outside_address()
    tx = chain.perform(chain.token_spend(token, address, 2 * TOKENS))
    assert chain.state(tx) is TxState.CONFIRMED
    assert chain.token_balance(token, address) == 2 * TOKENS
    assert chain.wallet.balance(token).total_units == 3 * TOKENS
    assert chain.wallet.balance().total_units == ETH - chain.cost(tx)
    assert chain.wallet.watched_balance(address, token) == 2 * TOKENS


def test_a_token_that_answers_nothing_is_paid_all_the_same(chain: EthereumRig) -> None:
    token = chain.token("NoReturnToken")
    chain.fund(0, ETH)
    chain.give_tokens(token, 0, 5 * TOKENS)
    assert chain.state(chain.perform(chain.token_spend(token, chain.outside_address(), TOKENS))) is TxState.CONFIRMED


def test_too_little_of_the_token_and_too_little_gas_are_told_apart(chain: EthereumRig) -> None:
    token = chain.token()
    chain.give_tokens(token, 0, TOKENS)
    with pytest.raises(InsufficientHotFunds, match="of the token"):
        chain.do(chain.token_spend(token, chain.outside_address(), 2 * TOKENS))
    with pytest.raises(InsufficientHotFunds, match="for gas"):
        chain.do(chain.token_spend(token, chain.outside_address(), TOKENS))


@pytest.mark.parametrize(
    ("name", "more"), [("FalseToken", ()), ("FeeToken", (False,))], ids=["answers_false", "takes_a_fee"]
)
def test_a_token_that_moves_something_else_than_asked_is_unclear(
    chain: EthereumRig, name: str, more: tuple[object, ...]
) -> None:
    token = chain.token(name, *more)
    chain.fund(0, ETH)
    chain.invoke(token, name, "mint", hot(chain), 5 * TOKENS)
    tx = chain.perform(chain.token_spend(token, chain.outside_address(), TOKENS))
    status = chain.status(tx)
    assert status.state is TxState.UNCLEAR
    assert status.fee_units is not None
    chain.wallet.broadcast(tx)  # whatever it did, it is done


def test_a_token_that_refuses_the_payee_refuses_the_payment(chain: EthereumRig) -> None:
    token = chain.token("PausableToken")
    chain.fund(0, ETH)
    chain.give_tokens(token, 0, 5 * TOKENS)
    address = chain.outside_address()
    chain.invoke(token, "PausableToken", "setFrozen", address, True)
    with pytest.raises(InvalidAddress, match="refuses"):
        chain.do(chain.token_spend(token, address, TOKENS))
    chain.invoke(token, "PausableToken", "setPaused", True)
    with pytest.raises(InvalidAddress, match="refuses"):
        chain.do(chain.token_spend(token, chain.outside_address(), TOKENS))


def test_a_payment_that_reverts_in_its_block_took_its_gas_and_its_nonce(chain: EthereumRig) -> None:
    token = chain.token("PausableToken")
    chain.fund(0, ETH)
    chain.give_tokens(token, 0, 5 * TOKENS)
    address = chain.outside_address()
    tx = chain.do(chain.token_spend(token, address, TOKENS))
    chain.invoke(token, "PausableToken", "setPaused", True)
    chain.wallet.broadcast(tx)
    chain.node.settle(tx.txid)
    status = chain.status(tx)
    assert status.state is TxState.FAILED
    assert status.depth >= 1
    assert chain.token_balance(token, address) == 0
    assert chain.wallet.balance().total_units == ETH - chain.cost(tx)
    chain.wallet.broadcast(tx)
    assert chain.propose(payee(chain)).resources == (f"{hot(chain).lower()}:1",)


def test_what_a_contract_says_of_itself(chain: EthereumRig) -> None:
    facts = chain.wallet.token_facts(chain.token())
    assert (facts.symbol, facts.decimals) == ("TOK", 6)
    silent = chain.wallet.token_facts(chain.deploy("Forwarder"))
    assert (silent.symbol, silent.decimals) == (None, None)
    with pytest.raises(LookupError):
        chain.wallet.token_facts(chain.outside_address())


# Contracts as payees, and calls


def test_a_payee_that_takes_no_coin_is_refused_before_anything_is_signed(chain: EthereumRig) -> None:
    chain.fund(0, ETH)
    with pytest.raises(InvalidAddress, match="refuses"):
        chain.make(Output(chain.deploy("Rejecter"), ETH // 100))


def test_a_payee_that_needs_more_gas_gets_it(chain: EthereumRig) -> None:
    chain.fund(0, ETH)
    contract = chain.deploy("CostlyReceiver")
    tx = chain.send(Output(contract, ETH // 100))
    chain.mine()
    assert chain.state(tx) is TxState.CONFIRMED
    assert chain.received(contract) == ETH // 100


def test_a_contract_is_deployed_and_called(chain: EthereumRig) -> None:
    chain.fund(0, ETH)
    deployed = chain.perform(chain.call(None, creation(load("GoodToken"), ["TOK", 6, hot(chain), TOKENS])))
    status = chain.status(deployed)
    assert status.state is TxState.CONFIRMED
    assert status.contract is not None
    address = chain.outside_address()
    called = chain.perform(chain.call(status.contract, encode(load("GoodToken"), "transfer", [address, 5])))
    assert (chain.state(called), chain.status(called).contract) == (TxState.CONFIRMED, None)
    assert chain.token_balance(status.contract, address) == 5


def test_a_call_that_reverts_is_refused(chain: EthereumRig) -> None:
    chain.fund(0, ETH)
    token = chain.token()
    with pytest.raises(InvalidInput) as error:
        chain.do(chain.call(token, encode(load("GoodToken"), "transfer", [chain.outside_address(), 5])))
    assert error.value.code == "call_refused"
