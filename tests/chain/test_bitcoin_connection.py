"""Connections to a real bitcoind that idle, stall, restart or are shared by threads; and a node that is not itself."""

from __future__ import annotations

import select
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from devstack.bitcoind import Bitcoind
from ledger.errors import NodeUnavailable, WrongNetwork
from tests.contract.bitcoin_rig import PASSPHRASE, BitcoinRig
from tests.contract.rigs import unavailable, until
from wallets.bitcoin import client as client_module
from wallets.bitcoin.client import BitcoinClient
from wallets.bitcoin.push import listen
from wallets.bitcoin.wallet import BitcoinWallet
from wallets.protocol import Output

COIN = 10**8


def test_a_connection_that_the_node_closed_for_idling_is_replaced(
    own_node: Callable[..., Bitcoind], monkeypatch: pytest.MonkeyPatch
) -> None:
    node = own_node("-rpcservertimeout=1", blocks=1)
    client = BitcoinClient(node.worker_url, "miner")
    assert client.read("getblockcount") == 1
    monkeypatch.setattr(client_module, "IDLE_SECONDS_MAX", 1e9)
    wire = client._local.proxy._AuthServiceProxy__conn.sock
    until(lambda: bool(select.select([wire], [], [], 0)[0]), "the node to hang up")
    assert client.change("keypoolrefill", 30) is None  # never repeated, and need not be


def test_a_stalled_node_times_out_and_the_next_call_is_sound(own_node: Callable[..., Bitcoind]) -> None:
    node = own_node(blocks=1)
    client = BitcoinClient(node.worker_url, "any", timeout_seconds=0.3)
    assert client.read("getblockcount") == 1
    node.pause()
    try:
        for _ in range(2):
            with pytest.raises(NodeUnavailable, match="timed out"):
                client.read("getblockcount")
    finally:
        node.resume()
    answers: list[object] = []
    until(lambda: not unavailable(lambda: answers.append(client.read("getblockcount"))), "an answer")
    assert answers == [1]


def test_a_restart_is_survived_and_a_starting_node_never_answers_with_zero(own_node: Callable[..., Bitcoind]) -> None:
    node = own_node()
    rig = BitcoinRig(node)
    rig.fund(0, COIN)
    node.stop()
    assert rig.wallet.health().reason == "unreachable"
    with ThreadPoolExecutor(1) as pool:
        starting = pool.submit(node.start)
        answers = []
        while not starting.done() or not answers:
            if not unavailable(lambda: answers.append(rig.wallet.balance().total_units)):
                continue
            assert rig.wallet.health().reason in ("unreachable", "warming_up", "syncing", "no_wallet", "")
        starting.result()
    assert set(answers) == {COIN}
    assert rig.wallet.health().ok


def test_threads_ask_at_once_and_each_gets_its_own_answer(rig: BitcoinRig) -> None:
    keys = [rig.fund(index, (index + 1) * 1_000_000) for index in range(4)]
    deposits = {d.key: d for d in rig.wallet.deposits_since(None).deposits}

    def ask(key: str) -> set[tuple[int, str]]:
        found = set()
        for _ in range(100):
            [deposit] = rig.wallet.look_up_deposits([deposits[key]]).values()
            found.add((deposit.units, deposit.address))
        return found

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(ask, keys))
    assert answers == [{((index + 1) * 1_000_000, rig.address(index))} for index in range(4)]


def test_a_wrong_password_is_told_without_repeating_it(rig: BitcoinRig) -> None:
    wrong = BitcoinWallet(
        BitcoinClient(f"http://coffer:sesame@127.0.0.1:{rig.node.rpc_port}", rig.name), "regtest", "w"
    )
    health = wrong.health()
    assert (health.ok, health.reason) == (False, "credentials")
    assert "sesame" not in health.detail


def test_a_node_on_another_chain_is_refused(rig: BitcoinRig) -> None:
    for network in ("main", "test", "testnet4", "signet"):
        stranger = BitcoinWallet(rig.client, network, rig.name, PASSPHRASE)
        with pytest.raises(WrongNetwork, match="'regtest'"):
            stranger.open()
        with pytest.raises(WrongNetwork):
            stranger.health()


def test_a_node_that_lost_its_last_blocks_is_not_trusted_until_they_are_back(own_node: Callable[..., Bitcoind]) -> None:
    """What it does not see then is no proof that it does not exist."""
    node = own_node(blocks=5)
    wallet = BitcoinWallet(BitcoinClient(node.worker_url, "w"), "regtest", "w", PASSPHRASE)
    wallet.open()
    assert wallet.health().ok
    tip = node.admin("getbestblockhash")
    node.admin("invalidateblock", tip)
    health = wallet.health()
    assert (health.ok, health.reason) == (False, "syncing")
    node.admin("reconsiderblock", tip)
    assert wallet.health().ok


def test_blocks_and_transactions_wake_the_listener_also_after_a_restart(own_node: Callable[..., Bitcoind]) -> None:
    node = own_node()
    woken, stop = threading.Event(), threading.Event()
    listener = threading.Thread(target=listen, args=(node.zmq_url, woken.set, stop))
    listener.start()

    def wakes(act: Callable[[], object]) -> None:
        woken.clear()
        until(lambda: act() is None or woken.wait(0.2), "a wake-up")

    try:
        wakes(lambda: node.mine(1))
        wakes(lambda: node.pay({node.miner_address(): "0.1"}))
        node.restart()
        wakes(lambda: node.mine(1))
    finally:
        stop.set()
        listener.join(10)
    assert not listener.is_alive()


def test_without_a_publisher_there_is_nothing_to_listen_to() -> None:
    listen(None, lambda: pytest.fail("woken by nobody"), threading.Event())


def test_the_fee_floor_is_what_the_pool_takes(own_node: Callable[..., Bitcoind]) -> None:
    node = own_node("-minrelaytxfee=0.00005")
    rig = BitcoinRig(node)
    assert (rig.wallet.fee_market(6, 7_000).rate, rig.wallet.fee_market(6, 7_000).source) == (7_000, "fallback")
    assert rig.wallet.fee_market(6, 1).rate == 5_000
    rig.until_seen(node.pay({rig.address(0): "1"}, fee_rate_sat_vb=10))
    rig.mine()
    sent = rig.make(Output(rig.outside_address(), 10_000), rate=rig.wallet.fee_market(6, 1).rate)
    rig.wallet.broadcast(sent)
    assert sent.txid in node.admin("getrawmempool")
