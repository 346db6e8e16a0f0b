"""Reorganisations on a real monerod: a deposit that moves, waits again or is nowhere, and a chain that got shorter."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ledger.errors import NodeNotReady, NodeProtocolError, TransactionRefused
from tests.contract.monero_rig import MoneroGround, MoneroRig
from wallets.protocol import DepositStatus, Output, SeenDeposit, TxState

XMR = 10**12


@pytest.fixture
def rig(monero_ground: MoneroGround) -> Iterator[MoneroRig]:
    rig = MoneroRig(monero_ground)
    yield rig
    rig.close()


def seen(rig: MoneroRig, cursor: str | None = None) -> dict[str, SeenDeposit]:
    return {deposit.key: deposit for deposit in rig.wallet.deposits_since(cursor).deposits}


def funded(rig: MoneroRig, blocks: int) -> SeenDeposit:
    """A deposit that is so many blocks deep."""
    key = rig.fund(0, XMR, blocks)
    return seen(rig)[key]


def present(rig: MoneroRig, deposit: SeenDeposit) -> SeenDeposit:
    return rig.wallet.look_up_deposits([deposit])[deposit.key]


def replace_blocks(rig: MoneroRig, depth: int, *, instead: int) -> None:
    """The last blocks go, what they held is forgotten everywhere, and others come."""
    rig.node.pop_blocks(depth)
    rig.node.flush_pool()
    rig.node.generate(instead, rig.payer.address)


@pytest.mark.parametrize(("depth", "more"), [(1, 0), (1, 1), (12, 1)])
def test_a_deposit_that_a_reorganisation_removed_is_gone(rig: MoneroRig, depth: int, more: int) -> None:
    """Also one that could be spent already, and also when the new chain is no longer than the old one."""
    deposit = funded(rig, depth)
    cursor = rig.wallet.deposits_since(None).cursor
    replace_blocks(rig, depth, instead=depth + more)
    assert seen(rig, cursor) == {}
    gone = present(rig, deposit)
    assert (gone.status, gone.reason, gone.height, gone.block_hash) == (DepositStatus.GONE, "vanished", None, None)
    assert rig.wallet.balance().total_units == 0


def test_a_deposit_put_back_into_the_pool_waits_and_is_mined_again_under_its_key(rig: MoneroRig) -> None:
    deposit = funded(rig, 3)
    raw = rig.bytes_of(deposit.txid)
    replace_blocks(rig, 3, instead=4)
    rig.node.rpc.post("send_raw_transaction", {"tx_as_hex": raw})
    waiting = present(rig, deposit)
    assert (waiting.status, waiting.height, waiting.block_hash) == (DepositStatus.POOL, None, None)
    assert seen(rig) == {}  # the wallet does not look twice at what it once saw in the pool
    assert waiting.units == XMR
    rig.mine()
    again = present(rig, deposit)
    assert again.status is DepositStatus.CONFIRMED
    assert again.block_hash not in (None, deposit.block_hash)
    assert again == seen(rig)[deposit.key]


def test_a_deposit_mined_at_another_height_is_told_with_its_new_block(rig: MoneroRig) -> None:
    deposit = funded(rig, 2)
    rig.node.reorg(2, rig.payer.address)  # what the old blocks held goes into the first new one
    moved = present(rig, deposit)
    assert moved.status is DepositStatus.CONFIRMED
    assert moved.block_hash != deposit.block_hash
    assert moved == seen(rig)[deposit.key]


def test_while_the_chain_is_shorter_than_before_nothing_is_judged_by_it(rig: MoneroRig) -> None:
    """The wallet goes on to list the removed block's deposit as confirmed (NODES 3.4)."""
    deposit = funded(rig, 3)
    assert rig.wallet.health().ok
    rig.node.pop_blocks(3)
    try:
        listed = rig.rpc("get_transfers", **{"in": True, "account_index": 0})
        assert [entry["txid"] for entry in listed["in"]] == [deposit.txid]  # it does
        for ask in (lambda: seen(rig), lambda: present(rig, deposit), rig.wallet.balance):
            with pytest.raises(NodeNotReady, match="shorter"):
                ask()
        health = rig.wallet.health()
        assert (health.ok, health.reason) == (False, "syncing")
        assert rig.new_adapter().health().reason == "syncing"  # a worker that has not seen the longer chain itself
    finally:
        rig.node.generate(4, rig.payer.address)
    assert present(rig, deposit).status is DepositStatus.CONFIRMED
    assert rig.wallet.health().ok


def test_a_cursor_whose_block_the_node_never_had_is_refused_and_a_later_one_is_waited_for(rig: MoneroRig) -> None:
    tip = rig.wallet.deposits_since(None).tip
    with pytest.raises(NodeProtocolError, match="cursor"):
        rig.wallet.deposits_since(f"{tip.height}:{'ab' * 32}")
    with pytest.raises(NodeProtocolError, match="cursor"):
        rig.wallet.deposits_since("tomorrow")
    with pytest.raises(NodeNotReady, match="cursor"):
        rig.wallet.deposits_since(f"{tip.height + 1}:{tip.hash}")


def test_a_payment_that_the_daemon_has_given_up_is_not_on_its_way_and_goes_out_again_once_it_is_forgotten(
    rig: MoneroRig,
) -> None:
    """Put back by a reorganisation while the chain is too short for what it spends, it is tried once, never again."""
    funded(rig, 10)
    signed = rig.send(Output(rig.outside_address(), XMR // 4))
    rig.mine()
    assert rig.wallet.look_up(signed).state is TxState.CONFIRMED
    rig.node.pop_blocks(4)
    try:
        rig.node.generate(1, rig.payer.address)  # here it is tried: what it spends is too young
    finally:
        rig.node.generate(14, rig.payer.address)
    assert signed.txid in rig.node.pool()
    assert rig.wallet.look_up(signed).state is TxState.UNKNOWN
    with pytest.raises(TransactionRefused, match="flush_txpool"):
        rig.wallet.broadcast(signed)
    rig.node.flush_pool(signed.txid)
    rig.wallet.broadcast(signed)
    assert rig.wallet.look_up(signed).state is TxState.POOL
    rig.mine()
    assert rig.wallet.look_up(signed).state is TxState.CONFIRMED
