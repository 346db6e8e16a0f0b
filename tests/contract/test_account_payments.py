"""Chains whose resources are nonces: what their wallets promise besides.

On anvil, and on a real geth for all that needs no blocks made by hand.
"""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ledger.errors import (
    NodeProtocolError,
    WalletBusy,
)
from tests.contract.ethereum_rig import EthereumRig
from tests.contract.rigs import Trait, needs
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
