"""Sweeps on a real EVM chain: what lies on deposit addresses comes to the hot wallet, and nothing of it is lost."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Row, update

from jobs.reconcile.chain import survey
from jobs.reconcile.places import differences
from ledger import pauses
from ledger.money import UNITS_BOUND
from ledger.schema import payment, sweep
from tests.flows.ethereum_engine import ETHER, GWEI, EthereumEngine
from wallets.ethereum.contracts import encode, load


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
    index = ethereum.address(customer, good).idx
    [row] = ethereum.sweeps()
    assert (row.state, len(ethereum.payments("gas")), ethereum.payments("sweep")) == ("funding", 1, [])
    ethereum.mine(1)
    assert ethereum.sweeps()[0].state == "funding"
    ethereum.mine(2)
    assert ethereum.sweeps()[0].state == "sweeping"
    ethereum.mine(3)
    assert (ethereum.sweeps()[0].state, len(ethereum.payments("gas"))) == ("swept", 1)
    assert ethereum.tokens_of("GOOD", ethereum.hot) == 50 * 10**6
    assert (ethereum.held(index, "GOOD"), ethereum.available(customer, "GOOD")) == (0, 50 * 10**6)
    ethereum.agree()


def test_dust_is_left_and_listed(ethereum: EthereumEngine) -> None:
    good = ethereum.add_token("GOOD")
    ethereum.stock()
    small = ethereum.address(ethereum.funded(9 * 10**6, good), good).idx
    coin = ethereum.address(ethereum.funded(5 * 10**15)).idx
    assert ethereum.sweeps() == []
    assert ethereum.left() == {("GOOD", small): "below_minimum", ("ETH", coin): "below_minimum"}
    ethereum.agree()


def test_what_is_coming_in_is_waited_for(ethereum: EthereumEngine) -> None:
    """One sweep takes both, and nothing that is not credited."""
    ethereum.set_policy(deposit_tiers=((UNITS_BOUND, 4),))
    customer = ethereum.account()
    home = ethereum.address(customer)
    ethereum.pay(home.address, ETHER, blocks=3)
    ethereum.pay(home.address, ETHER, blocks=1)
    assert (ethereum.available(customer), ethereum.sweeps()) == (ETHER, [])
    assert ethereum.left() == {("ETH", home.idx): "deposit_confirming"}
    ethereum.mine(3)
    [row] = ethereum.sweeps()
    assert row.units > 2 * ETHER - ETHER // 1_000
    ethereum.mine(3)
    ethereum.agree()


def waiting_for_depth(ethereum: EthereumEngine, *, dust_wei: int) -> Row[Any]:
    """The address of an ether that has just been credited, where so much more has one confirmation of four."""
    ethereum.set_policy(deposit_tiers=((UNITS_BOUND, 4),))
    home = ethereum.address(ethereum.account())
    ethereum.pay(home.address, ETHER, blocks=3)
    ethereum.pay(home.address, dust_wei)
    ethereum.tick()
    return home


def explained(ethereum: EthereumEngine) -> None:
    """What is on its way included, all is explained, and it lies where the books say."""
    ethereum.check_invariants()
    for look in survey(ethereum.services, ethereum.name).looks:
        assert set(differences(look).values()) <= {0}, (look.report.asset, differences(look))


def test_the_least_that_is_credited_is_waited_for(ethereum: EthereumEngine) -> None:
    home = waiting_for_depth(ethereum, dust_wei=10**15)
    assert (ethereum.sweeps(), ethereum.left()) == ([], {("ETH", home.idx): "deposit_confirming"})


def test_dust_that_keeps_coming_in_does_not_keep_an_index_from_being_swept(ethereum: EthereumEngine) -> None:
    """Otherwise a wei every few blocks would hold back all that an index has, for ever."""
    home = waiting_for_depth(ethereum, dust_wei=10**15 - 1)
    [planned] = ethereum.sweeps()
    assert (planned.state, ethereum.left()) == ("sweeping", {("ETH", home.idx): "sweep_under_way"})
    explained(ethereum)
    for _ in range(6):
        ethereum.pay(home.address, 1)
        explained(ethereum)
    [row] = ethereum.sweeps()
    assert (row.state, ethereum.node.balance(ethereum.hot)) == ("swept", row.units)
    assert ETHER - ETHER // 1_000 < row.units < ETHER
    ethereum.mine(4)
    assert [paid.state for paid in ethereum.deposits()[1:]] == ["ignored"] * 7
    assert ethereum.house("dust") == 10**15 + 5
    ethereum.agree()


def test_dust_that_confirms_before_the_sweep_is_mined_stays_on_the_index(ethereum: EthereumEngine) -> None:
    home = waiting_for_depth(ethereum, dust_wei=7)
    assert [row.state for row in ethereum.sweeps()] == ["sweeping"]
    for _ in range(3):
        ethereum.node.empty_pool()
        ethereum.mine(1)
        explained(ethereum)
    [row] = ethereum.sweeps()
    assert (row.state, ethereum.deposits()[-1].state) == ("sweeping", "ignored")
    assert ethereum.held(home.idx) == ETHER + 7
    ethereum.mine(3)
    [row] = ethereum.sweeps()
    assert (row.state, ethereum.node.balance(ethereum.hot)) == ("swept", row.units)
    ethereum.agree()


@pytest.mark.parametrize("mined", [False, True])
def test_dust_that_vanishes_takes_nothing_of_the_sweep_with_it(ethereum: EthereumEngine, mined: bool) -> None:
    home = waiting_for_depth(ethereum, dust_wei=7)
    [paid] = ethereum.payments("sweep")
    raw = ethereum.node.rpc("eth_getRawTransactionByHash", paid.txid)
    if mined:
        ethereum.mine(1)
        explained(ethereum)
        ethereum.node.reorg(2, [(raw, 1)])
    else:
        ethereum.node.reorg(1)
    ethereum.tick(2)
    explained(ethereum)
    ethereum.mine(4)
    assert (ethereum.deposits()[-1].state, ethereum.house("dust")) == ("reversed", 0)
    [row] = ethereum.sweeps()
    assert (row.state, ethereum.node.balance(ethereum.hot)) == ("swept", row.units)
    assert ethereum.held(home.idx) == ethereum.node.balance(home.address) < ETHER // 1_000
    ethereum.agree()


@pytest.mark.parametrize("batched", [0, 1])
def test_dust_of_a_token_does_not_hold_back_the_token(ethereum: EthereumEngine, batched: int) -> None:
    """Nor does dust of the coin, while the gas is on its way."""
    ethereum.stock()
    ethereum.services.wallets = {"ethereum": ethereum.make_wallet(ethereum.deployed("Sweeper", ethereum.hot))}
    good = ethereum.add_token("GOOD", sweep_batched=batched, deposit_tiers=((UNITS_BOUND, 4),))
    home = ethereum.address(ethereum.account(), good)
    ethereum.give("GOOD", home.address, 50 * 10**6)
    ethereum.mine(2)
    for _ in range(9):
        ethereum.give("GOOD", home.address, 10**6 - 1)
        explained(ethereum)
        if not batched:
            ethereum.pay(home.address, 1)
            explained(ethereum)
    [row] = ethereum.sweeps()
    assert (row.state, row.units, len(ethereum.payments("gas"))) == ("swept", 50 * 10**6, 1 - batched)
    assert ethereum.tokens_of("GOOD", ethereum.hot) == 50 * 10**6
    ethereum.mine(5)
    assert ethereum.house("dust", "GOOD") == ethereum.held(home.idx, "GOOD") == 9 * (10**6 - 1)
    ethereum.agree()


def test_tokens_leave_an_index_before_the_coin_that_pays_for_them(ethereum: EthereumEngine) -> None:
    good, other = ethereum.add_token("GOOD"), ethereum.add_token("PAUSE", "PausableToken")
    customer = ethereum.account()
    home = ethereum.address(customer)
    ethereum.set_policy(sweep_minimum_units=10 * ETHER)
    for asset in (good, other):
        ethereum.give(asset.code, home.address, 5 * 10**6)  # dust until the policy changes
    ethereum.pay(home.address, ETHER)
    for asset in (good, other):
        ethereum.set_policy(asset.code, sweep_minimum_units=10**6)
    ethereum.set_policy(sweep_minimum_units=10**16)
    for _ in range(12):
        ethereum.tick()
        assert len([row for row in ethereum.sweeps() if row.live]) <= 1
        ethereum.node.mine(1)
    ethereum.tick(2)
    order = [row.asset for row in ethereum.sweeps()]
    assert sorted(order[:2]) == ["GOOD", "PAUSE"]
    assert order[2:] == ["ETH"]
    assert ethereum.payments("gas") == []  # the customer's ether had enough
    assert {row.state for row in ethereum.sweeps()} == {"swept"}
    ethereum.agree()


def test_a_sweep_that_left_the_chain_after_it_was_settled_comes_back(ethereum: EthereumEngine) -> None:
    customer = ethereum.funded(ETHER)
    index = ethereum.address(customer).idx
    ethereum.mine(3)
    assert ethereum.sweeps()[0].state == "swept"
    ethereum.node.reorg(3)  # the block of the deposit stays
    ethereum.node.mine(1)
    ethereum.tick()
    [paid] = ethereum.payments("sweep")
    assert (paid.state != "settled", ethereum.held(index)) == (True, ETHER)
    for _ in range(3):
        ethereum.mine(2)
    [paid] = ethereum.payments("sweep")
    assert (paid.state, paid.settlements) == ("settled", 2)
    assert len(ethereum.sweeps()) == 1
    assert ethereum.node.balance(ethereum.hot) == paid.units
    ethereum.agree()


def test_a_token_that_will_not_move_is_left_with_an_alarm(ethereum: EthereumEngine) -> None:
    ethereum.stock()
    paused = ethereum.add_token("PAUSE", "PausableToken")
    customer = ethereum.account()
    home = ethereum.address(customer, paused)
    ethereum.give("PAUSE", home.address, 50 * 10**6)
    ethereum.call(ethereum.contracts["PAUSE"], "PausableToken", "setPaused", True)
    for _ in range(4):
        ethereum.mine(2)
    [row] = ethereum.sweeps()
    assert (row.state, row.status_reason, row.live) == ("abandoned", "address_refused", None)
    assert ("sweep_failed", "sweep:PAUSE") in ethereum.alarms()
    assert len(ethereum.payments("gas")) == 1
    ethereum.agree()
    rested(ethereum)
    ethereum.call(ethereum.contracts["PAUSE"], "PausableToken", "setPaused", False)
    for _ in range(3):
        ethereum.mine(2)
    assert [r.state for r in ethereum.sweeps()] == ["abandoned", "swept"]
    assert len(ethereum.payments("gas")) == 1  # the gas was there still
    assert ("sweep_failed", "sweep:PAUSE") not in ethereum.alarms()
    ethereum.agree()


def rested(ethereum: EthereumEngine) -> None:
    """Sweeps that were given up have been so for long."""
    ethereum.database.run(lambda tx: tx.execute(update(sweep).where(sweep.c.live.is_(None)).values(updated_at=1)), "t")


def test_a_sweep_that_the_chain_reverts_costs_its_gas_and_nothing_else(ethereum: EthereumEngine) -> None:
    ethereum.stock()
    paused = ethereum.add_token("PAUSE", "PausableToken")
    home = ethereum.address(ethereum.account(), paused)
    ethereum.give("PAUSE", home.address, 50 * 10**6)
    ethereum.mine(3)
    assert ethereum.sweeps()[0].state == "sweeping"
    assert len(ethereum.node.pool()["pending"]) == 1
    stop_first(ethereum, "PAUSE")
    ethereum.tick()
    assert ethereum.payments("sweep")[0].status_reason == "reverting"
    ethereum.check_invariants()
    ethereum.finalise()
    ethereum.tick(2)
    [row], [paid] = ethereum.sweeps(), ethereum.payments("sweep")
    assert (row.state, row.status_reason, paid.state) == ("abandoned", "reverted", "dead")
    assert ethereum.tokens_of("PAUSE", home.address) == ethereum.held(home.idx, "PAUSE") == 50 * 10**6
    assert paid.fee_units > 0
    ethereum.agree()


def stop_first(ethereum: EthereumEngine, code: str) -> None:
    """The token is paused by a transaction that comes before what waits, at any price."""
    data = encode(load("PausableToken"), "setPaused", [True])
    dear = {"maxFeePerGas": hex(500 * GWEI), "maxPriorityFeePerGas": hex(400 * GWEI)}
    ethereum.node.settle(ethereum.node.send({"to": ethereum.contracts[code], "data": data, **dear}))


def test_without_gas_in_the_hot_wallet_a_token_waits_where_it_is(ethereum: EthereumEngine) -> None:
    good = ethereum.add_token("GOOD")
    customer = ethereum.funded(50 * 10**6, good)
    for _ in range(8):
        ethereum.tick()
    [row] = ethereum.sweeps()
    assert (row.state, row.status_reason) == ("abandoned", "tried_too_often")
    assert {paid.declined for paid in ethereum.payments("gas")} == {"insufficient_hot_funds"}
    ethereum.stock()
    rested(ethereum)
    for _ in range(5):
        ethereum.mine(2)
    assert ethereum.sweeps()[-1].state == "swept"
    assert ethereum.available(customer, "GOOD") == 50 * 10**6
    ethereum.agree()


def test_sweeps_wait_while_they_are_paused(ethereum: EthereumEngine) -> None:
    ethereum.database.run(lambda tx: pauses.stop(tx, "ETH", "sweeps", "test", "test"), "test")
    index = ethereum.address(ethereum.funded(ETHER)).idx
    assert (ethereum.sweeps(), ethereum.left()) == ([], {("ETH", index): "paused"})
    ethereum.database.run(lambda tx: pauses.resume(tx, "ETH", "sweeps", "test"), "test")
    ethereum.tick()
    ethereum.mine(3)
    assert ethereum.sweeps()[0].state == "swept"
    ethereum.agree()


def test_dear_gas_is_waited_out(ethereum: EthereumEngine) -> None:
    ethereum.set_policy(payment_rate_max=1_000)
    index = ethereum.address(ethereum.funded(ETHER)).idx
    assert (ethereum.sweeps(), ethereum.left()) == ([], {("ETH", index): "fees_too_high"})


def test_many_token_addresses_are_swept_in_one_transaction(ethereum: EthereumEngine) -> None:
    ethereum.stock()
    sweeper = ethereum.deployed("Sweeper", ethereum.hot)
    ethereum.services.wallets = {"ethereum": ethereum.make_wallet(sweeper)}
    good = ethereum.add_token("GOOD", sweep_batched=1, sweep_minimum_units=10**12)
    customers = [ethereum.funded((50 + n) * 10**6, good) for n in range(3)]
    for_coin = ethereum.account()
    home = ethereum.address(for_coin)  # handed out for ether: its address must run no code
    ethereum.give("GOOD", home.address, 70 * 10**6)
    ethereum.set_policy("GOOD", sweep_minimum_units=10**6)
    ethereum.tick()
    batched = [paid for paid in ethereum.payments("sweep") if paid.batched]
    assert len(batched) == 1
    for _ in range(5):
        ethereum.mine(2)
    assert {row.state for row in ethereum.sweeps()} == {"swept"}
    assert len(ethereum.payments("gas")) == 1
    assert ethereum.tokens_of("GOOD", ethereum.hot) == (50 + 51 + 52 + 70) * 10**6
    assert ethereum.node.code(home.address) == "0x"
    assert [ethereum.available(customer, "GOOD") for customer in customers] == [50 * 10**6, 51 * 10**6, 52 * 10**6]
    ethereum.agree()


def test_code_that_a_batch_gave_is_taken_away_a_day_later(ethereum: EthereumEngine) -> None:
    ethereum.stock()
    ethereum.services.wallets = {"ethereum": ethereum.make_wallet(ethereum.deployed("Sweeper", ethereum.hot))}
    good = ethereum.add_token("GOOD", sweep_batched=1)
    home = ethereum.address(ethereum.funded(50 * 10**6, good), good)
    ethereum.mine(3)
    assert ethereum.sweeps()[0].state == "swept"
    assert ethereum.node.code(home.address).startswith("0xef0100")
    ethereum.tick(2)
    assert len(ethereum.payments("sweep")) == 1
    a_day_later(ethereum)
    for _ in range(3):
        ethereum.mine(2)
    assert ethereum.node.code(home.address) == "0x"
    assert ethereum.payments("sweep")[1].state == "settled"
    a_day_later(ethereum)
    ethereum.tick(2)
    assert len(ethereum.payments("sweep")) == 2  # it is done
    ethereum.agree()


def a_day_later(ethereum: EthereumEngine) -> None:
    earlier = update(payment).values(created_at=payment.c.created_at - 25 * 3_600 * 10**6)
    ethereum.database.run(lambda tx: tx.execute(earlier), "test")
