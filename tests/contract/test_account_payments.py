"""Chains whose resources are nonces and whose indices hold money of their own: what those wallets promise besides.

On anvil, and on a real geth for all that needs no blocks made by hand.
"""

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
from wallets.ethereum.contracts import creation, encode, load
from wallets.ethereum.nonces import IN_FLIGHT_MAX
from wallets.protocol import HOT, Output, Spend, TxState

ETH = 10**18
TOKENS = 1_000_000  #: one whole token

pytestmark = needs(Trait.NONCES)


def payee(chain: EthereumRig, units: int = ETH // 100) -> Output:
    return Output(chain.outside_address(), units)


def hot(chain: EthereumRig) -> str:
    return chain.address(0)


# Nonces


def test_payments_in_a_row_take_nonces_in_a_row(chain: EthereumRig) -> None:
    chain.fund(0, ETH)
    first = chain.make(payee(chain))
    second = chain.make(payee(chain), excluded=first.resources)
    assert (first.resources, second.resources) == ((f"{hot(chain).lower()}:0",), (f"{hot(chain).lower()}:1",))
    chain.wallet.broadcast(second)  # it waits for the first, whichever comes first
    chain.wallet.broadcast(first)
    chain.mine()
    assert [chain.state(tx) for tx in (first, second)] == [TxState.CONFIRMED] * 2


def test_the_gap_that_a_payment_leaves_is_filled_by_the_next(chain: EthereumRig) -> None:
    chain.fund(0, ETH)
    dropped = chain.make(payee(chain))
    waiting = chain.make(payee(chain), excluded=dropped.resources)
    chain.wallet.broadcast(waiting)
    chain.mine()
    assert chain.state(waiting) is TxState.POOL
    filler = chain.make(payee(chain), excluded=waiting.resources)
    assert filler.resources == dropped.resources
    chain.wallet.broadcast(filler)
    chain.mine()
    assert [chain.state(tx) for tx in (filler, waiting)] == [TxState.CONFIRMED] * 2
    assert chain.state(dropped) is TxState.CONFLICTED


def test_a_gap_that_nobody_else_fills_is_filled_by_a_payment_to_ourselves(chain: EthereumRig) -> None:
    chain.fund(0, ETH)
    assert chain.wallet.fill(()) == ()
    dropped = chain.make(payee(chain))
    assert chain.wallet.fill(dropped.resources) == ()
    waiting = chain.make(payee(chain), excluded=dropped.resources)
    chain.wallet.broadcast(waiting)
    outputs = tuple(chain.wallet.fill(waiting.resources))
    assert [output.address for output in outputs] == [hot(chain)]
    filler = chain.do(Spend(outputs, targets=(HOT,)), excluded=waiting.resources)
    assert filler.resources == dropped.resources
    chain.wallet.broadcast(filler)
    chain.mine()
    assert [chain.state(tx) for tx in (filler, waiting)] == [TxState.CONFIRMED] * 2
    assert chain.wallet.fill(waiting.resources) == ()


def test_no_more_than_sixteen_are_on_their_way(chain: EthereumRig) -> None:
    chain.fund(0, ETH)
    taken = {f"{hot(chain).lower()}:{nonce}" for nonce in range(IN_FLIGHT_MAX - 1)}
    last = chain.propose(payee(chain), excluded=taken)
    assert last.resources == (f"{hot(chain).lower()}:{IN_FLIGHT_MAX - 1}",)
    with pytest.raises(WalletBusy):
        chain.propose(payee(chain), excluded={*taken, *last.resources})


def test_resources_of_payments_that_are_mined_hold_up_nobody(chain: EthereumRig) -> None:
    chain.fund(0, ETH)
    done = chain.send(payee(chain))
    chain.mine()
    excluded = {*done.resources, *(f"{hot(chain).lower()}:{nonce}" for nonce in range(1, IN_FLIGHT_MAX))}
    assert chain.propose(payee(chain), excluded=excluded).resources == (f"{hot(chain).lower()}:{IN_FLIGHT_MAX}",)


def test_a_proposal_tells_what_the_chain_and_the_pool_show_as_used(chain: EthereumRig) -> None:
    """A restored database, or somebody else with the key: neither knows what was sent (J3)."""
    chain.fund(0, ETH)
    fresh = chain.propose(payee(chain))
    assert fresh.expects == ()
    sent = chain.send(payee(chain))
    chain.mine()
    assert chain.propose(payee(chain)).expects == sent.resources
    assert chain.wallet.open().used == sent.resources


@needs(Trait.WAITS)
def test_what_only_waits_in_the_pool_is_told_too(chain: EthereumRig) -> None:
    chain.fund(0, ETH)
    sent = chain.send(payee(chain))
    assert chain.propose(payee(chain)).expects == sent.resources
    assert chain.wallet.open().used == sent.resources
    chain.mine()
    later = chain.send(payee(chain))
    assert chain.propose(payee(chain)).expects == (*sent.resources, *later.resources)
    assert chain.wallet.open().used == (*sent.resources, *later.resources)


def test_a_new_wallet_has_used_nothing(chain: EthereumRig) -> None:
    assert (chain.identity.hot_index, chain.identity.used) == (0, ())


# The price of gas


def test_a_market_above_the_ceiling_is_waited_for(chain: EthereumRig) -> None:
    chain.fund(0, ETH)
    base_fee = int(chain.node.block()["baseFeePerGas"], 16)
    with pytest.raises(WalletBusy, match="ceiling"):
        chain.propose(payee(chain), rate=1, rate_max=base_fee)


def test_a_rate_below_the_market_is_lifted_within_the_ceiling(chain: EthereumRig) -> None:
    chain.fund(0, ETH)
    tx = chain.make(payee(chain), rate=1)
    chain.wallet.broadcast(tx)
    chain.mine()
    assert chain.state(tx) is TxState.CONFIRMED


@needs(Trait.WAITS)
def test_a_replacement_offers_an_eighth_more_of_both_prices(chain: EthereumRig) -> None:
    chain.fund(0, ETH)
    output = payee(chain)
    old = chain.send(output)
    new = chain.reprice(old, output, rate=1)
    before, after = json.loads(old.payload), json.loads(new.payload)
    for price in ("fee_cap", "tip"):
        assert after[price] * 8 >= before[price] * 9
    assert {k for k in before if before[k] != after[k]} == {"fee_cap", "tip"}
    chain.wallet.broadcast(new)
    assert chain.state(new) is TxState.POOL


# Tokens


@needs(Trait.TOKENS)
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


@needs(Trait.TOKENS)
def test_a_token_that_answers_nothing_is_paid_all_the_same(chain: EthereumRig) -> None:
    token = chain.token("NoReturnToken")
    chain.fund(0, ETH)
    chain.give_tokens(token, 0, 5 * TOKENS)
    assert chain.state(chain.perform(chain.token_spend(token, chain.outside_address(), TOKENS))) is TxState.CONFIRMED


@needs(Trait.TOKENS)
def test_too_little_of_the_token_and_too_little_gas_are_told_apart(chain: EthereumRig) -> None:
    token = chain.token()
    chain.give_tokens(token, 0, TOKENS)
    with pytest.raises(InsufficientHotFunds, match="of the token"):
        chain.do(chain.token_spend(token, chain.outside_address(), 2 * TOKENS))
    with pytest.raises(InsufficientHotFunds, match="for gas"):
        chain.do(chain.token_spend(token, chain.outside_address(), TOKENS))


@needs(Trait.TOKENS)
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


@needs(Trait.TOKENS)
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


@needs(Trait.TOKENS)
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


@needs(Trait.TOKENS)
def test_what_a_contract_says_of_itself(chain: EthereumRig) -> None:
    facts = chain.wallet.token_facts(chain.token())
    assert (facts.symbol, facts.decimals) == ("TOK", 6)
    silent = chain.wallet.token_facts(chain.deploy("Forwarder"))
    assert (silent.symbol, silent.decimals) == (None, None)
    with pytest.raises(LookupError):
        chain.wallet.token_facts(chain.outside_address())


# Contracts as payees, and calls


@needs(Trait.TOKENS)
def test_a_payee_that_takes_no_coin_is_refused_before_anything_is_signed(chain: EthereumRig) -> None:
    chain.fund(0, ETH)
    with pytest.raises(InvalidAddress, match="refuses"):
        chain.make(Output(chain.deploy("Rejecter"), ETH // 100))


@needs(Trait.TOKENS)
def test_a_payee_that_needs_more_gas_gets_it(chain: EthereumRig) -> None:
    chain.fund(0, ETH)
    contract = chain.deploy("CostlyReceiver")
    tx = chain.send(Output(contract, ETH // 100))
    chain.mine()
    assert chain.state(tx) is TxState.CONFIRMED
    assert chain.received(contract) == ETH // 100


@needs(Trait.TOKENS)
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


@needs(Trait.TOKENS)
def test_a_call_that_reverts_is_refused(chain: EthereumRig) -> None:
    chain.fund(0, ETH)
    token = chain.token()
    with pytest.raises(InvalidInput) as error:
        chain.do(chain.call(token, encode(load("GoodToken"), "transfer", [chain.outside_address(), 5])))
    assert error.value.code == "call_refused"


# Sweeps


@needs(Trait.APART)
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


@needs(Trait.APART)
def test_what_an_index_has_done_before_stops_nobody(chain: EthereumRig) -> None:
    """Its money stays ours whatever happens, and an imported seed may have used any of its indices."""
    chain.fund(3, ETH)
    chain.perform(chain.sweep_spend(3, ETH // 10))
    again = chain.wallet.propose(chain.sweep_spend(3, ETH // 10), chain.rate, chain.rate_max)
    assert (again.resources, again.expects) == ((f"{chain.address(3).lower()}:1",), ())


@needs(Trait.APART, Trait.WAITS)
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


@needs(Trait.APART, Trait.TOKENS)
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


@needs(Trait.APART)
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


@needs(Trait.APART)
def test_a_proposal_for_one_index_is_not_signed_by_another(chain: EthereumRig) -> None:
    chain.fund(3, ETH)
    chain.fund(4, ETH)
    spend = chain.sweep_spend(3, ETH // 2)
    proposal = chain.wallet.propose(spend, chain.rate, chain.rate_max)
    with pytest.raises(NodeProtocolError):
        chain.wallet.sign(proposal, replace(spend, sources=(4,)))


@needs(Trait.APART)
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


# Bytes that differ from what was asked


def test_only_what_the_payment_says_is_signed(chain: EthereumRig) -> None:
    chain.fund(0, ETH)
    output = payee(chain)
    proposal = chain.propose(output)
    honest = json.loads(proposal.payload)
    plan = honest["plan"]
    forgeries = [
        {"plan": plan | {"to": chain.outside_address()}},
        {"plan": plan | {"value": plan["value"] + 1}},
        {"plan": plan | {"data": "0x00"}},
        {"plan": plan | {"index": 3}},
        {"chain_id": honest["chain_id"] + 1},
        {"sender": chain.address(3)},
        {"nonce": 1},
        {"gas": honest["gas"] + 1},
        {"gas": 20_999},
        {"fee_cap": 2 * honest["fee_cap"]},
        {"tip": honest["fee_cap"] + 1},
        {"nonce": True},
        {"nonce": "0"},
        {"more": 1},
    ]
    for forged in forgeries:
        payload = json.dumps(honest | forged, sort_keys=True, separators=(",", ":"))
        with pytest.raises(NodeProtocolError):
            chain.sign(replace(proposal, payload=payload), output)
    for text in ("", "[]", "null", proposal.payload + " "):
        with pytest.raises(NodeProtocolError):
            chain.sign(replace(proposal, payload=text), output)
    assert chain.sign(proposal, output).fee_units == 21_000 * chain.rate
