"""What the helpers for anvil and geth promise to the tests that use them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack.anvil import PAYER_ETH, Anvil
from devstack.evm import EvmError
from devstack.geth import Geth
from wallets.ethereum.contracts import creation, encode, load

SOMEONE = "0x" + "5e" * 20


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Anvil]:
    node = Anvil(tmp_path / "anvil")
    node.start()
    yield node
    node.stop()


def test_blocks_come_only_when_told(node: Anvil) -> None:
    paid = node.pay(SOMEONE, 7)
    assert node.receipt(paid) is None
    assert (node.height(), node.balance(SOMEONE), node.balance(node.payer)) == (0, 0, PAYER_ETH * 10**18)
    node.mine()
    receipt = node.receipt(paid)
    assert receipt is not None
    assert (receipt["status"], node.height(), node.balance(SOMEONE)) == ("0x1", 1, 7)


def test_many_payments_fit_into_one_block(node: Anvil) -> None:
    for wei in range(1, 6):
        node.pay(SOMEONE, wei)
    node.mine()
    assert (node.height(), node.balance(SOMEONE)) == (1, 15)


def test_a_clean_restart_keeps_chain_and_states_and_forgets_the_pool(node: Anvil) -> None:
    paid = node.pay(SOMEONE, 7)
    node.mine(70)
    waiting = node.pay(SOMEONE, 8)
    before = [node.block(n)["hash"] for n in (0, 1, 70)]
    node.restart()
    assert [node.block(n)["hash"] for n in (0, 1, 70)] == before
    assert node.receipt(paid) is not None
    assert node.rpc("eth_getTransactionByHash", waiting) is None
    assert node.rpc("eth_getBalance", SOMEONE, "finalized") == "0x7"
    node.mine()
    assert (node.height(), node.balance(SOMEONE)) == (71, 7)


def test_a_kill_loses_what_was_not_flushed(node: Anvil) -> None:
    node.pay(SOMEONE, 7)
    node.mine(3)
    tip = node.block()["hash"]
    node.flush()
    node.mine(2)
    node.kill()
    node.start()
    assert (node.height(), node.block()["hash"], node.balance(SOMEONE)) == (3, tip, 7)


def test_a_reorganisation_takes_payments_back_or_puts_others_in(node: Anvil) -> None:
    node.mine(5)
    paid = node.pay(SOMEONE, 7)
    node.mine(2)
    old = node.block(6)["hash"]
    node.reorg(2)
    assert (node.height(), node.receipt(paid), node.balance(SOMEONE), node.nonce(node.payer)) == (7, None, 0, 0)
    assert node.block(6)["hash"] != old
    assert node.rpc("eth_getBlockByHash", old, False) is None


def test_a_dropped_transaction_is_unknown(node: Anvil) -> None:
    paid = node.pay(SOMEONE, 7)
    node.drop(paid)
    node.mine()
    assert node.rpc("eth_getTransactionByHash", paid) is None
    assert node.balance(SOMEONE) == 0


def test_refusals_carry_the_code(node: Anvil) -> None:
    with pytest.raises(EvmError) as refusal:
        node.rpc("eth_sendRawTransaction", "0x00")
    assert refusal.value.code < 0


def test_finality_follows_the_epoch(tmp_path: Path) -> None:
    node = Anvil(tmp_path / "short", epoch_slots=4)
    node.start()
    try:
        node.mine(20)
        assert [int(node.block(tag)["number"], 16) for tag in ("latest", "safe", "finalized")] == [20, 16, 12]
    finally:
        node.stop()


def test_geth_makes_a_block_for_each_payment(geth: Geth) -> None:
    before = geth.balance(SOMEONE)
    receipt = geth.settle(geth.pay(SOMEONE, 7))
    assert (receipt["status"], geth.balance(SOMEONE) - before) == ("0x1", 7)
    height = geth.height()
    geth.mine(3)
    assert geth.height() >= height + 3


def test_geth_keeps_its_chain_over_a_clean_stop_and_gives_blocks_back(geth: Geth, tmp_path: Path) -> None:
    """The fixture is asked only for whether there is one: this node is stopped."""
    node = Geth(tmp_path / "own")
    node.start()
    try:
        node.mine(5)
        paid = node.pay(SOMEONE, 7)
        node.settle(paid)
        blocks = [node.block(n)["hash"] for n in range(6)]
        node.restart()
        assert [node.block(n)["hash"] for n in range(6)] == blocks
        assert node.receipt(paid) is not None
        node.rewind(3)
        assert node.height() == 3
        assert (node.receipt(paid), node.balance(SOMEONE)) == (None, 0)
    finally:
        node.stop()


def test_geth_traces_what_happens_inside_contracts(geth: Geth) -> None:
    forwarder = geth.deploy(creation(load("Forwarder")))
    data = encode(load("Forwarder"), "forward", [SOMEONE])
    receipt = geth.settle(geth.send({"to": forwarder, "data": data, "value": hex(9)}))
    trace = geth.rpc("debug_traceTransaction", receipt["transactionHash"], {"tracer": "callTracer"})
    assert [(call["to"], call["value"]) for call in trace["calls"]] == [(SOMEONE, "0x9")]
