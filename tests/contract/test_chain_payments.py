"""What every `ChainWallet` promises about payments: proposed, signed, sent, followed and replaced.

As in `test_chain_wallet.py`, outcomes are read from the chain, and a test names what it needs of one.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from ledger.errors import (
    InsufficientHotFunds,
    InvalidAddress,
    InvalidAmount,
    NodeProtocolError,
    NodeUnavailable,
    ResourceTaken,
    TransactionRefused,
)
from tests.contract.rigs import Rig, Trait, needs
from wallets.protocol import Output, Spend, TxState

ON_ITS_WAY = (TxState.POOL, TxState.CONFIRMED)


def payee(chain: Rig, units: int | None = None) -> Output:
    return Output(chain.outside_address(), chain.coin // 10 if units is None else units)


def payees(chain: Rig) -> list[Output]:
    """Two, where one transaction can pay two."""
    return [payee(chain) for _ in range(min(2, chain.wallet.payees_max))]


# Proposals and signatures


def test_proposing_and_signing_send_nothing(chain: Rig) -> None:
    chain.fund(0, chain.coin)
    output = payee(chain)
    tx = chain.make(output)
    assert chain.state(tx) is TxState.UNKNOWN
    assert chain.received(output.address) == 0
    assert chain.wallet.balance().spendable_units == chain.coin
    assert chain.wallet.held() == frozenset()


def test_a_proposal_offers_about_the_rate_and_bounds_what_it_may_cost(chain: Rig) -> None:
    chain.fund(0, chain.coin)
    rate, rate_max = 5 * chain.rate // 2, 30 * chain.rate
    proposal = chain.propose(payee(chain), rate=rate, rate_max=rate_max)
    (low, high), (low_max, high_max) = chain.fee_bounds(rate), chain.fee_bounds(rate_max)
    assert low <= proposal.fee_units <= high
    assert low_max <= proposal.fee_max_units <= high_max
    greedy = chain.propose(payee(chain), rate=2 * rate_max, rate_max=rate_max)
    assert greedy.fee_units <= greedy.fee_max_units <= high_max


@needs(Trait.REPLACES)
def test_what_repricing_may_cost_is_bounded_by_what_is_left(chain: Rig) -> None:
    slack = chain.fee_bounds(chain.rate)[1] * 6
    chain.fund(0, 50 * slack)
    proposal = chain.propose(payee(chain, 49 * slack), rate_max=500 * chain.rate)
    assert proposal.fee_units <= proposal.fee_max_units <= slack


@needs(Trait.COINS)
def test_excluded_coins_are_not_proposed(chain: Rig) -> None:
    keys = {chain.fund(i, chain.coin) for i in range(3)}
    first = chain.propose(payee(chain))
    second = chain.propose(payee(chain), excluded=first.resources)
    assert set(second.resources) < keys - set(first.resources)
    assert chain.wallet.held() == frozenset()
    with pytest.raises(InsufficientHotFunds):
        chain.propose(payee(chain), excluded=keys)
    assert chain.wallet.held() == frozenset()


@needs(Trait.COINS, Trait.HOLDS)
def test_excluding_leaves_holds_as_they_were(chain: Rig) -> None:
    held, *others = (chain.fund(i, chain.coin) for i in range(3))
    chain.wallet.hold([held])
    proposal = chain.propose(payee(chain), excluded=[held, others[0]])
    assert proposal.resources == (others[1],)
    assert chain.wallet.held() == {held}


def test_a_payment_beyond_the_hot_funds_is_refused(chain: Rig) -> None:
    chain.fund(0, chain.coin)
    with pytest.raises(InsufficientHotFunds):
        chain.make(payee(chain, chain.coin))


@needs(Trait.WAITS)
def test_an_outsiders_unconfirmed_coin_is_not_spent(chain: Rig) -> None:
    chain.pay(Output(chain.address(0), chain.coin))
    with pytest.raises(InsufficientHotFunds):
        chain.make(payee(chain))


@needs(Trait.COINS, Trait.WAITS)
def test_own_unconfirmed_change_may_be_spent(chain: Rig) -> None:
    chain.fund(0, chain.coin)
    first = chain.send(payee(chain))
    second = chain.send(payee(chain))
    assert second.resources[0].startswith(first.txid)
    chain.mine()
    assert chain.state(second) is TxState.CONFIRMED


def test_bad_payees_are_refused(chain: Rig) -> None:
    chain.fund(0, chain.coin)
    with pytest.raises(InvalidAddress):
        chain.make(Output(chain.foreign_address, chain.coin // 100))
    with pytest.raises(InvalidAmount):
        chain.make(payee(chain, 0))


@needs(Trait.DUST)
def test_dust_is_refused(chain: Rig) -> None:
    chain.fund(0, chain.coin)
    with pytest.raises(InvalidAmount):
        chain.make(payee(chain, 100))


def test_more_payees_than_one_transaction_takes_and_the_same_one_twice_are_a_mistake(chain: Rig) -> None:
    chain.fund(0, chain.coin)
    output = payee(chain)
    with pytest.raises(ValueError, match=r"different addresses|one payee"):
        chain.make(output, output)


@needs(Trait.COINS)
def test_payees_that_are_its_own_are_named_its_change_above_all(chain: Rig) -> None:
    """Anybody can read it on chain, and no book of ours knows it."""
    chain.fund(0, chain.coin)
    outside = payee(chain)
    sent = chain.send(outside)
    assert chain.propose(outside).own_payees == ()
    change = next(a for a in chain.paid_by(sent) if a != outside.address)
    outputs = [Output(change, 10_000), outside, Output(chain.address(5), 10_000)]
    assert chain.propose(*outputs).own_payees == (change, chain.address(5))


def test_payees_that_are_its_own_are_named(chain: Rig) -> None:
    chain.fund(0, chain.coin)
    assert chain.propose(payee(chain)).own_payees == ()
    for index in (0, 5):
        assert chain.propose(Output(chain.address(index), chain.coin // 10)).own_payees == (chain.address(index),)


def test_signing_twice_gives_equal_bytes(chain: Rig) -> None:
    chain.fund(0, chain.coin)
    outputs = payees(chain)
    proposal = chain.propose(*outputs)
    signed = chain.sign(proposal, *outputs)
    assert chain.sign(proposal, *outputs) == signed
    assert (signed.resources, signed.fee_units) == (proposal.resources, proposal.fee_units)


def test_only_the_very_proposal_is_signed(chain: Rig) -> None:
    chain.fund(0, chain.coin)
    chain.fund(1, chain.coin)
    output = payee(chain)
    proposal = chain.propose(output)
    other = chain.propose(payee(chain), excluded=proposal.resources)
    wrong = [
        (proposal, [replace(output, units=output.units + 1)]),
        (proposal, [payee(chain)]),
        (proposal, [output, payee(chain)]),
        (proposal, []),
        (replace(proposal, resources=other.resources), [output]),
        (replace(proposal, fee_units=proposal.fee_units - 1), [output]),
        (replace(proposal, payload=other.payload), [output]),
    ]
    for forged, outputs in wrong:
        with pytest.raises(NodeProtocolError):
            chain.sign(forged, *outputs)
    assert chain.sign(proposal, output).fee_units == proposal.fee_units


# Sending


def test_sending_twice_pays_once(chain: Rig) -> None:
    chain.fund(0, chain.coin)
    output = payee(chain)
    tx = chain.send(output)
    chain.wallet.broadcast(tx)
    chain.mine()
    chain.wallet.broadcast(tx)
    assert chain.received(output.address) == output.units
    assert chain.state(tx) is TxState.CONFIRMED


@pytest.mark.parametrize("acted", [True, False])
def test_a_lost_reply_is_settled_by_sending_the_same_bytes(chain: Rig, acted: bool) -> None:
    chain.fund(0, chain.coin)
    output = payee(chain)
    tx = chain.make(output)
    chain.lose_reply("broadcast", acted=acted)
    with pytest.raises(NodeUnavailable):
        chain.wallet.broadcast(tx)
    assert chain.state(tx) in (ON_ITS_WAY if acted else (TxState.UNKNOWN,))
    chain.wallet.broadcast(tx)
    chain.mine()
    assert chain.received(output.address) == output.units


@needs(Trait.COINS)
def test_sending_what_is_confirmed_and_all_spent_again_is_success(chain: Rig) -> None:
    """The node answers as it does for a double spend; the change has already gone into the next payment."""
    chain.fund(0, chain.coin)
    first = chain.make(Output(chain.address(5), chain.coin // 2))
    chain.wallet.broadcast(first)
    chain.mine()
    total = chain.wallet.balance().total_units
    second = chain.make(payee(chain, total - 1_000))
    assert {r.split(":")[0] for r in second.resources} == {first.txid}
    chain.wallet.broadcast(second)
    chain.mine()
    chain.wallet.broadcast(first)
    assert chain.state(first) is TxState.CONFIRMED
    assert chain.state(second) is TxState.CONFIRMED


@needs(Trait.WAITS, Trait.REORGS)
def test_a_transaction_is_followed_from_nowhere_to_depth_and_back(chain: Rig) -> None:
    chain.fund(0, chain.coin)
    tx = chain.make(payee(chain))
    assert chain.state(tx) is TxState.UNKNOWN
    chain.wallet.broadcast(tx)
    assert chain.state(tx) is TxState.POOL
    chain.mine(3)
    status, tip = chain.status(tx), chain.read_on().tip
    assert (status.state, status.depth, status.height) == (TxState.CONFIRMED, 3, tip.height - 2)
    assert status.block_hash
    chain.reorg(3)
    assert chain.state(tx) is TxState.POOL
    chain.mine()
    assert chain.status(tx).depth == 1


def test_a_sent_transaction_is_followed_into_its_block_and_costs_no_more_than_it_said(chain: Rig) -> None:
    chain.fund(0, chain.coin)
    tx = chain.make(payee(chain))
    assert chain.state(tx) is TxState.UNKNOWN
    chain.wallet.broadcast(tx)
    assert chain.state(tx) in ON_ITS_WAY
    chain.mine(2)
    status = chain.status(tx)
    assert status.state is TxState.CONFIRMED
    assert status.depth >= 2
    assert 0 < chain.cost(tx) <= tx.fee_units
    assert chain.wallet.balance().total_units == chain.coin - chain.coin // 10 - chain.cost(tx)


@needs(Trait.WAITS, Trait.EVICTS)
def test_a_payment_that_vanished_from_the_pool_is_sent_again(chain: Rig) -> None:
    chain.fund(0, chain.coin)
    output = payee(chain)
    tx = chain.send(output)
    chain.evict(tx.txid)
    assert chain.state(tx) is TxState.UNKNOWN
    chain.wallet.broadcast(tx)
    assert chain.state(tx) is TxState.POOL
    chain.mine()
    assert chain.received(output.address) == output.units


@needs(Trait.WAITS, Trait.REPLACES)
def test_a_payment_that_was_never_sent_and_lost_its_resource_is_conflicted(chain: Rig) -> None:
    chain.fund(0, chain.coin)
    lost, winner = chain.make(payee(chain)), chain.make(payee(chain))
    assert lost.resources == winner.resources
    chain.wallet.broadcast(winner)
    with pytest.raises(TransactionRefused):
        chain.wallet.broadcast(lost)
    assert chain.state(lost) is TxState.UNKNOWN
    chain.mine(2)
    with pytest.raises(TransactionRefused):
        chain.wallet.broadcast(lost)
    status = chain.status(lost)
    assert (status.state, status.depth, status.conflicting) == (TxState.CONFLICTED, 2, (winner.txid,))


@needs(Trait.COINS, Trait.REORGS)
def test_a_payment_dies_with_the_deposit_that_it_spent(chain: Rig) -> None:
    key = chain.fund(0, chain.coin)
    sent = chain.send(payee(chain))
    unsent = chain.make(payee(chain))
    chain.mine()
    chain.reorg(2, double_spent=key.split(":")[0])
    for tx in (sent, unsent):
        status = chain.status(tx)
        assert (status.state, status.depth) == (TxState.CONFLICTED, 3)
        with pytest.raises(TransactionRefused):
            chain.wallet.broadcast(tx)


# Replacement


@needs(Trait.REPLACES, Trait.WAITS)
def test_a_repriced_payment_pays_the_same_from_the_same_resources(chain: Rig) -> None:
    chain.fund(0, chain.coin)
    outputs = payees(chain)
    proposal = chain.propose(*outputs)
    old = chain.sign(proposal, *outputs)
    chain.wallet.broadcast(old)
    new = chain.reprice(old, *outputs, rate=5 * chain.rate, fee_max_units=proposal.fee_max_units)
    assert set(new.resources) == set(old.resources)
    low, high = chain.fee_bounds(5 * chain.rate, len(outputs))
    assert low <= new.fee_units <= high
    chain.wallet.broadcast(new)
    assert chain.state(new) is TxState.POOL
    replaced = chain.status(old)
    assert (replaced.state, replaced.conflicting) == (
        TxState.UNKNOWN,
        (new.txid,) if chain.has(Trait.POOL_CONFLICTS) else (),
    )
    chain.mine()
    assert chain.state(new) is TxState.CONFIRMED
    assert chain.state(old) is TxState.CONFLICTED
    assert [chain.received(o.address) for o in outputs] == [o.units for o in outputs]


@needs(Trait.REPLACES, Trait.WAITS)
def test_the_original_may_confirm_after_all(chain: Rig) -> None:
    chain.fund(0, chain.coin)
    output = payee(chain)
    old = chain.send(output)
    new = chain.reprice(old, output, rate=5 * chain.rate)
    chain.wallet.broadcast(new)
    chain.mine_instead(old)
    assert chain.status(old).depth == 1
    loser = chain.status(new)
    assert (loser.state, loser.conflicting) == (TxState.CONFLICTED, (old.txid,))
    assert chain.received(output.address) == output.units
    with pytest.raises(TransactionRefused):
        chain.wallet.broadcast(new)


@needs(Trait.REPLACES, Trait.WAITS)
def test_repricing_pays_enough_more_to_be_relayed_and_can_be_repeated(chain: Rig) -> None:
    chain.fund(0, chain.coin)
    output = payee(chain)
    tx = chain.send(output)
    for _ in range(3):
        bumped = chain.reprice(tx, output, rate=1)
        assert bumped.fee_units > tx.fee_units
        tx = bumped
        chain.wallet.broadcast(tx)
        assert chain.state(tx) is TxState.POOL


@needs(Trait.REPLACES)
def test_an_unsent_payment_can_be_repriced(chain: Rig) -> None:
    chain.fund(0, chain.coin)
    output = payee(chain)
    new = chain.reprice(chain.make(output), output, rate=9 * chain.rate // 2)
    chain.wallet.broadcast(new)
    assert chain.state(new) in ON_ITS_WAY


@needs(Trait.REPLACES)
def test_repricing_stops_at_the_ceiling_and_at_what_is_left(chain: Rig) -> None:
    chain.fund(0, chain.coin)
    output = payee(chain)
    proposal = chain.propose(output, rate_max=10 * chain.rate)
    tx = chain.sign(proposal, output)
    with pytest.raises(InsufficientHotFunds):
        chain.reprice(tx, output, rate=20 * chain.rate, fee_max_units=proposal.fee_max_units)
    small = replace(output, units=chain.coin - 6 * chain.fee_bounds(chain.rate)[1])
    tx = chain.make(small)
    with pytest.raises(InsufficientHotFunds):
        chain.reprice(tx, small, rate=20 * chain.rate)


@needs(Trait.REPLACES)
def test_repricing_refuses_payees_that_are_not_the_signed_ones(chain: Rig) -> None:
    chain.fund(0, chain.coin)
    output = payee(chain)
    tx = chain.make(output)
    with pytest.raises(NodeProtocolError):
        chain.wallet.reprice(tx, Spend((replace(output, units=1_000),)), 5 * chain.rate, chain.fee_ample)


@needs(Trait.COINS, Trait.HOLDS)
def test_a_payment_whose_change_serves_another_is_not_replaced(chain: Rig) -> None:
    chain.fund(0, chain.coin)
    output, second = payee(chain), payee(chain)
    first = chain.send(output)
    child = chain.make(second)
    chain.wallet.hold(child.resources)
    with pytest.raises(ResourceTaken):
        chain.reprice(first, output, rate=9_000)
    chain.wallet.broadcast(child)
    with pytest.raises(ResourceTaken):
        chain.reprice(first, output, rate=9_000)
    bumped = chain.reprice(child, second, rate=9_000)
    chain.wallet.broadcast(bumped)
    chain.mine()
    assert chain.state(first) is TxState.CONFIRMED
    assert chain.state(bumped) is TxState.CONFIRMED


@needs(Trait.HOLDS, Trait.COINS)
def test_a_held_coin_can_be_sent_and_is_no_longer_held(chain: Rig) -> None:
    key = chain.fund(0, chain.coin)
    tx = chain.make(payee(chain))
    chain.wallet.hold(tx.resources)
    assert chain.wallet.held() == {key}
    chain.wallet.broadcast(tx)
    chain.mine()
    assert chain.state(tx) is TxState.CONFIRMED
    assert chain.wallet.held() == frozenset()
