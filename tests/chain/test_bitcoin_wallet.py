"""A real wallet: made once, unlocked when needed, watching what it says, holding what it was told, over kills."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from devstack.bitcoind import Bitcoind
from ledger.errors import InsufficientHotFunds, NodeNotReady
from tests.contract.bitcoin_rig import PASSPHRASE, BitcoinRig
from tests.contract.rigs import WATCHED, until
from wallets.bitcoin.client import BitcoinClient
from wallets.bitcoin.wallet import BitcoinWallet
from wallets.protocol import DepositStatus, Output, Spend, TxState, WalletIdentity

COIN = 10**8


def test_workers_that_start_together_make_one_wallet(chain_node: Bitcoind) -> None:
    """Who comes while it is being made is told to wait."""
    client = BitcoinClient(chain_node.worker_url, "made-at-once")
    identities: list[WalletIdentity] = []

    def opened() -> bool:
        try:
            identities.append(BitcoinWallet(client, "regtest", "made-at-once", PASSPHRASE).open())
        except NodeNotReady:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: until(opened, "the wallet to open"), range(4)))
    assert len(identities) == 4
    assert len(set(identities)) == 1
    assert {"name": "made-at-once", "warnings": []} in chain_node.admin("listwalletdir")["wallets"]


def test_our_addresses_are_the_nodes(rig: BitcoinRig) -> None:
    [descriptor] = [
        d["desc"]
        for d in rig.rpc("listdescriptors")["descriptors"]
        if d["desc"].startswith("wpkh(") and not d["internal"]
    ]
    assert rig.rpc("deriveaddresses", descriptor, [0, 299]) == [rig.address(index) for index in range(300)]
    assert rig.addresses.at(descriptor, 5) == rig.address(5)


def test_a_wrong_passphrase_is_told_at_start(rig: BitcoinRig) -> None:
    with pytest.raises(NodeNotReady, match="is wrong") as error:
        BitcoinWallet(rig.client, "regtest", rig.name, "sesame").open()
    assert "sesame" not in str(error.value)


def test_a_wallet_without_passphrase_serves_on_a_test_network(chain_node: Bitcoind) -> None:
    client = BitcoinClient(chain_node.worker_url, "plain")
    assert BitcoinWallet(client, "regtest", "plain").open() == BitcoinWallet(client, "regtest", "plain", "x").open()
    assert BitcoinWallet(client, "regtest", "plain").watch(40) >= 40


def test_a_locked_wallet_is_unlocked_for_what_needs_it(rig: BitcoinRig) -> None:
    rig.fund(0, COIN)
    rig.rpc("walletlock")
    tx = rig.send(Output(rig.outside_address(), 10_000))
    assert rig.state(tx) is TxState.POOL
    rig.rpc("walletlock")
    assert rig.wallet.watch(WATCHED + 100) >= WATCHED + 100
    rig.rpc("walletlock")
    blind = BitcoinWallet(rig.client, "regtest", rig.name)
    with pytest.raises(NodeNotReady, match="locked"):
        blind.watch(WATCHED + 500)


def test_a_wallet_that_the_node_does_not_load_is_loaded(rig: BitcoinRig) -> None:
    rig.fund(0, COIN)
    rig.rpc("unloadwallet", rig.name, False)
    assert rig.wallet.balance().total_units == COIN
    rig.rpc("unloadwallet", rig.name, False)
    tx = rig.send(Output(rig.outside_address(), 10_000))
    assert rig.state(tx) is TxState.POOL
    rig.node.restart()
    assert rig.name in rig.node.admin("listwallets")


def test_a_wallet_that_does_not_exist_is_not_taken_for_an_empty_one(chain_node: Bitcoind) -> None:
    lost = BitcoinWallet(BitcoinClient(chain_node.worker_url, "lost"), "regtest", "lost")
    with pytest.raises(NodeNotReady):
        lost.balance()
    assert (lost.health().ok, lost.health().reason) == (False, "no_wallet")


def test_watched_addresses_and_holds_survive_a_kill(own_node: Callable[..., Bitcoind]) -> None:
    node = own_node()
    rig = BitcoinRig(node)
    held = rig.fund(0, COIN)
    node.flush()
    rig.wallet.hold([held])
    count = rig.wallet.watch(150)
    node.kill()
    node.start()
    assert rig.wallet.held() == {held}
    assert rig.wallet.watch(1) == count >= 150
    last = rig.address(count - 1)
    txid = rig.pay(Output(last, COIN))
    assert rig.key_of(txid, last)
    rig.mine()
    assert rig.wallet.propose(Spend((Output(rig.outside_address(), 10_000),)), 2_000, 9_000).resources != (held,)


def test_a_deposit_far_ahead_widens_the_range_and_growing_still_works(rig: BitcoinRig) -> None:
    """The node counts a refill from the last used address on."""
    rig.fund(WATCHED - 1, COIN)
    before = rig.wallet.watch(1)
    assert rig.wallet.watch(before + 10) >= before + 10


def test_a_restart_with_an_empty_pool_leaves_a_payment_to_be_sent_again(own_node: Callable[..., Bitcoind]) -> None:
    node = own_node("-persistmempool=0", "-walletbroadcast=0")
    rig = BitcoinRig(node)
    node.admin("sendrawtransaction", _paid_by_hand(rig, COIN))
    node.mine(1)
    output = Output(rig.outside_address(), COIN // 2)
    tx = rig.send(output)
    assert rig.state(tx) is TxState.POOL
    node.restart()
    assert rig.state(tx) is TxState.UNKNOWN
    rig.wallet.broadcast(tx)
    assert rig.state(tx) is TxState.POOL
    rig.mine()
    assert rig.received(output.address) == output.units


def _paid_by_hand(rig: BitcoinRig, units: int) -> str:
    """A signed payment to our first address by a node whose wallets do not broadcast."""
    txid = rig.node.pay({rig.address(0): f"{units / COIN:.8f}"})
    return str(rig.node.admin("gettransaction", txid, wallet="miner")["hex"])


def test_a_mined_coin_is_spendable_when_the_chain_says_so(rig: BitcoinRig) -> None:
    rig.mine(coinbase_to=rig.address(0))
    [mined] = [d for d in rig.wallet.deposits_since(None).deposits if d.coinbase]
    rig.mine(mined.spendable_depth - 1)
    assert rig.wallet.balance().spendable_units == 0  # the node waits for one block more than the chain demands
    rig.mine()
    assert rig.wallet.balance().spendable_units == mined.units


def test_change_is_native_segwit_whoever_is_paid_and_other_coins_are_never_inputs(rig: BitcoinRig) -> None:
    """Left alone, the node gives legacy change to a legacy payee; whoever relays its spender could change the txid."""
    legacy = rig.rpc("getnewaddress", "", "legacy")
    nested = rig.rpc("getnewaddress", "", "p2sh-segwit")
    rig.pay(Output(legacy, 5 * COIN), Output(nested, 5 * COIN))
    rig.mine()
    with pytest.raises(InsufficientHotFunds):
        rig.make(Output(rig.outside_address(), 10_000))
    native = rig.fund(0, COIN)
    payee = rig.node.admin("getnewaddress", "", "legacy", wallet="miner")
    tx = rig.send(Output(payee, COIN // 2))
    assert tx.resources == (native,)
    kinds = [out["scriptPubKey"]["type"] for out in rig.node.admin("decoderawtransaction", tx.raw)["vout"]]
    assert sorted(kinds) == ["pubkeyhash", "witness_v0_keyhash"]
    assert rig.wallet.held() == frozenset()


def test_a_hundred_payees_leave_in_one_transaction(rig: BitcoinRig) -> None:
    for index in range(3):
        rig.fund(index, COIN)
    outputs = [Output(rig.outside_address(), 2_000_000 + n) for n in range(100)]
    proposal = rig.wallet.propose(Spend(tuple(outputs)), 10_000, 50_000)
    tx = rig.wallet.sign(proposal, Spend(tuple(outputs)))
    rig.wallet.broadcast(tx)
    entry = rig.node.admin("getmempoolentry", tx.txid)
    assert tx.fee_units == int(entry["fees"]["base"] * COIN)
    assert entry["vsize"] * 10 <= tx.fee_units <= entry["vsize"] * 10 + 50
    assert entry["vsize"] * 50 <= proposal.fee_max_units <= (entry["vsize"] + 3) * 50
    rig.mine()
    assert [rig.received(output.address) for output in outputs[::33]] == [o.units for o in outputs[::33]]


def test_a_payment_of_ours_to_an_address_of_ours_is_a_deposit_of_its_own_transaction(rig: BitcoinRig) -> None:
    """Whether it counts is for the books to say: they know the transaction as theirs."""
    rig.fund(0, COIN)
    tx = rig.send(Output(rig.address(7), COIN // 4))
    [deposit] = [d for d in rig.wallet.deposits_since(None).deposits if d.txid == tx.txid]
    assert (deposit.address, deposit.units, deposit.status) == (rig.address(7), COIN // 4, DepositStatus.POOL)


def test_a_transaction_abandoned_by_hand_is_gone_until_it_is_sent_again(rig: BitcoinRig) -> None:
    rig.fund(0, COIN)
    output = Output(rig.outside_address(), COIN // 2)
    tx = rig.send(output)
    rig.evict(tx.txid)
    rig.rpc("abandontransaction", tx.txid)
    assert rig.state(tx) is TxState.UNKNOWN
    rig.wallet.broadcast(tx)
    rig.mine()
    assert rig.state(tx) is TxState.CONFIRMED
    assert rig.received(output.address) == output.units


def test_locks_left_by_a_kill_while_proposing_can_be_freed(rig: BitcoinRig) -> None:
    """Exclusion locks in the node's memory for a moment; whoever starts next frees what no payment owns."""
    keys = [rig.fund(index, COIN) for index in range(2)]
    rig.wallet._holds.lock_in_memory(keys)  # as a process that died in between would leave it
    assert rig.wallet.held() == set(keys)
    rig.wallet.free(rig.wallet.held())
    assert rig.send(Output(rig.outside_address(), COIN + COIN // 2)).resources
