"""Prepared bytes on their way to a real monerod, past kills, lost replies and a lost wallet file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from devstack.monero_rpc import MoneroRpc
from devstack.monero_wallet import MoneroWalletRpc
from ledger.errors import InsufficientHotFunds, NodeProtocolError, NodeUnavailable, TransactionRefused
from tests.contract.fault_proxy import FaultProxy
from tests.contract.monero_rig import WALLET_PASSWORD, MoneroGround, MoneroRig
from wallets.monero.client import MoneroClient
from wallets.monero.marks import Marks
from wallets.monero.prepared import Prepared
from wallets.monero.sending import Sending
from wallets.protocol import Output, TxState

XMR = 10**12


@pytest.fixture
def rig(monero_ground: MoneroGround) -> Iterator[MoneroRig]:
    rig = MoneroRig(monero_ground)
    yield rig
    rig.close()


def payee(rig: MoneroRig, units: int = XMR // 10) -> Output:
    return Output(rig.outside_address(), units)


def fund(rig: MoneroRig, coins: int) -> None:
    """So many outputs of one XMR that may be spent."""
    rig.pay(*(Output(rig.address(index), XMR) for index in range(coins)))
    rig.mine(10)


def balance(rig: MoneroRig) -> int:
    """As the wallet itself tells it: what a ghost would spoil."""
    rig.rpc("refresh")
    return int(rig.rpc("get_balance", account_index=0)["balance"])


def test_sending_a_confirmed_payment_again_leaves_no_ghost(rig: MoneroRig) -> None:
    """`relay_tx` would: the second call here shows that the wallet still does that, in a file of its own."""
    fund(rig, 2)
    tx = rig.send(payee(rig))
    rig.mine(2)
    rest = 2 * XMR - XMR // 10 - tx.fee_units
    rig.proxy.requests.clear()
    rig.wallet.broadcast(tx)
    rig.new_adapter().broadcast(tx)
    assert not any(b"relay_tx" in request for request in rig.proxy.requests)
    assert balance(rig) == rest
    assert rig.state(tx) is TxState.CONFIRMED
    rig.rpc("relay_tx", hex=Prepared.read(tx.payload).metadata)
    assert balance(rig) > rest, "this version of the wallet leaves no ghosts: the guard may be simplified"


@pytest.mark.parametrize("acted", [True, False])
def test_a_lost_reply_of_the_wallet_is_settled_by_sending_again(rig: MoneroRig, acted: bool) -> None:
    fund(rig, 1)
    output = payee(rig)
    tx = rig.make(output)
    rig.wallet.hold(tx.resources)
    rig.lose_reply("broadcast", acted=acted)
    with pytest.raises(NodeUnavailable):
        rig.wallet.broadcast(tx)
    assert rig.state(tx) is (TxState.POOL if acted else TxState.UNKNOWN)
    rig.wallet.broadcast(tx)
    rig.mine()
    assert rig.received(output.address) == output.units
    assert balance(rig) == XMR - output.units - tx.fee_units


def test_a_payment_that_the_wallet_forgot_in_a_kill_is_not_made_twice(rig: MoneroRig) -> None:
    """Killed after the daemon took it and before `store`: its output stays held."""
    fund(rig, 1)
    output = payee(rig)
    tx = rig.make(output)
    rig.wallet.hold(tx.resources)
    rig.rpc("relay_tx", hex=Prepared.read(tx.payload).metadata)
    rig.ground.wallet_rpc.kill()
    rig.ground.wallet_rpc.start()
    assert rig.wallet.held() == set(tx.resources)
    with pytest.raises(InsufficientHotFunds):
        rig.propose(payee(rig))
    rig.wallet.broadcast(tx)
    rig.mine(1)
    assert (rig.received(output.address), balance(rig)) == (output.units, XMR - output.units - tx.fee_units)


@pytest.mark.parametrize("when", ["prepared", "held", "sent"])
def test_a_kill_of_the_wallet_at_any_step_pays_once(rig: MoneroRig, when: str) -> None:
    fund(rig, 2)
    output = payee(rig)
    tx = rig.make(output)
    if when != "prepared":
        rig.wallet.hold(tx.resources)
    if when == "sent":
        rig.wallet.broadcast(tx)
    rig.ground.wallet_rpc.kill()
    rig.ground.wallet_rpc.start()
    rig.wallet.hold(tx.resources)
    rig.wallet.broadcast(tx)
    rig.wallet.broadcast(tx)
    rig.mine(2)
    assert rig.state(tx) is TxState.CONFIRMED
    assert (rig.received(output.address), balance(rig)) == (output.units, 2 * XMR - output.units - tx.fee_units)


def test_a_wallet_restored_from_its_seed_sends_what_the_lost_one_prepared(rig: MoneroRig) -> None:
    """The metadata means nothing to it, the bytes all (FAULTS D10)."""
    fund(rig, 2)
    output = payee(rig)
    tx = rig.make(output)
    rig.wallet.hold(tx.resources)
    restored = _restored(rig)
    rig.proxy.requests.clear()
    restored.wallet.hold(tx.resources)
    restored.wallet.broadcast(tx)
    assert not any(b"relay_tx" in request for request in rig.proxy.requests)
    assert restored.state(tx) is TxState.POOL
    rig.mine(2)
    restored.wallet.broadcast(tx)
    assert restored.status(tx).depth == 2
    assert (rig.received(output.address), balance(rig)) == (output.units, 2 * XMR - output.units - tx.fee_units)


def _restored(rig: MoneroRig) -> MoneroRig:
    """The same keys in a new file, as after the loss of the old one; open from here on."""
    seed = rig.rpc("query_key", key_type="mnemonic")["key"]
    name = f"{rig.name}-restored"
    rig.rpc("restore_deterministic_wallet", filename=name, password=WALLET_PASSWORD, seed=seed, restore_height=0)
    rig.rpc("refresh")
    rig.wallet = rig.new_adapter(name)
    rig.wallet.open()
    return rig


def test_a_payment_lives_through_a_restart_of_both_programs(rig: MoneroRig) -> None:
    fund(rig, 1)
    output = payee(rig)
    prepared = rig.make(output)
    rig.wallet.hold(prepared.resources)
    rig.restart()
    rig.wallet.broadcast(prepared)
    rig.restart()
    assert rig.state(prepared) in (TxState.POOL, TxState.UNKNOWN)
    rig.wallet.broadcast(prepared)
    rig.mine()
    assert rig.received(output.address) == output.units


def test_the_wallets_own_failed_does_not_count(rig: MoneroRig) -> None:
    """A payment that left the pool: the wallet may call it failed; it is nowhere, and is sent again (FAULTS D8)."""
    fund(rig, 1)
    output = payee(rig)
    tx = rig.send(output)
    rig.evict(tx.txid)
    status = rig.status(tx)
    assert (status.state, status.conflicting) == (TxState.UNKNOWN, ())
    rig.wallet.broadcast(tx)
    assert rig.state(tx) is TxState.POOL
    rig.mine()
    assert rig.received(output.address) == output.units
    assert balance(rig) == XMR - output.units - tx.fee_units


def test_the_loser_of_two_that_share_an_output_is_conflicted(rig: MoneroRig) -> None:
    fund(rig, 1)
    winner, loser = rig.make(payee(rig)), rig.make(payee(rig))
    rig.wallet.broadcast(winner)
    with pytest.raises(TransactionRefused) as refused:
        rig.wallet.broadcast(loser)
    assert not refused.value.invalid
    assert (rig.state(loser), rig.status(loser).conflicting) == (TxState.UNKNOWN, (winner.txid,))
    rig.mine(3)
    with pytest.raises(TransactionRefused):
        rig.wallet.broadcast(loser)
    status = rig.status(loser)
    assert (status.state, status.depth, status.conflicting) == (TxState.CONFLICTED, 3, (winner.txid,))


class PrunedNode(MoneroClient):
    """The node's answers about transactions as a pruned one gives them. Really pruned is only what lies 5,500 blocks
    deep; a node that has everything answers `prune` in the same form, with `as_hex` empty."""

    def daemon_path(self, path: str, **params: object) -> Any:
        return super().daemon_path(path, **params | ({"prune": True} if path == "get_transactions" else {}))


def test_a_conflict_is_judged_by_a_pruned_node_and_past_payments_of_other_kinds(rig: MoneroRig) -> None:
    """Somebody used the same wallet by hand, with an unlock time, which this engine never sets."""
    fund(rig, 1)
    winner, loser = rig.make(payee(rig)), rig.make(payee(rig))
    rig.wallet.broadcast(winner)
    rig.mine(10)
    client = PrunedNode(rig.ground.wallet_rpc.url, rig.node.url, rig.name, WALLET_PASSWORD)
    by_pruned_node = Sending(client, Marks(client)).look_up(loser)
    expected = (TxState.CONFLICTED, 10, (winner.txid,))
    assert (by_pruned_node.state, by_pruned_node.depth, by_pruned_node.conflicting) == expected
    output = payee(rig)
    locked = [{"address": output.address, "amount": output.units}]
    rig.rpc("transfer", destinations=locked, account_index=0, unlock_time=rig.node.height() + 20)
    rig.mine()
    status = rig.status(loser)
    assert (status.state, status.depth, status.conflicting) == (TxState.CONFLICTED, 11, (winner.txid,))


def test_bytes_and_metadata_of_two_payments_are_not_mixed(rig: MoneroRig) -> None:
    """A tampered row cannot make `relay_tx` send another transaction than the one that was checked."""
    fund(rig, 2)
    tx = rig.make(payee(rig))
    other = rig.make(payee(rig))
    metadata = Prepared.read(other.payload).metadata
    forged = replace(Prepared.read(tx.payload), metadata=metadata).payload()
    for wrong in (replace(tx, payload=forged), replace(tx, raw=other.raw), replace(tx, payload=other.payload)):
        with pytest.raises(NodeProtocolError):
            rig.wallet.broadcast(wrong)
    assert rig.node.pool() == []


@pytest.fixture
def lossy(monero_ground: MoneroGround, tmp_path: Path) -> Iterator[tuple[MoneroRig, FaultProxy]]:
    """A rig whose wallet-rpc reaches monerod through a proxy."""
    node = monero_ground.node
    proxy = FaultProxy(node.rpc.port)
    behind = SimpleNamespace(folder=node.folder, rpc=MoneroRpc(proxy.port, node.rpc.user, node.rpc.password))
    wallet_rpc = MoneroWalletRpc(tmp_path / "lossy", cast(Any, behind))
    wallet_rpc.daemon.command += ["--daemon-ssl", "disabled"]  # the proxy must see what passes
    ground = cast(MoneroGround, SimpleNamespace(**vars(monero_ground)))
    ground.wallet_rpc, ground.new_wallet = wallet_rpc, lambda: _moved(monero_ground, wallet_rpc)  # type: ignore[method-assign]
    wallet_rpc.start()
    rig = MoneroRig(ground)
    yield rig, proxy
    rig.close()
    wallet_rpc.stop()
    proxy.close()


def _moved(ground: MoneroGround, to: MoneroWalletRpc) -> str:
    """A new wallet file, in the folder of another wallet-rpc."""
    name = ground.new_wallet()
    for suffix in ("", ".keys"):
        (ground.wallet_rpc.wallets / f"{name}{suffix}").rename(to.wallets / f"{name}{suffix}")
    return name


@pytest.mark.parametrize("delivered", [True, False])
def test_an_error_of_the_wallet_after_the_daemon_took_it_is_no_failure(
    lossy: tuple[MoneroRig, FaultProxy], delivered: bool
) -> None:
    """`relay_tx` answers with an error whether or not the daemon has the transaction (FAULTS D9)."""
    rig, proxy = lossy
    fund(rig, 1)
    output = payee(rig)
    tx = rig.make(output)
    rig.wallet.hold(tx.resources)
    proxy.lose_path("/sendrawtransaction", delivered=delivered)
    rig.wallet.broadcast(tx)
    assert rig.state(tx) is TxState.POOL
    rig.node.generate(1, rig.payer.address)
    assert rig.received(output.address) == output.units
    assert rig.wallet.balance().total_units == XMR - output.units - tx.fee_units


def test_a_wallet_that_hangs_is_given_up_after_the_time_limit_and_found_as_it_was(rig: MoneroRig) -> None:
    """NODES 0.15: whoever watches over wallet-rpc may kill it at any time."""
    fund(rig, 1)
    output = payee(rig)
    tx = rig.make(output)
    rig.timeout_seconds = 1
    impatient = rig.new_adapter()
    rig.ground.wallet_rpc.pause()
    try:
        for call in (impatient.held, impatient.balance, lambda: impatient.hold(tx.resources)):
            with pytest.raises(NodeUnavailable):
                call()
        assert not impatient.health().ok
        assert impatient.look_up(tx).state is TxState.UNKNOWN  # monerod answers that
    finally:
        rig.ground.wallet_rpc.kill()
        rig.ground.wallet_rpc.start()
    rig.wallet.hold(tx.resources)
    rig.wallet.broadcast(tx)
    rig.mine()
    assert rig.received(output.address) == output.units
