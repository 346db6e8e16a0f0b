"""Money that lies on indices of its own: to the hot wallet one by one, or many in one transaction (EIP-7702)."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ledger.errors import (
    InsufficientHotFunds,
    InvalidAddress,
    InvalidInput,
    NodeNotReady,
    NodeProtocolError,
    TransactionRefused,
    WalletBusy,
)
from tests.contract.ethereum_rig import EthereumRig
from tests.contract.rigs import Trait, needs
from wallets.protocol import HOT, Output, Spend, TxState

ETH = 10**18
TOKENS = 1_000_000  #: one whole token

pytestmark = needs(Trait.APART)


def payee(chain: EthereumRig, units: int = ETH // 100) -> Output:
    return Output(chain.outside_address(), units)


def hot(chain: EthereumRig) -> str:
    return chain.address(0)


# Sweeps


def test_the_coin_of_an_index_is_swept_to_the_hot_wallet_and_is_no_deposit(chain: EthereumRig) -> None:
    chain.fund(3, ETH)
    before = chain.read_on()
    terms = chain.wallet.sweep_terms()
    assert terms.hot_address == hot(chain)
    units = ETH - terms.weight * chain.rate
    tx = chain.perform(chain.sweep_spend(3, units))
    assert chain.state(tx) is TxState.CONFIRMED
    assert chain.seen(tx.txid, before.cursor) == []
    balance = chain.wallet.balance(None, [3, 4])
    assert balance.at_index == {0: units, 3: terms.weight * chain.rate - chain.cost(tx), 4: 0}
    assert (balance.total_units, balance.spendable_units) == (ETH - chain.cost(tx), units)
    assert tx.resources == (f"{chain.address(3).lower()}:0",)


def test_what_an_index_has_done_before_stops_nobody(chain: EthereumRig) -> None:
    """Its money stays ours whatever happens, and an imported seed may have used any of its indices."""
    chain.fund(3, ETH)
    chain.perform(chain.sweep_spend(3, ETH // 10))
    again = chain.wallet.propose(chain.sweep_spend(3, ETH // 10), chain.rate, chain.rate_max)
    assert (again.resources, again.expects) == ((f"{chain.address(3).lower()}:1",), ())


@needs(Trait.WAITS)
def test_a_sweep_of_all_coin_can_still_be_repriced_within_what_was_left_for_it(chain: EthereumRig) -> None:
    chain.fund(3, ETH)
    spend = chain.sweep_spend(3, ETH - chain.wallet.sweep_terms().weight * 2 * chain.rate)
    proposal = chain.wallet.propose(spend, chain.rate, 2 * chain.rate)
    tx = chain.wallet.sign(proposal, spend)
    chain.wallet.broadcast(tx)
    bump = chain.wallet.reprice(tx, spend, 2 * chain.rate, proposal.fee_max_units)
    new = chain.wallet.sign(bump, spend)
    chain.wallet.broadcast(new)
    chain.mine()
    assert chain.state(new) is TxState.CONFIRMED
    with pytest.raises(InsufficientHotFunds):
        chain.wallet.reprice(new, spend, 3 * chain.rate, 3 * proposal.fee_max_units)


@needs(Trait.TOKENS)
def test_a_token_is_swept_once_its_gas_is_there(chain: EthereumRig) -> None:
    token = chain.token()
    chain.fund(0, ETH)
    chain.give_tokens(token, 3, 5 * TOKENS)
    spend = chain.sweep_spend(3, 5 * TOKENS, token)
    with pytest.raises(InsufficientHotFunds, match="for gas"):
        chain.do(spend)
    before = chain.read_on()
    gas = chain.wallet.sweep_terms(token).weight * chain.rate
    top_up = chain.perform(Spend((Output(chain.address(3), gas),), targets=(3,)))
    swept = chain.perform(spend)
    assert chain.state(swept) is TxState.CONFIRMED
    assert chain.wallet.balance(token, [3]).at_index == {0: 5 * TOKENS, 3: 0}
    assert chain.seen(top_up.txid, before.cursor) == []
    assert chain.seen(swept.txid, before.cursor) == []


def test_money_that_is_to_stay_ours_is_not_signed_away(chain: EthereumRig) -> None:
    """A database row can name an index, and no address of its own making."""
    chain.fund(0, ETH)
    chain.fund(3, ETH)
    thief = chain.outside_address()
    forged = [
        Spend((Output(thief, ETH // 2),), sources=(3,), targets=(HOT,)),
        Spend((Output(chain.address(4), ETH // 2),), sources=(3,), targets=(HOT,)),
        Spend((Output(thief, ETH // 2),), targets=(4,)),
    ]
    for spend in forged:
        with pytest.raises(NodeProtocolError, match="ours"):
            chain.do(spend)
        honest = replace(spend, targets=())
        proposal = chain.wallet.propose(honest, chain.rate, chain.rate_max)
        with pytest.raises(NodeProtocolError, match="ours"):
            chain.wallet.sign(proposal, spend)


def test_a_proposal_for_one_index_is_not_signed_by_another(chain: EthereumRig) -> None:
    chain.fund(3, ETH)
    chain.fund(4, ETH)
    spend = chain.sweep_spend(3, ETH // 2)
    proposal = chain.wallet.propose(spend, chain.rate, chain.rate_max)
    with pytest.raises(NodeProtocolError):
        chain.wallet.sign(proposal, replace(spend, sources=(4,)))


def test_payees_of_a_spend_that_says_so_are_not_named_as_its_own(chain: EthereumRig) -> None:
    chain.fund(3, ETH)
    assert chain.wallet.propose(chain.sweep_spend(3, ETH // 2), chain.rate, chain.rate_max).own_payees == ()


# Batches (EIP-7702)


def batch(chain: EthereumRig, token: str, *indices: int, units: int = 5 * TOKENS) -> Spend:
    outputs = tuple(Output(hot(chain), units) for _ in indices)
    return Spend(outputs, token, sources=indices, targets=(HOT,) * len(indices), batched=True)


def with_sweeper(chain: EthereumRig) -> str:
    """Its own sweep contract for this wallet."""
    sweeper = chain.deploy("Sweeper", hot(chain))
    chain.wallet = chain.wallet_with(sweeper)
    return sweeper


@needs(Trait.TOKENS)
def test_many_indices_are_swept_in_one_transaction_that_the_hot_wallet_pays(chain: EthereumRig) -> None:
    token = chain.token()
    with_sweeper(chain)
    chain.fund(0, ETH)
    for index in (3, 4, 5):
        chain.give_tokens(token, index, 5 * TOKENS)
    before = chain.read_on()
    assert chain.wallet.sweep_terms(token).batch_max >= 3
    tx = chain.perform(batch(chain, token, 3, 4, 5))
    assert chain.state(tx) is TxState.CONFIRMED
    assert set(tx.resources) == {f"{chain.address(index).lower()}:0" for index in (0, 3, 4, 5)}
    assert chain.wallet.balance(token, [3, 4, 5]).at_index == {0: 15 * TOKENS, 3: 0, 4: 0, 5: 0}
    assert chain.wallet.balance(None, [3, 4, 5]).total_units == ETH - chain.cost(tx)
    assert chain.seen(tx.txid, before.cursor) == []


@needs(Trait.TOKENS)
def test_what_runs_the_code_already_is_swept_again_without_signing(chain: EthereumRig) -> None:
    token = chain.token()
    with_sweeper(chain)
    chain.fund(0, ETH)
    for _ in range(2):
        chain.give_tokens(token, 3, 5 * TOKENS)
        tx = chain.perform(batch(chain, token, 3))
        assert chain.state(tx) is TxState.CONFIRMED
    assert tx.resources == (f"{hot(chain).lower()}:1",)
    chain.give_tokens(token, 3, 5 * TOKENS)
    chain.give_tokens(token, 4, 5 * TOKENS)
    mixed = chain.perform(batch(chain, token, 3, 4))
    assert mixed.resources == (f"{hot(chain).lower()}:2", f"{chain.address(4).lower()}:0")
    assert chain.wallet.balance(token).total_units == 20 * TOKENS


@needs(Trait.TOKENS)
def test_the_code_is_taken_away_again_and_plain_deposits_work_then(chain: EthereumRig) -> None:
    token = chain.token()
    sweeper = with_sweeper(chain)
    chain.fund(0, ETH)
    chain.give_tokens(token, 3, 5 * TOKENS)
    chain.perform(batch(chain, token, 3))
    assert chain.node.code(chain.address(3)) == f"0xef0100{sweeper[2:].lower()}"
    refused = chain.node.pay(chain.address(3), 1_000)
    assert chain.node.settle(refused)["status"] == "0x0"  # 21000 gas run no code
    assert chain.seen(refused) == []
    undo = Spend((), sources=(3,), batched=True)
    tx = chain.perform(undo)
    assert chain.state(tx) is TxState.CONFIRMED
    assert set(tx.resources) == {f"{hot(chain).lower()}:1", f"{chain.address(3).lower()}:1"}
    assert chain.node.code(chain.address(3)) == "0x"
    assert chain.fund(3, 1_000)
    with pytest.raises(InvalidInput):
        chain.do(undo)


@needs(Trait.TOKENS)
def test_a_batch_with_one_that_its_token_refuses_is_not_made(chain: EthereumRig) -> None:
    token = chain.token("PausableToken")
    with_sweeper(chain)
    chain.fund(0, ETH)
    for index in (3, 4):
        chain.give_tokens(token, index, 5 * TOKENS)
    chain.invoke(token, "PausableToken", "setFrozen", chain.address(4), True)
    with pytest.raises(InvalidAddress, match=chain.address(4)):
        chain.do(batch(chain, token, 3, 4))
    assert chain.state(chain.perform(batch(chain, token, 3))) is TxState.CONFIRMED


@needs(Trait.TOKENS)
def test_a_batch_of_which_one_part_failed_is_unclear(chain: EthereumRig) -> None:
    token = chain.token("PausableToken")
    with_sweeper(chain)
    chain.fund(0, ETH)
    for index in (3, 4):
        chain.give_tokens(token, index, 5 * TOKENS)
    tx = chain.do(batch(chain, token, 3, 4))
    chain.invoke(token, "PausableToken", "setFrozen", chain.address(4), True)
    chain.wallet.broadcast(tx)
    chain.node.settle(tx.txid)
    assert chain.state(tx) is TxState.UNCLEAR
    assert chain.wallet.balance(token, [3, 4]).at_index == {0: 5 * TOKENS, 3: 0, 4: 5 * TOKENS}


@needs(Trait.TOKENS)
def test_only_our_own_sweep_contract_is_obeyed(chain: EthereumRig) -> None:
    token = chain.token()
    chain.fund(0, ETH)
    chain.give_tokens(token, 3, 5 * TOKENS)
    with pytest.raises((ValueError, InvalidInput)):
        chain.do(batch(chain, token, 3))  # none is set
    for contract in (chain.deploy("Sweeper", chain.outside_address()), token, chain.outside_address()):
        chain.wallet = chain.wallet_with(contract)
        with pytest.raises(NodeNotReady, match="not the sweep contract"):
            chain.do(batch(chain, token, 3))


@needs(Trait.TOKENS)
def test_a_batch_goes_to_the_hot_wallet_only(chain: EthereumRig) -> None:
    token = chain.token()
    with_sweeper(chain)
    chain.fund(0, ETH)
    chain.give_tokens(token, 3, 5 * TOKENS)
    good = batch(chain, token, 3)
    thief = replace(good, outputs=(Output(chain.outside_address(), 5 * TOKENS),))
    with pytest.raises(NodeProtocolError):
        chain.do(thief)
    proposal = chain.wallet.propose(good, chain.rate, chain.rate_max)
    for other in (batch(chain, token, 4), batch(chain, token, 3, units=TOKENS), replace(good, sources=())):
        with pytest.raises(NodeProtocolError):
            chain.wallet.sign(proposal, other)
    forged = json.loads(proposal.payload)
    forged["delegations"][0]["delegate"] = chain.outside_address().lower()
    payload = json.dumps(forged, sort_keys=True, separators=(",", ":"))
    with pytest.raises(NodeProtocolError, match="another contract"):
        chain.wallet.sign(replace(proposal, payload=payload), good)
    assert chain.wallet.sign(proposal, good) == chain.wallet.sign(proposal, good)


@needs(Trait.TOKENS)
def test_an_index_whose_nonce_is_bound_to_another_payment_waits(chain: EthereumRig) -> None:
    token = chain.token()
    with_sweeper(chain)
    chain.fund(0, ETH)
    chain.give_tokens(token, 3, 5 * TOKENS)
    with pytest.raises(WalletBusy):
        chain.do(batch(chain, token, 3), excluded=[f"{chain.address(3).lower()}:0"])


@needs(Trait.TOKENS)
def test_a_sweep_that_an_authorization_overtook_is_conflicted(chain: EthereumRig) -> None:
    token = chain.token()
    with_sweeper(chain)
    chain.fund(0, ETH)
    chain.fund(3, ETH)
    chain.give_tokens(token, 3, 5 * TOKENS)
    late = chain.do(chain.sweep_spend(3, ETH // 2))
    winner = chain.perform(batch(chain, token, 3))
    status = chain.status(late)
    assert (status.state, status.conflicting) == (TxState.CONFLICTED, (winner.txid,))
    with pytest.raises(TransactionRefused):
        chain.wallet.broadcast(late)
