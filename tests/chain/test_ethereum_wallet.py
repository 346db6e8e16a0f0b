"""Payments of a real wallet on nodes that restart, forget, fall behind and change their minds."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from devstack.geth import Geth
from devstack.programs import find
from ledger.errors import NodeNotReady, NodeProtocolError, NodeUnavailable, TransactionRefused, WrongNetwork
from tests.contract.ethereum_rig import AnvilRig, EthereumRig, GethRig
from wallets.ethereum.client import RpcRefused
from wallets.ethereum.wallet import EthereumWallet
from wallets.protocol import Output, Tip, TxState

ETH = 10**18


MAIN_NETWORK_GENESIS = "0xd4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3"


class MainNetwork(Geth):
    """What geth has of the main network without a peer: its first block."""

    def _command(self) -> list[str]:
        return [
            *(str(find("geth")), "--mainnet", "--datadir", str(self.folder / "data"), "--ipcdisable", "--cache", "64"),
            *("--nodiscover", "--discovery.dns", "", "--nat", "none", "--maxpeers", "0"),
            *("--port", "0", "--authrpc.port", "0", "--http", "--http.addr", "127.0.0.1"),
            *("--http.port", str(self.port), "--http.api", "eth,net,web3,debug"),
        ]


def payee(rig: EthereumRig, units: int = ETH // 100) -> Output:
    return Output(rig.outside_address(), units)


def stolen(rig: EthereumRig, nonce: int) -> str:
    """Somebody else has the hot wallet's key and uses a nonce; the id of his transaction, which waits."""
    fields = {"type": 2, "chainId": rig.chain_id, "nonce": nonce, "to": rig.outside_address(), "value": 1, "data": "0x"}
    fields |= {"gas": 21_000, "maxFeePerGas": 10 * rig.rate, "maxPriorityFeePerGas": rig.rate}
    return rig.node.send_raw(rig.keys.sign_transaction(0, fields).raw)


# Opening


def test_a_node_of_another_chain_is_refused(evm: AnvilRig) -> None:
    other = EthereumWallet(evm.client, evm.keys, evm.directory, 1)
    with pytest.raises(WrongNetwork):
        other.open()
    with pytest.raises(WrongNetwork):
        other.health()


def test_the_identity_names_the_chain_the_keys_and_what_they_have_used(evm: AnvilRig) -> None:
    assert evm.identity.genesis_hash == evm.node.block(0)["hash"]
    assert evm.identity.account_public_key == evm.keys.xpub
    evm.fund(0, ETH)
    evm.send(payee(evm))
    last = evm.make(payee(evm), excluded=[f"{evm.address(0).lower()}:0"])
    evm.wallet.broadcast(last)
    evm.mine()
    assert evm.wallet.open().used == last.resources


def test_the_main_network_is_opened_by_its_first_block(server_folder: Path) -> None:
    """That block is older than the base fee, and nothing of the chain is final to a node that has only just begun."""
    missing = Geth.why_missing()
    if missing is not None:
        pytest.skip(missing)
    node = MainNetwork(Path(tempfile.mkdtemp(prefix="geth-", dir=server_folder)))
    node.start()
    try:
        rig = EthereumRig(node)
        assert (rig.chain_id, rig.identity.genesis_hash) == (1, MAIN_NETWORK_GENESIS)
        page = rig.wallet.deposits_since(None)
        assert (page.tip, page.final_height) == (Tip(0, MAIN_NETWORK_GENESIS), None)
        assert rig.wallet.deposits_since(page.cursor).tip == page.tip
        with pytest.raises(NodeProtocolError, match="baseFeePerGas"):
            rig.wallet.fee_market(6, 1)
        rig.close()
    finally:
        node.stop()


# Nodes that stop


def test_a_restart_with_an_empty_pool_leaves_payments_to_be_sent_again(evm: AnvilRig) -> None:
    evm.fund(0, ETH)
    outputs = [payee(evm), payee(evm)]
    first = evm.send(outputs[0])
    second = evm.make(outputs[1], excluded=first.resources)
    evm.wallet.broadcast(second)
    evm.restart()
    assert [evm.state(tx) for tx in (first, second)] == [TxState.UNKNOWN] * 2
    for tx in (first, second):
        evm.wallet.broadcast(tx)
    evm.mine()
    assert [evm.state(tx) for tx in (first, second)] == [TxState.CONFIRMED] * 2
    assert [evm.received(output.address) for output in outputs] == [output.units for output in outputs]


def test_a_restarted_geth_has_lost_what_waited_and_takes_it_again(make_geth: Callable[[], Geth]) -> None:
    """What waits behind a gap: all else geth puts into a block at once."""
    rig = GethRig(make_geth())
    rig.fund(0, ETH)
    first = rig.make(payee(rig))
    output = payee(rig)
    second = rig.make(output, excluded=first.resources)
    rig.wallet.broadcast(second)
    assert rig.state(second) is TxState.POOL
    rig.restart()
    assert rig.wallet.health().ok
    if rig.state(second) is not TxState.POOL:  # it may have kept a journal of its own
        assert rig.state(second) is TxState.UNKNOWN
        rig.wallet.broadcast(second)
    rig.wallet.broadcast(first)
    rig.mine()
    assert [rig.state(tx) for tx in (first, second)] == [TxState.CONFIRMED] * 2
    assert rig.received(output.address) == output.units
    rig.close()


def test_while_the_node_is_down_nothing_is_known_and_afterwards_everything(evm: AnvilRig) -> None:
    evm.fund(0, ETH)
    tx = evm.send(payee(evm))
    evm.node.stop()
    with pytest.raises(NodeUnavailable):
        evm.wallet.look_up(tx)
    with pytest.raises(NodeUnavailable):
        evm.wallet.broadcast(tx)
    assert evm.wallet.health().reason == "unreachable"
    evm.node.start()
    assert evm.state(tx) is TxState.UNKNOWN
    evm.wallet.broadcast(tx)
    evm.mine()
    assert evm.state(tx) is TxState.CONFIRMED


def test_a_node_that_lost_its_chain_is_not_believed(evm: AnvilRig) -> None:
    evm.mine(5)
    assert evm.wallet.health().ok
    snapshot = evm.node.rpc("evm_snapshot")
    evm.mine(3)
    assert evm.wallet.health().ok
    evm.node.rpc("evm_revert", snapshot)
    health = evm.wallet.health()
    assert (health.ok, health.reason) == (False, "syncing")
    evm.mine(3)
    assert evm.wallet.health().ok


# Reorganisations


def test_a_payment_that_a_reorganisation_took_out_is_sent_again_as_it_was(evm: AnvilRig) -> None:
    """anvil puts nothing back into its pool."""
    evm.fund(0, ETH)
    output = payee(evm)
    tx = evm.send(output)
    evm.mine(8)
    assert evm.status(tx).depth == 8
    evm.node.reorg(8)
    assert evm.state(tx) is TxState.UNKNOWN
    evm.wallet.broadcast(tx)
    evm.mine()
    assert evm.status(tx).depth == 1
    assert evm.received(output.address) == output.units


def test_what_the_chain_calls_final_is_told(evm: AnvilRig) -> None:
    evm.fund(0, ETH)
    tx = evm.send(payee(evm))
    evm.mine(60)
    assert (evm.status(tx).depth, evm.status(tx).final) == (60, False)
    evm.mine(5)
    assert evm.status(tx).final
    assert evm.read_on().final_height == evm.node.height() - 64


class Late:
    """A client that once gives the receipt of a block that has left the chain, as one of several nodes might."""

    def __init__(self, rig: EthereumRig, receipt: object) -> None:
        self._client = rig.client
        self._receipt = receipt

    def __getattr__(self, name: str) -> object:
        return getattr(self._client, name)

    def read(self, method: str, *params: object) -> object:
        if method == "eth_getTransactionReceipt" and self._receipt is not None:
            stale, self._receipt = self._receipt, None
            return stale
        return self._client.read(method, *params)


def test_a_receipt_of_a_block_that_is_gone_is_no_confirmation(evm: AnvilRig) -> None:
    evm.fund(0, ETH)
    tx = evm.send(payee(evm))
    evm.mine()
    receipt = evm.node.receipt(tx.txid)
    evm.node.reorg(1)
    evm.client = Late(evm, receipt)  # type: ignore[assignment]
    evm.wallet = evm.wallet_with()
    assert evm.state(tx) is TxState.UNKNOWN


# Nonces used elsewhere


@pytest.mark.parametrize("blocks", [1, 2, 3, 7, 40])
def test_a_nonce_used_elsewhere_is_found_with_its_depth_and_its_user(evm: AnvilRig, blocks: int) -> None:
    evm.fund(0, ETH)
    tx = evm.make(payee(evm))
    evm.mine(3)
    thief = stolen(evm, 0)
    evm.as_another({"to": evm.outside_address(), "value": "0x1", "gasPrice": hex(10**11)})  # first in its block
    evm.mine(blocks)
    status = evm.status(tx)
    assert (status.state, status.depth, status.conflicting) == (TxState.CONFLICTED, blocks, (thief,))
    with pytest.raises(TransactionRefused):
        evm.wallet.broadcast(tx)
    assert evm.propose(payee(evm)).expects == tx.resources


def test_a_conflict_older_than_the_state_that_geth_keeps_is_at_least_that_deep(
    make_geth: Callable[[], Geth],
) -> None:
    rig = GethRig(make_geth())
    rig.fund(0, ETH)
    tx = rig.make(payee(rig))
    rig.node.settle(stolen(rig, 0))
    rig.mine(5)
    assert rig.status(tx).depth >= 6
    rig.mine(200)
    status = rig.status(tx)
    assert status.state is TxState.CONFLICTED
    assert 64 <= status.depth <= 207
    rig.close()


class FewStates:
    """A client whose node keeps the states of the newest blocks alone, as it names them; `kept` of them."""

    def __init__(self, rig: EthereumRig, kept: int) -> None:
        self._client = rig.client
        self._rig, self._kept = rig, kept

    def __getattr__(self, name: str) -> object:
        return getattr(self._client, name)

    def read(self, method: str, *params: object) -> object:
        if method == "eth_getTransactionCount" and params[1] != "latest":
            tag = params[1]
            height = int(self._rig.node.block(tag)["number"], 16) if tag == "finalized" else int(str(tag), 16)
            if height <= self._rig.node.height() - self._kept:
                raise RpcRefused(method, -32000, "missing trie node")
        return self._client.read(method, *params)


def test_a_nonce_used_in_a_final_block_is_used_for_good_though_the_node_keeps_few_states(evm: AnvilRig) -> None:
    """Two epochs of 32 are final. However deep it is, such a node says 65; without its final state it says nothing."""
    evm.fund(0, ETH)
    tx = evm.make(payee(evm))
    stolen(evm, 0)
    evm.mine()
    evm.client = FewStates(evm, 100)  # type: ignore[assignment]
    evm.wallet = evm.wallet_with()
    for mined, depth, final in ((63, 64, False), (1, 65, True), (200, 65, True)):
        evm.mine(mined)
        status = evm.status(tx)
        assert (status.state, status.depth, status.final) == (TxState.CONFLICTED, depth, final)
    evm.client = FewStates(evm, 50)  # type: ignore[assignment]
    evm.wallet = evm.wallet_with()
    assert (evm.status(tx).state, evm.status(tx).final) == (TxState.CONFLICTED, False)


def test_a_conflict_that_a_reorganisation_took_back_is_none(evm: AnvilRig) -> None:
    evm.fund(0, ETH)
    tx = evm.make(payee(evm))
    stolen(evm, 0)
    evm.mine()
    assert evm.state(tx) is TxState.CONFLICTED
    evm.node.reorg(1)
    assert evm.state(tx) is TxState.UNKNOWN
    evm.wallet.broadcast(tx)
    evm.mine()
    assert evm.state(tx) is TxState.CONFIRMED


# What a wallet needs of its node


class Refusing:
    """A client whose node does not offer some calls."""

    def __init__(self, rig: EthereumRig, *methods: str) -> None:
        self._client = rig.client
        self._methods = methods

    def __getattr__(self, name: str) -> object:
        return getattr(self._client, name)

    def read(self, method: str, *params: object) -> object:
        return self._client.read("no_such_call" if method in self._methods else method, *params)


@pytest.mark.parametrize("missing", ["eth_getBlockReceipts", "eth_getBalance"])
def test_a_node_that_cannot_serve_a_wallet_is_told_at_the_start(evm: AnvilRig, missing: str) -> None:
    wallet = EthereumWallet(Refusing(evm, missing), evm.keys, evm.directory, evm.chain_id)  # type: ignore[arg-type]
    with pytest.raises(NodeNotReady):
        wallet.open()


def test_a_node_without_traces_serves_all_the_same(evm: AnvilRig) -> None:
    evm.client = Refusing(evm, "debug_traceBlockByNumber", "debug_traceBlockByHash")  # type: ignore[assignment]
    evm.wallet = evm.wallet_with()
    assert evm.fund(3, ETH)
    forwarder = evm.deploy("Forwarder")
    inner = evm.invoke(forwarder, "Forwarder", "forward", evm.address(3), wei=ETH)
    assert evm.seen(inner) == []


def test_threads_share_a_wallet(evm: AnvilRig) -> None:
    evm.fund(0, ETH)
    with ThreadPoolExecutor(8) as pool:
        balances = set(pool.map(lambda _: evm.wallet.balance().total_units, range(80)))
    assert balances == {ETH}
