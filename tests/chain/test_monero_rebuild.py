"""A payment whose ring members a reorganisation took away can never confirm (FAULTS E10). What stands for it must spend
one of the same outputs, so that at most one of the two ever can."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from devstack.monerod import SPENDABLE_DEPTH
from ledger.errors import InsufficientHotFunds, NodeProtocolError, ResourceTaken, TransactionRefused
from tests.contract.monero_rig import MoneroGround, MoneroRig
from wallets.protocol import Output, SignedTransaction, Spend, TxState

XMR = 10**12


@pytest.fixture
def rig(monero_ground: MoneroGround) -> Iterator[MoneroRig]:
    rig = MoneroRig(monero_ground)
    yield rig
    rig.close()


def fund(rig: MoneroRig, coins: int) -> None:
    rig.pay(*(Output(rig.address(index), XMR) for index in range(coins)))
    rig.mine(10)


def doomed(rig: MoneroRig, output: Output) -> SignedTransaction:
    """Held, meant to be sent, and invalid since the last blocks were replaced."""
    height = rig.node.height()
    young = _young_outputs(rig)
    rig.mine(SPENDABLE_DEPTH)
    for _ in range(30):
        tx = rig.make(output)
        if max(_ring(tx)) >= young:
            break
    else:
        raise AssertionError("no ring with a young member in thirty")
    rig.wallet.hold(tx.resources)
    depth = rig.node.height() - height
    rig.node.pop_blocks(depth)
    rig.node.flush_pool()
    rig.mine(depth + 1)
    return tx


def _young_outputs(rig: MoneroRig) -> int:
    """Many fresh outputs; the number of the first."""
    txids = [rig.payer.pay([(rig.payer.address, XMR // 100)] * 15) for _ in range(4)]
    for _ in range(5):  # the node does not always put all of its pool into the next block
        rig.mine()
        found = rig.node.rpc.post("get_transactions", {"txs_hashes": txids})["txs"]
        if not any(tx["in_pool"] for tx in found):
            return min(number for tx in found for number in tx["output_indices"])
    raise AssertionError("five blocks did not empty the pool")


def _mine_in(rig: MoneroRig, tx: SignedTransaction) -> None:
    for _ in range(5):  # the node does not always put all of its pool into the next block
        rig.mine()
        if rig.state(tx) is TxState.CONFIRMED:
            return
    raise AssertionError("five blocks did not take it in")


def _ring(tx: SignedTransaction) -> list[int]:
    """The numbers of the outputs in the ring of its only input."""
    data = bytes.fromhex(tx.raw)
    numbers, value, shift = [], 0, 0
    for byte in data[5:]:  # version, unlock time, one input, its kind, its amount
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            numbers.append(value)
            value, shift = 0, 0
            if len(numbers) == 1 + numbers[0]:
                break
    return [sum(numbers[1 : end + 1]) for end in range(1, len(numbers))]


def refused_as_invalid(rig: MoneroRig, tx: SignedTransaction) -> bool:
    with pytest.raises(TransactionRefused) as refused:
        rig.wallet.broadcast(tx)
    return refused.value.invalid


def test_a_dead_payment_is_rebuilt_from_its_own_outputs_and_pays_once(rig: MoneroRig) -> None:
    fund(rig, 3)
    output = Output(rig.outside_address(), XMR // 10)
    old = doomed(rig, output)
    assert refused_as_invalid(rig, old)
    assert rig.state(old) is TxState.UNKNOWN
    new = rig.reprice(old, output, rate=rig.rate)
    assert set(new.resources) == set(old.resources)
    assert new.txid != old.txid
    assert rig.wallet.held() == set(old.resources)
    rig.wallet.broadcast(new)
    _mine_in(rig, new)
    rig.mine()
    assert rig.status(new).depth == 2
    lost = rig.status(old)
    assert (lost.state, lost.depth, lost.conflicting) == (TxState.CONFLICTED, 2, (new.txid,))
    assert not refused_as_invalid(rig, old)
    assert rig.received(output.address) == output.units


def test_rebuilding_never_reaches_for_other_outputs(rig: MoneroRig) -> None:
    """Not even when the payment could be made only with them."""
    fund(rig, 1)
    output = Output(rig.outside_address(), XMR // 2)
    old = doomed(rig, output)
    rig.rpc("thaw", key_image=old.resources[0])
    rig.rpc("sweep_single", key_image=old.resources[0], address=rig.outside_address(), do_not_relay=True)
    rig.pay(*(Output(rig.address(index), XMR) for index in range(3)))
    rig.mine(10)
    new = rig.reprice(old, output, rate=rig.rate)
    assert new.resources == old.resources
    spendable = rig.rpc("get_balance", account_index=0)["unlocked_balance"]
    assert spendable >= 3 * XMR, "the other outputs were left frozen"


def test_a_payment_that_lost_its_outputs_is_not_rebuilt(rig: MoneroRig) -> None:
    fund(rig, 2)
    output = Output(rig.outside_address(), XMR // 10)
    old = doomed(rig, output)
    rig.rpc("thaw", key_image=old.resources[0])
    rig.rpc("sweep_single", key_image=old.resources[0], address=rig.outside_address())
    with pytest.raises(ResourceTaken):
        rig.reprice(old, output, rate=rig.rate)
    rig.mine()
    with pytest.raises(ResourceTaken):
        rig.reprice(old, output, rate=rig.rate)
    assert rig.state(old) is TxState.CONFLICTED


def test_a_payment_that_is_on_its_way_is_not_rebuilt(rig: MoneroRig) -> None:
    fund(rig, 2)
    output = Output(rig.outside_address(), XMR // 10)
    tx = rig.send(output)
    for blocks in (0, 1):
        if blocks:
            rig.mine(blocks)
        with pytest.raises(ResourceTaken):
            rig.reprice(tx, output, rate=rig.rate)
    assert rig.state(tx) is TxState.CONFIRMED


def test_a_payment_that_was_not_sent_yet_is_sent_and_not_rebuilt(rig: MoneroRig) -> None:
    """Its bytes are as good as ever: they may be on their way by some other node."""
    fund(rig, 2)
    output = Output(rig.outside_address(), XMR // 10)
    tx = rig.make(output)
    rig.wallet.hold(tx.resources)
    with pytest.raises(ResourceTaken, match="on its way"):
        rig.reprice(tx, output, rate=rig.rate)
    assert rig.state(tx) is TxState.POOL


def test_rebuilding_stays_below_the_ceiling_and_leaves_the_holds_as_they_were(rig: MoneroRig) -> None:
    fund(rig, 3)
    output = Output(rig.outside_address(), XMR // 10)
    old = doomed(rig, output)
    with pytest.raises(InsufficientHotFunds):
        rig.reprice(old, output, rate=rig.rate, fee_max_units=1_000)
    assert rig.wallet.held() == set(old.resources)
    assert not set(rig.propose(output).resources) & set(old.resources)


def test_only_the_signed_payment_is_rebuilt(rig: MoneroRig) -> None:
    fund(rig, 2)
    output = Output(rig.outside_address(), XMR // 10)
    old = doomed(rig, output)
    with pytest.raises(NodeProtocolError):
        rig.wallet.reprice(old, Spend((Output(output.address, XMR // 5),)), rig.rate, rig.fee_ample)
