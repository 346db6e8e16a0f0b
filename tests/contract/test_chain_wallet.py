"""What every `ChainWallet` promises, on the model chain and on a real node. Outcomes are read from the chain."""

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
from tests.contract.rigs import WATCHED, Rig, unavailable
from wallets.protocol import DepositStatus, Output, SeenDeposit, TxState

COIN = 10**8


def deposits(chain: Rig, txid: str) -> list[SeenDeposit]:
    return sorted((d for d in chain.wallet.deposits_since(None).deposits if d.txid == txid), key=lambda d: d.key)


def present(chain: Rig, deposit: SeenDeposit) -> SeenDeposit:
    return chain.wallet.look_up_deposits([deposit])[deposit.key]


def payee(chain: Rig, units: int = COIN // 10) -> Output:
    return Output(chain.outside_address(), units)


# Keys and addresses


def test_opening_again_finds_the_same_wallet(chain: Rig) -> None:
    assert chain.wallet.open() == chain.identity
    assert chain.wallet.health().ok


def test_watching_only_ever_grows(chain: Rig) -> None:
    assert chain.wallet.watch(1) >= WATCHED
    count = chain.wallet.watch(60)
    assert count >= 60
    assert chain.wallet.watch(5) == count


def test_a_deposit_to_the_last_watched_address_is_seen(chain: Rig) -> None:
    count = chain.wallet.watch(60)
    txid = chain.pay(Output(chain.address(count - 1), COIN))
    assert [d.address for d in deposits(chain, txid)] == [chain.address(count - 1)]


# Deposits


def test_a_deposit_is_seen_in_the_pool_and_then_in_a_block(chain: Rig) -> None:
    txid = chain.pay(Output(chain.address(3), 12_345_678))
    [waiting] = deposits(chain, txid)
    assert (waiting.status, waiting.units, waiting.address) == (DepositStatus.POOL, 12_345_678, chain.address(3))
    assert (waiting.height, waiting.block_hash, waiting.coinbase) == (None, None, False)
    chain.mine()
    page = chain.wallet.deposits_since(None)
    [found] = [d for d in page.deposits if d.txid == txid]
    assert found == replace(waiting, status=DepositStatus.CONFIRMED, height=page.tip.height, block_hash=page.tip.hash)
    assert present(chain, waiting) == found


def test_a_cursor_repeats_what_a_reorganisation_could_undo(chain: Rig) -> None:
    key = chain.fund(0, COIN)
    cursor = chain.wallet.deposits_since(None).cursor
    chain.mine(3)
    page = chain.wallet.deposits_since(cursor)
    assert key in {d.key for d in page.deposits}
    chain.mine(110)
    cursor = chain.wallet.deposits_since(page.cursor).cursor
    assert key not in {d.key for d in chain.wallet.deposits_since(cursor).deposits}


def test_each_output_of_one_transaction_is_a_deposit(chain: Rig) -> None:
    outputs = [Output(chain.address(i), (i + 1) * 1_000_000) for i in range(3)]
    txid = chain.pay(*outputs, payee(chain))
    found = deposits(chain, txid)
    assert {Output(d.address, d.units) for d in found} == set(outputs)
    assert len({d.key for d in found}) == 3


def test_own_change_is_no_deposit(chain: Rig) -> None:
    chain.fund(0, COIN)
    sent = chain.send(payee(chain))
    assert deposits(chain, sent.txid) == []
    chain.mine()
    assert deposits(chain, sent.txid) == []
    assert chain.wallet.balance().total_units == COIN - COIN // 10 - sent.fee_units


def test_a_replaced_deposit_is_gone_and_its_replacement_counts(chain: Rig) -> None:
    old = chain.pay(Output(chain.address(0), COIN))
    [seen] = deposits(chain, old)
    new = chain.replace(old, Output(chain.address(1), COIN // 2))
    gone = present(chain, seen)
    assert (gone.status, gone.reason) == (DepositStatus.GONE, "replaced")
    assert [d.status for d in deposits(chain, old)] in ([], [DepositStatus.GONE])
    assert [d.units for d in deposits(chain, new)] == [COIN // 2]
    chain.mine()
    gone = present(chain, seen)
    assert (gone.status, gone.reason) == (DepositStatus.GONE, "conflicted")
    assert chain.wallet.balance().total_units == COIN // 2


def test_a_deposit_replaced_by_nothing_for_us_is_gone(chain: Rig) -> None:
    [seen] = deposits(chain, chain.pay(Output(chain.address(0), COIN)))
    chain.replace(seen.txid)
    assert (present(chain, seen).status, present(chain, seen).reason) == (DepositStatus.GONE, "replaced")
    assert chain.wallet.balance().total_units == 0


def test_a_deposit_that_the_pool_forgot_is_gone(chain: Rig) -> None:
    [seen] = deposits(chain, chain.pay(Output(chain.address(0), COIN)))
    chain.evict(seen.txid)
    assert (present(chain, seen).status, present(chain, seen).reason) == (DepositStatus.GONE, "vanished")
    assert all(d.status is DepositStatus.GONE for d in deposits(chain, seen.txid))


def test_a_deposit_nobody_knows_is_gone(chain: Rig) -> None:
    unknown = SeenDeposit("00" * 32 + ":0", "00" * 32, chain.address(0), COIN, DepositStatus.POOL)
    assert (present(chain, unknown).status, present(chain, unknown).reason) == (DepositStatus.GONE, "vanished")


def test_a_reorganised_deposit_waits_again_and_keeps_its_key(chain: Rig) -> None:
    key = chain.fund(0, COIN, blocks=2)
    [before] = deposits(chain, key.split(":")[0])
    chain.reorg(2)
    assert present(chain, before).status is DepositStatus.POOL
    chain.mine()
    after = present(chain, before)
    assert after.status is DepositStatus.CONFIRMED
    assert after.height is not None
    assert before.height is not None
    assert after.height > before.height
    assert [d.key for d in deposits(chain, before.txid)] == [key]


def test_a_reorganised_and_double_spent_deposit_is_found_gone_only_by_looking(chain: Rig) -> None:
    chain.mine(3)
    key = chain.fund(0, COIN, blocks=2)
    page = chain.wallet.deposits_since(None)
    [credited] = [d for d in page.deposits if d.key == key]
    chain.reorg(2, double_spent=credited.txid)
    news = [d for d in chain.wallet.deposits_since(page.cursor).deposits if d.key == key]
    assert all(d.status is DepositStatus.GONE for d in news)
    gone = present(chain, credited)
    assert (gone.status, gone.reason, gone.height, gone.block_hash) == (DepositStatus.GONE, "conflicted", None, None)
    assert chain.wallet.balance().total_units == 0


def test_a_mined_coin_is_marked_and_goes_with_its_block(chain: Rig) -> None:
    chain.mine(coinbase_to=chain.address(0))
    [mined] = [d for d in chain.wallet.deposits_since(None).deposits if d.coinbase]
    assert (mined.status, mined.spendable_depth) == (DepositStatus.CONFIRMED, 100)
    balance = chain.wallet.balance()
    assert (balance.total_units, balance.spendable_units) == (mined.units, 0)
    with pytest.raises(InsufficientHotFunds):
        chain.make(payee(chain))
    chain.reorg(1)
    gone = present(chain, mined)
    assert (gone.status, gone.reason) == (DepositStatus.GONE, "orphaned")


def test_an_unknown_cursor_is_an_error_not_a_fresh_scan(chain: Rig) -> None:
    chain.fund(0, COIN)
    with pytest.raises(NodeProtocolError, match="cursor"):
        chain.wallet.deposits_since("ab" * 32)


# Proposals and signatures


def test_proposing_and_signing_send_nothing(chain: Rig) -> None:
    chain.fund(0, COIN)
    output = payee(chain)
    tx = chain.make(output)
    assert chain.state(tx) is TxState.UNKNOWN
    assert chain.received(output.address) == 0
    assert chain.wallet.balance().spendable_units == COIN
    assert chain.wallet.held() == frozenset()


def test_a_proposal_offers_about_the_rate_and_bounds_what_it_may_cost(chain: Rig) -> None:
    chain.fund(0, COIN)
    proposal = chain.wallet.propose([payee(chain)], 5_000, 60_000)
    assert 5 * 130 < proposal.fee_units < 5 * 160
    assert 60 * 130 < proposal.fee_max_units < 60 * 160
    greedy = chain.wallet.propose([payee(chain)], 200_000, 60_000)
    assert greedy.fee_units <= greedy.fee_max_units < 60 * 160


def test_what_repricing_may_cost_is_bounded_by_the_change(chain: Rig) -> None:
    chain.fund(0, 100_000)
    proposal = chain.wallet.propose([payee(chain, 98_000)], 2_000, 1_000_000)
    assert proposal.fee_units <= proposal.fee_max_units <= 2_000


def test_excluded_coins_are_not_proposed(chain: Rig) -> None:
    keys = {chain.fund(i, COIN) for i in range(3)}
    first = chain.wallet.propose([payee(chain)], 2_000, 50_000)
    second = chain.wallet.propose([payee(chain)], 2_000, 50_000, excluded=first.resources)
    assert set(second.resources) < keys - set(first.resources)
    assert chain.wallet.held() == frozenset()
    with pytest.raises(InsufficientHotFunds):
        chain.wallet.propose([payee(chain)], 2_000, 50_000, excluded=keys)
    assert chain.wallet.held() == frozenset()


def test_excluding_leaves_holds_as_they_were(chain: Rig) -> None:
    held, *others = (chain.fund(i, COIN) for i in range(3))
    chain.wallet.hold([held])
    proposal = chain.wallet.propose([payee(chain)], 2_000, 50_000, excluded=[held, others[0]])
    assert proposal.resources == (others[1],)
    assert chain.wallet.held() == {held}


def test_a_payment_beyond_the_hot_funds_is_refused(chain: Rig) -> None:
    chain.fund(0, COIN)
    with pytest.raises(InsufficientHotFunds):
        chain.make(payee(chain, COIN))


def test_an_outsiders_unconfirmed_coin_is_not_spent(chain: Rig) -> None:
    chain.pay(Output(chain.address(0), COIN))
    with pytest.raises(InsufficientHotFunds):
        chain.make(payee(chain))


def test_own_unconfirmed_change_may_be_spent(chain: Rig) -> None:
    chain.fund(0, COIN)
    first = chain.send(payee(chain))
    second = chain.send(payee(chain))
    assert second.resources[0].startswith(first.txid)
    chain.mine()
    assert chain.state(second) is TxState.CONFIRMED


def test_bad_payees_are_refused(chain: Rig) -> None:
    chain.fund(0, COIN)
    output = payee(chain)
    with pytest.raises(InvalidAddress):
        chain.make(Output("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", 10_000))
    with pytest.raises(InvalidAmount):
        chain.make(replace(output, units=100))
    with pytest.raises(ValueError, match="different addresses"):
        chain.make(output, output)


def test_payees_that_are_its_own_are_named(chain: Rig) -> None:
    """Its change above all: anybody can read it on chain, and no book of ours knows it."""
    chain.fund(0, COIN)
    outside = payee(chain)
    sent = chain.send(outside)
    assert chain.wallet.propose([outside], 2_000, 50_000).own_payees == ()
    change = next(a for a in chain.paid_by(sent) if a != outside.address)
    outputs = [Output(change, 10_000), outside, Output(chain.address(5), 10_000)]
    assert chain.wallet.propose(outputs, 2_000, 50_000).own_payees == (change, chain.address(5))


def test_signing_twice_gives_equal_bytes(chain: Rig) -> None:
    chain.fund(0, COIN)
    outputs = [payee(chain), payee(chain)]
    proposal = chain.wallet.propose(outputs, 2_000, 50_000)
    signed = chain.wallet.sign(proposal, outputs)
    assert chain.wallet.sign(proposal, outputs) == signed
    assert (signed.resources, signed.fee_units) == (proposal.resources, proposal.fee_units)


def test_only_the_very_proposal_is_signed(chain: Rig) -> None:
    chain.fund(0, COIN)
    chain.fund(1, COIN)
    output = payee(chain)
    proposal = chain.wallet.propose([output], 2_000, 50_000)
    other = chain.wallet.propose([payee(chain)], 2_000, 50_000, excluded=proposal.resources)
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
            chain.wallet.sign(forged, outputs)
    assert chain.wallet.sign(proposal, [output]).fee_units == proposal.fee_units


# Sending


def test_sending_twice_pays_once(chain: Rig) -> None:
    chain.fund(0, COIN)
    output = payee(chain)
    tx = chain.send(output)
    chain.wallet.broadcast(tx)
    chain.mine()
    chain.wallet.broadcast(tx)
    assert chain.received(output.address) == output.units
    assert chain.state(tx) is TxState.CONFIRMED


@pytest.mark.parametrize("acted", [True, False])
def test_a_lost_reply_is_settled_by_sending_the_same_bytes(chain: Rig, acted: bool) -> None:
    chain.fund(0, COIN)
    output = payee(chain)
    tx = chain.make(output)
    chain.lose_reply("broadcast", acted=acted)
    with pytest.raises(NodeUnavailable):
        chain.wallet.broadcast(tx)
    assert chain.state(tx) is (TxState.POOL if acted else TxState.UNKNOWN)
    chain.wallet.broadcast(tx)
    chain.mine()
    assert chain.received(output.address) == output.units


def test_sending_what_is_confirmed_and_all_spent_again_is_success(chain: Rig) -> None:
    """The node answers as it does for a double spend; the change has already gone into the next payment."""
    chain.fund(0, COIN)
    first = chain.make(Output(chain.address(5), COIN // 2))
    chain.wallet.broadcast(first)
    chain.mine()
    total = chain.wallet.balance().total_units
    second = chain.make(payee(chain, total - 1_000), rate=2_000)
    assert {r.split(":")[0] for r in second.resources} == {first.txid}
    chain.wallet.broadcast(second)
    chain.mine()
    chain.wallet.broadcast(first)
    assert chain.state(first) is TxState.CONFIRMED
    assert chain.state(second) is TxState.CONFIRMED


def test_a_transaction_is_followed_from_nowhere_to_depth_and_back(chain: Rig) -> None:
    chain.fund(0, COIN)
    tx = chain.make(payee(chain))
    assert chain.state(tx) is TxState.UNKNOWN
    chain.wallet.broadcast(tx)
    assert chain.state(tx) is TxState.POOL
    chain.mine(3)
    status, tip = chain.status(tx), chain.wallet.deposits_since(None).tip
    assert (status.state, status.depth, status.height) == (TxState.CONFIRMED, 3, tip.height - 2)
    assert status.block_hash
    chain.reorg(3)
    assert chain.state(tx) is TxState.POOL
    chain.mine()
    assert chain.status(tx).depth == 1


def test_a_payment_that_vanished_from_the_pool_is_sent_again(chain: Rig) -> None:
    chain.fund(0, COIN)
    output = payee(chain)
    tx = chain.send(output)
    chain.evict(tx.txid)
    assert chain.state(tx) is TxState.UNKNOWN
    chain.wallet.broadcast(tx)
    assert chain.state(tx) is TxState.POOL
    chain.mine()
    assert chain.received(output.address) == output.units


def test_a_payment_that_was_never_sent_and_lost_its_input_is_conflicted(chain: Rig) -> None:
    key = chain.fund(0, COIN)
    lost, winner = chain.make(payee(chain)), chain.make(payee(chain))
    assert lost.resources == winner.resources == (key,)
    chain.wallet.broadcast(winner)
    with pytest.raises(TransactionRefused):
        chain.wallet.broadcast(lost)
    assert chain.state(lost) is TxState.UNKNOWN
    chain.mine(2)
    with pytest.raises(TransactionRefused):
        chain.wallet.broadcast(lost)
    status = chain.status(lost)
    assert (status.state, status.depth, status.conflicting) == (TxState.CONFLICTED, 2, (winner.txid,))


def test_a_payment_dies_with_the_deposit_that_it_spent(chain: Rig) -> None:
    key = chain.fund(0, COIN)
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


def test_a_repriced_payment_pays_the_same_from_the_same_inputs(chain: Rig) -> None:
    chain.fund(0, COIN)
    outputs = [payee(chain), payee(chain)]
    proposal = chain.wallet.propose(outputs, 2_000, 100_000)
    old = chain.wallet.sign(proposal, outputs)
    chain.wallet.broadcast(old)
    bump = chain.wallet.reprice(old, outputs, 10_000, proposal.fee_max_units)
    new = chain.wallet.sign(bump, outputs)
    assert set(new.resources) == set(old.resources)
    assert 10 * 160 < new.fee_units < 10 * 185
    chain.wallet.broadcast(new)
    assert chain.state(new) is TxState.POOL
    replaced = chain.status(old)
    assert (replaced.state, replaced.conflicting) == (TxState.UNKNOWN, (new.txid,))
    chain.mine()
    assert chain.state(new) is TxState.CONFIRMED
    assert chain.state(old) is TxState.CONFLICTED
    assert [chain.received(o.address) for o in outputs] == [o.units for o in outputs]


def test_the_original_may_confirm_after_all(chain: Rig) -> None:
    chain.fund(0, COIN)
    output = payee(chain)
    old = chain.send(output)
    new = chain.wallet.sign(chain.wallet.reprice(old, [output], 10_000, 10**6), [output])
    chain.wallet.broadcast(new)
    chain.mine_instead(old)
    assert chain.status(old).depth == 1
    loser = chain.status(new)
    assert (loser.state, loser.conflicting) == (TxState.CONFLICTED, (old.txid,))
    assert chain.received(output.address) == output.units
    with pytest.raises(TransactionRefused):
        chain.wallet.broadcast(new)


def test_repricing_pays_enough_more_to_be_relayed_and_can_be_repeated(chain: Rig) -> None:
    chain.fund(0, COIN)
    output = payee(chain)
    tx = chain.send(output)
    for _ in range(3):
        bump = chain.wallet.reprice(tx, [output], 1, 10**6)
        assert bump.fee_units > tx.fee_units
        tx = chain.wallet.sign(bump, [output])
        chain.wallet.broadcast(tx)
        assert chain.state(tx) is TxState.POOL


def test_an_unsent_payment_can_be_repriced(chain: Rig) -> None:
    chain.fund(0, COIN)
    output = payee(chain)
    tx = chain.make(output)
    new = chain.wallet.sign(chain.wallet.reprice(tx, [output], 9_000, 10**6), [output])
    chain.wallet.broadcast(new)
    assert chain.state(new) is TxState.POOL


def test_repricing_stops_at_the_ceiling_and_at_the_change(chain: Rig) -> None:
    chain.fund(0, COIN)
    output = payee(chain)
    proposal = chain.wallet.propose([output], 2_000, 20_000)
    tx = chain.wallet.sign(proposal, [output])
    with pytest.raises(InsufficientHotFunds):
        chain.wallet.reprice(tx, [output], 40_000, proposal.fee_max_units)
    small = replace(output, units=COIN - 2_000)
    tx = chain.make(small)
    with pytest.raises(InsufficientHotFunds):
        chain.wallet.reprice(tx, [small], 40_000, 10**6)


def test_repricing_refuses_payees_that_are_not_the_signed_ones(chain: Rig) -> None:
    chain.fund(0, COIN)
    output = payee(chain)
    tx = chain.send(output)
    with pytest.raises(NodeProtocolError):
        chain.wallet.reprice(tx, [replace(output, units=1_000)], 9_000, 10**6)


def test_a_payment_whose_change_serves_another_is_not_replaced(chain: Rig) -> None:
    chain.fund(0, COIN)
    output, second = payee(chain), payee(chain)
    first = chain.send(output)
    child = chain.make(second)
    chain.wallet.hold(child.resources)
    with pytest.raises(ResourceTaken):
        chain.wallet.reprice(first, [output], 9_000, 10**6)
    chain.wallet.broadcast(child)
    with pytest.raises(ResourceTaken):
        chain.wallet.reprice(first, [output], 9_000, 10**6)
    bumped = chain.wallet.sign(chain.wallet.reprice(child, [second], 9_000, 10**6), [second])
    chain.wallet.broadcast(bumped)
    chain.mine()
    assert chain.state(first) is TxState.CONFIRMED
    assert chain.state(bumped) is TxState.CONFIRMED


# Holds, balance, fees, health


def test_held_coins_are_left_alone_also_after_a_restart(chain: Rig) -> None:
    held, free = chain.fund(0, COIN), chain.fund(1, COIN)
    chain.wallet.hold([held])
    chain.wallet.hold([held])
    chain.restart()
    assert chain.wallet.held() == {held}
    assert chain.wallet.propose([payee(chain)], 2_000, 50_000).resources == (free,)
    with pytest.raises(InsufficientHotFunds):
        chain.make(payee(chain, 3 * COIN // 2))
    chain.wallet.free([held])
    chain.wallet.free([held])
    assert chain.wallet.held() == frozenset()


def test_holding_and_freeing_pass_over_what_is_spent_or_unknown(chain: Rig) -> None:
    spent = chain.fund(0, COIN)
    chain.send(payee(chain))
    coin = chain.fund(1, COIN)
    strange = ["00" * 32 + ":0", spent, coin]
    chain.wallet.hold(strange)
    assert chain.wallet.held() == {coin}
    chain.wallet.free(strange)
    assert chain.wallet.held() == frozenset()


def test_a_held_coin_can_be_sent_and_is_no_longer_held(chain: Rig) -> None:
    key = chain.fund(0, COIN)
    tx = chain.make(payee(chain))
    chain.wallet.hold(tx.resources)
    assert chain.wallet.held() == {key}
    chain.wallet.broadcast(tx)
    chain.mine()
    assert chain.state(tx) is TxState.CONFIRMED
    assert chain.wallet.held() == frozenset()


def test_the_balance_counts_held_coins_change_and_what_is_pending(chain: Rig) -> None:
    chain.fund(0, COIN)
    held = chain.fund(1, COIN)
    chain.wallet.hold([held])
    balance = chain.wallet.balance()
    assert (balance.total_units, balance.spendable_units, balance.pending_units) == (2 * COIN, COIN, 0)
    sent = chain.send(payee(chain))
    chain.pay(Output(chain.address(2), 5_000_000))
    balance = chain.wallet.balance()
    change = COIN - COIN // 10 - sent.fee_units
    assert balance.spendable_units == change
    assert balance.total_units == COIN + change + 5_000_000
    assert balance.pending_units == 5_000_000
    assert balance.tip == chain.wallet.health().tip


def test_the_fee_market_says_where_its_rate_comes_from_and_stays_above_the_floor(chain: Rig) -> None:
    market = chain.wallet.fee_market(6, 7_000)
    assert market.source in ("estimate", "fallback")
    assert market.rate == 7_000 or market.source == "estimate"
    assert chain.wallet.fee_market(6, 1).rate >= 100


def test_a_node_that_does_not_answer_is_told_and_nothing_is_taken_for_zero(chain: Rig) -> None:
    chain.fund(0, COIN)
    tx = chain.make(payee(chain))
    chain.down()
    health = chain.wallet.health()
    assert (health.ok, health.reason) == (False, "unreachable")
    calls = [
        chain.wallet.balance,
        chain.wallet.open,
        chain.wallet.held,
        lambda: chain.wallet.deposits_since(None),
        lambda: chain.wallet.broadcast(tx),
        lambda: chain.wallet.look_up(tx),
        lambda: chain.wallet.watch(5_000),
        lambda: chain.wallet.fee_market(6, 1_000),
    ]
    assert [unavailable(call) for call in calls] == [True] * len(calls)
    chain.up()
    assert chain.wallet.health().ok
    assert chain.wallet.balance().total_units == COIN
