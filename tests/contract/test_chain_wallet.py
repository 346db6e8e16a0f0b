"""What every `ChainWallet` promises about keys, deposits, balance and its node, on the model chain and on real nodes.

Outcomes are read from the chain. A test that only some chains can pass names what it needs of them; amounts and rates
are the rig's. What wallets promise about payments is in `test_chain_payments.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from ledger.errors import InsufficientHotFunds, NodeProtocolError
from tests.contract.rigs import WATCHED, Rig, Trait, needs, unavailable
from wallets.protocol import DepositStatus, Output, SeenDeposit


def present(chain: Rig, deposit: SeenDeposit) -> SeenDeposit:
    return chain.wallet.look_up_deposits([deposit])[deposit.key]


def payee(chain: Rig, units: int | None = None) -> Output:
    return Output(chain.outside_address(), chain.coin // 10 if units is None else units)


# Keys and addresses


def test_opening_again_finds_the_same_wallet(chain: Rig) -> None:
    assert replace(chain.wallet.open(), used=chain.identity.used) == chain.identity
    assert chain.wallet.health().ok


def test_watching_only_ever_grows(chain: Rig) -> None:
    assert chain.wallet.watch(1) >= WATCHED
    count = chain.wallet.watch(60)
    assert count >= 60
    assert chain.wallet.watch(5) == count


def test_a_deposit_to_the_last_watched_address_is_seen(chain: Rig) -> None:
    count = chain.wallet.watch(60)
    txid = chain.arrive(Output(chain.address(count - 1), chain.coin))
    assert [d.address for d in chain.seen(txid)] == [chain.address(count - 1)]


# Deposits


@needs(Trait.POOL_DEPOSITS)
def test_a_deposit_is_seen_in_the_pool_and_then_in_a_block(chain: Rig) -> None:
    units = chain.coin // 10 + 2_345_678
    txid = chain.pay(Output(chain.address(3), units))
    [waiting] = chain.seen(txid)
    assert (waiting.status, waiting.units, waiting.address) == (DepositStatus.POOL, units, chain.address(3))
    assert (waiting.height, waiting.block_hash, waiting.coinbase) == (None, None, False)
    chain.mine()
    page = chain.read_on()
    [found] = [d for d in page.deposits if d.txid == txid]
    assert found == replace(waiting, status=DepositStatus.CONFIRMED, height=page.tip.height, block_hash=page.tip.hash)
    assert present(chain, waiting) == found


def test_a_deposit_is_known_by_its_block_and_amount_to_the_unit(chain: Rig) -> None:
    units = chain.coin // 10 + 2_345_678
    chain.mine()
    before = chain.read_on()
    txid = chain.pay(Output(chain.address(3), units))
    chain.mine()
    [found] = chain.seen(txid, before.cursor)
    assert (found.status, found.units, found.address) == (DepositStatus.CONFIRMED, units, chain.address(3))
    assert (found.coinbase, found.token, found.suspect) == (False, None, "")
    assert found.height is not None
    assert found.height > before.tip.height
    assert found.block_hash
    assert present(chain, found) == found


def test_reading_on_tells_each_block_of_money_once_at_least(chain: Rig) -> None:
    first = chain.fund(1, chain.coin)
    page = chain.read_on()
    second = chain.fund(2, chain.coin)
    news = {d.key for d in chain.read_on(page.cursor).deposits}
    assert second in news
    assert {first, second} <= {d.key for d in chain.read_on().deposits}


@needs(Trait.REREADS)
def test_a_cursor_repeats_what_a_reorganisation_could_undo(chain: Rig) -> None:
    key = chain.fund(0, chain.coin)
    cursor = chain.wallet.deposits_since(None).cursor
    chain.mine(3)
    page = chain.wallet.deposits_since(cursor)
    assert key in {d.key for d in page.deposits}
    chain.mine(110)
    cursor = chain.wallet.deposits_since(page.cursor).cursor
    assert key not in {d.key for d in chain.wallet.deposits_since(cursor).deposits}


@needs(Trait.MANY_PAYEES)
def test_each_output_of_one_transaction_is_a_deposit(chain: Rig) -> None:
    outputs = [Output(chain.address(i), (i + 1) * chain.coin // 100) for i in range(3)]
    txid = chain.arrive(*outputs, payee(chain))
    found = chain.seen(txid)
    assert {Output(d.address, d.units) for d in found} == set(outputs)
    assert len({d.key for d in found}) == 3


def test_own_change_is_no_deposit(chain: Rig) -> None:
    chain.fund(0, chain.coin)
    sent = chain.send(payee(chain))
    assert chain.seen(sent.txid) == []
    chain.mine()
    assert chain.seen(sent.txid) == []
    assert chain.wallet.balance().total_units == chain.coin - chain.coin // 10 - chain.cost(sent)


@needs(Trait.POOL_DEPOSITS, Trait.OUTSIDE_REPLACES)
def test_a_replaced_deposit_is_gone_and_its_replacement_counts(chain: Rig) -> None:
    old = chain.pay(Output(chain.address(0), chain.coin))
    [seen] = chain.seen(old)
    new = chain.replace(old, Output(chain.address(1), chain.coin // 2))
    gone = present(chain, seen)
    assert (gone.status, gone.reason) == (DepositStatus.GONE, "replaced")
    assert [d.status for d in chain.seen(old)] in ([], [DepositStatus.GONE])
    assert [d.units for d in chain.seen(new)] == [chain.coin // 2]
    chain.mine()
    gone = present(chain, seen)
    assert (gone.status, gone.reason) == (DepositStatus.GONE, "conflicted")
    assert chain.wallet.balance().total_units == chain.coin // 2


@needs(Trait.POOL_DEPOSITS, Trait.OUTSIDE_REPLACES)
def test_a_deposit_replaced_by_nothing_for_us_is_gone(chain: Rig) -> None:
    [seen] = chain.seen(chain.pay(Output(chain.address(0), chain.coin)))
    chain.replace(seen.txid)
    assert (present(chain, seen).status, present(chain, seen).reason) == (DepositStatus.GONE, "replaced")
    assert chain.wallet.balance().total_units == 0


@needs(Trait.POOL_DEPOSITS, Trait.EVICTS)
def test_a_deposit_that_the_pool_forgot_is_gone(chain: Rig) -> None:
    [seen] = chain.seen(chain.pay(Output(chain.address(0), chain.coin)))
    chain.evict(seen.txid)
    assert (present(chain, seen).status, present(chain, seen).reason) == (DepositStatus.GONE, "vanished")
    assert all(d.status is DepositStatus.GONE for d in chain.seen(seen.txid))


def test_a_deposit_nobody_knows_is_gone(chain: Rig) -> None:
    key, txid = chain.unknown
    unknown = SeenDeposit(key, txid, chain.address(0), chain.coin, DepositStatus.CONFIRMED)
    assert (present(chain, unknown).status, present(chain, unknown).reason) == (DepositStatus.GONE, "vanished")


@needs(Trait.REORGS)
def test_a_reorganised_deposit_waits_again_and_keeps_its_key(chain: Rig) -> None:
    key = chain.fund(0, chain.coin, blocks=2)
    [before] = chain.seen(key.split(":")[0])
    chain.reorg(2)
    assert present(chain, before).status is DepositStatus.POOL
    chain.mine()
    after = present(chain, before)
    assert after.status is DepositStatus.CONFIRMED
    assert after.height is not None
    assert before.height is not None
    assert after.height > before.height
    assert [d.key for d in chain.seen(before.txid)] == [key]


@needs(Trait.REORGS)
def test_a_reorganised_and_double_spent_deposit_is_found_gone_by_looking(chain: Rig) -> None:
    chain.mine(3)
    key = chain.fund(0, chain.coin, blocks=2)
    page = chain.read_on()
    [credited] = [d for d in page.deposits if d.key == key]
    chain.reorg(2, double_spent=credited.txid)
    news = [d for d in chain.read_on(page.cursor).deposits if d.key == key]
    assert all(d.status is DepositStatus.GONE for d in news)
    gone = present(chain, credited)
    assert (gone.status, gone.reason) == (DepositStatus.GONE, chain.conflict_reason)
    assert (gone.height, gone.block_hash) == (None, None)
    assert chain.wallet.balance().total_units == 0


@needs(Trait.REORGS)
def test_after_a_reorganisation_the_new_blocks_are_read_and_the_tip_does_not_fall_back(chain: Rig) -> None:
    chain.fund(1, chain.coin, blocks=3)
    page = chain.read_on()
    chain.reorg(3)
    late = chain.fund(2, chain.coin)
    after = chain.wallet.deposits_since(page.cursor)
    assert after.tip.height >= page.tip.height
    assert late in {d.key for d in chain.read_on(page.cursor).deposits}


@needs(Trait.COINBASE)
def test_a_mined_coin_is_marked_and_goes_with_its_block(chain: Rig) -> None:
    chain.mine(coinbase_to=chain.address(0))
    [mined] = [d for d in chain.read_on().deposits if d.coinbase]
    assert (mined.status, mined.spendable_depth) == (DepositStatus.CONFIRMED, 100)
    balance = chain.wallet.balance()
    assert (balance.total_units, balance.spendable_units) == (mined.units, 0)
    with pytest.raises(InsufficientHotFunds):
        chain.make(payee(chain))
    chain.reorg(1)
    gone = present(chain, mined)
    assert (gone.status, gone.reason) == (DepositStatus.GONE, "orphaned")


def test_an_unknown_cursor_is_an_error_not_a_fresh_scan(chain: Rig) -> None:
    chain.fund(0, chain.coin)
    with pytest.raises(NodeProtocolError, match="cursor"):
        chain.wallet.deposits_since(chain.foreign_cursor)


# Holds, balance, fees, health


@needs(Trait.HOLDS, Trait.COINS, Trait.RESTARTS)
def test_held_coins_are_left_alone_also_after_a_restart(chain: Rig) -> None:
    held, free = chain.fund(0, chain.coin), chain.fund(1, chain.coin)
    chain.wallet.hold([held])
    chain.wallet.hold([held])
    chain.restart()
    assert chain.wallet.held() == {held}
    assert chain.propose(payee(chain)).resources == (free,)
    with pytest.raises(InsufficientHotFunds):
        chain.make(payee(chain, 3 * chain.coin // 2))
    chain.wallet.free([held])
    chain.wallet.free([held])
    assert chain.wallet.held() == frozenset()


@needs(Trait.HOLDS, Trait.COINS)
def test_holding_and_freeing_pass_over_what_is_spent_or_unknown(chain: Rig) -> None:
    spent = chain.fund(0, chain.coin)
    chain.send(payee(chain))
    coin = chain.fund(1, chain.coin)
    strange = [chain.unknown[0], spent, coin]
    chain.wallet.hold(strange)
    assert chain.wallet.held() == {coin}
    chain.wallet.free(strange)
    assert chain.wallet.held() == frozenset()


@needs(Trait.HOLDS, Trait.COINS)
def test_the_balance_counts_held_coins_change_and_what_is_pending(chain: Rig) -> None:
    chain.fund(0, chain.coin)
    held = chain.fund(1, chain.coin)
    chain.wallet.hold([held])
    balance = chain.wallet.balance()
    assert (balance.total_units, balance.spendable_units, balance.pending_units) == (2 * chain.coin, chain.coin, 0)
    sent = chain.send(payee(chain))
    chain.pay(Output(chain.address(2), 5_000_000))
    balance = chain.wallet.balance()
    change = chain.coin - chain.coin // 10 - sent.fee_units
    assert balance.spendable_units == change
    assert balance.total_units == chain.coin + change + 5_000_000
    assert balance.pending_units == 5_000_000
    assert balance.tip == chain.wallet.health().tip


def test_the_fee_market_says_where_its_rate_comes_from_and_stays_above_the_floor(chain: Rig) -> None:
    market = chain.wallet.fee_market(6, chain.rate)
    assert market.source in ("estimate", "fallback")
    assert market.rate == chain.rate or market.source == "estimate"
    assert chain.wallet.fee_market(6, 1).rate >= chain.rate_floor


def test_a_node_that_does_not_answer_is_told_and_nothing_is_taken_for_zero(chain: Rig) -> None:
    chain.fund(0, chain.coin)
    tx = chain.make(payee(chain))
    chain.down()
    health = chain.wallet.health()
    assert (health.ok, health.reason) == (False, "unreachable")
    calls: list[Callable[[], object]] = [
        chain.wallet.balance,
        chain.wallet.open,
        lambda: chain.wallet.deposits_since(None),
        lambda: chain.wallet.broadcast(tx),
        lambda: chain.wallet.look_up(tx),
        lambda: chain.wallet.fee_market(6, 1_000),
        lambda: chain.propose(payee(chain)),
    ]
    if chain.has(Trait.HOLDS):
        calls.append(chain.wallet.held)
    if chain.has(Trait.WATCHES):
        calls.append(lambda: chain.wallet.watch(5_000))
    assert [unavailable(call) for call in calls] == [True] * len(calls)
    chain.up()
    assert chain.wallet.health().ok
    assert chain.wallet.balance().total_units == chain.coin
