"""Several payments in a row need several outputs: each locks its own and its change for ten blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from ledger.errors import FundsLocked
from tests.contract.monero_rig import MoneroGround, MoneroRig
from wallets.protocol import HOT, Output, SignedTransaction, Spend

XMR = 10**12


@pytest.fixture
def rig(monero_ground: MoneroGround) -> Iterator[MoneroRig]:
    rig = MoneroRig(monero_ground)
    yield rig
    rig.close()


def fund(rig: MoneroRig, *units: int) -> None:
    rig.pay(*(Output(rig.address(index), each) for index, each in enumerate(units)))
    rig.mine(10)


def split(rig: MoneroRig, outputs: Sequence[Output]) -> SignedTransaction:
    spend = Spend(tuple(outputs), targets=(HOT,) * len(outputs))
    tx = rig.wallet.sign(rig.wallet.propose(spend, rig.rate, rig.rate_max), spend)
    rig.wallet.broadcast(tx)
    return tx


def payee(rig: MoneroRig) -> Output:
    return Output(rig.outside_address(), XMR // 10)


def test_one_output_becomes_several_and_that_many_payments_need_not_wait(rig: MoneroRig) -> None:
    fund(rig, 10 * XMR)
    outputs = rig.wallet.split(4, rig.rate_max)
    assert len(outputs) == 3
    assert {output.address for output in outputs} == {rig.hot_address()}
    assert len({output.units for output in outputs}) == 1
    tx = split(rig, outputs)
    rig.mine(10)
    coins = rig.rpc("incoming_transfers", transfer_type="available")["transfers"]
    assert len(coins) == 4
    assert sum(coin["amount"] for coin in coins) == 10 * XMR - tx.fee_units
    assert min(coin["amount"] for coin in coins) > 2 * XMR
    assert rig.wallet.split(4, rig.rate_max) == ()
    for _ in range(4):
        rig.send(payee(rig))
    with pytest.raises(FundsLocked):
        rig.send(payee(rig))


def test_nothing_is_split_while_enough_comes_by_itself(rig: MoneroRig) -> None:
    fund(rig, 10 * XMR)
    split(rig, rig.wallet.split(4, rig.rate_max))
    assert rig.wallet.split(4, rig.rate_max) == ()  # waits for its block
    rig.mine()
    assert rig.wallet.split(4, rig.rate_max) == ()  # locked


def test_one_transaction_makes_at_most_fifteen(rig: MoneroRig) -> None:
    fund(rig, 30 * XMR)
    outputs = rig.wallet.split(100, rig.rate_max)
    assert len(outputs) == 15
    split(rig, outputs)


def test_small_held_and_dear_outputs_are_not_split(rig: MoneroRig) -> None:
    fund(rig, XMR // 5)
    assert rig.wallet.split(4, rig.rate_max) == ()
    fund(rig, 10 * XMR)
    assert rig.wallet.split(3, rig.rate_max)
    assert rig.wallet.split(3, 1_000) == ()
    coins = rig.rpc("incoming_transfers", transfer_type="available")["transfers"]
    rig.wallet.hold([coin["key_image"] for coin in coins])
    assert rig.wallet.split(3, rig.rate_max) == ()


def test_an_empty_wallet_is_not_split(rig: MoneroRig) -> None:
    assert rig.wallet.split(4, rig.rate_max) == ()
