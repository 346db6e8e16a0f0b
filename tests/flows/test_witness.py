"""A second node's word on large deposits (FAULTS D12, D13): what only one node shows is not credited."""

from __future__ import annotations

from copy import deepcopy

import pytest

from tests.flows.engine import Engine
from wallets.fake import FakeChain
from wallets.fake.witness import FakeWitness

LARGE, SMALL = 50_000_000, 400_000  # three confirmations, and one


def as_it_is(chain: FakeChain) -> FakeChain:
    """Another node that knows all of this moment and learns nothing more."""
    other = FakeChain()
    with chain.state() as s:
        other._state = deepcopy(s)
    return other


@pytest.fixture
def witness(engine: Engine) -> FakeWitness:
    """The second node, cut off from now on."""
    found = FakeWitness(as_it_is(engine.chain))
    engine.services.witnesses = {"bitcoin": found}
    return found


def pay(engine: Engine, units: int, blocks: int) -> int:
    account = engine.account()
    engine.chain.fund(engine.address(account).address, units, blocks=blocks)
    engine.tick()
    return account


def test_a_deposit_that_only_one_node_shows_waits_and_is_told(engine: Engine, witness: FakeWitness) -> None:
    account = pay(engine, LARGE, 6)
    engine.tick(2)
    row = engine.deposit_of(account)
    assert (row.state, row.status_reason) == ("confirming", "second_node")
    assert engine.available(account) == 0
    assert ("nodes_disagree", f"deposit:{row.id}") in engine.alarms()
    engine.check_invariants()
    witness.chain = engine.chain
    engine.tick()
    assert engine.available(account) == LARGE
    assert engine.alarms() == set()
    engine.check_invariants()


def test_the_lesser_number_of_confirmations_counts(engine: Engine, witness: FakeWitness) -> None:
    account = pay(engine, LARGE, 2)
    witness.chain = as_it_is(engine.chain)
    engine.chain.mine(4)
    engine.tick()
    row = engine.deposit_of(account)
    assert (row.state, row.status_reason) == ("confirming", "second_node")
    assert "2 of 3" in (row.status_detail or "")
    assert engine.alarms() == set()
    witness.chain.mine(1)
    engine.tick()
    assert engine.available(account) == LARGE


def test_another_block_at_its_height_is_no_confirmation(engine: Engine, witness: FakeWitness) -> None:
    account = pay(engine, LARGE, 2)
    witness.chain = as_it_is(engine.chain)
    witness.chain.reorg(2)
    witness.chain.mine(4)  # the payment is in there, in another block
    engine.chain.mine(4)
    engine.tick()
    assert engine.available(account) == 0
    assert engine.deposit_of(account).status_reason == "second_node"


def test_small_deposits_ask_nobody(engine: Engine, witness: FakeWitness) -> None:
    engine.set_policy(deposit_witness_above_units=SMALL)
    witness.chain.down()
    assert engine.available(pay(engine, SMALL, 1)) == SMALL


def test_a_second_node_that_is_down_is_waited_for(engine: Engine, witness: FakeWitness) -> None:
    witness.chain = as_it_is(engine.chain)
    witness.chain.down()
    account = pay(engine, LARGE, 6)
    engine.tick(3)
    row = engine.deposit_of(account)
    assert (row.state, row.status_reason) == ("confirming", "node_unavailable")
    assert "second node" in (row.status_detail or "")
    assert engine.available(account) == 0
    witness.chain = engine.chain
    engine.tick()
    assert engine.available(account) == LARGE


def test_what_is_in_doubt_and_leaves_its_block_is_no_longer_told(engine: Engine, witness: FakeWitness) -> None:
    account = pay(engine, LARGE, 6)
    assert engine.deposit_of(account).status_reason == "second_node"
    engine.chain.reorg(6)
    engine.tick()
    assert engine.deposit_of(account).state == "detected"
    assert engine.alarms() == set()


def test_what_was_in_doubt_before_an_outage_is_no_longer_told_once_it_is_booked(
    engine: Engine, witness: FakeWitness
) -> None:
    account = pay(engine, LARGE, 6)
    assert ("nodes_disagree", f"deposit:{engine.deposit_of(account).id}") in engine.alarms()
    witness.chain.down()
    engine.tick()
    assert engine.deposit_of(account).status_reason == "node_unavailable"
    witness.chain = engine.chain
    engine.tick()
    assert engine.available(account) == LARGE
    assert engine.alarms() == set()
