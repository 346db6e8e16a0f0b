"""A wallet on a real bitcoind for what only the real node shows."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devstack.anvil import Anvil
from devstack.bitcoind import Bitcoind
from devstack.geth import Geth
from tests.contract.bitcoin_rig import NODE_OPTIONS, BitcoinRig
from tests.contract.ethereum_rig import AnvilRig
from tests.contract.monero_rig import MoneroGround


@pytest.fixture(scope="session")
def chain_node(server_folder: Path) -> Iterator[Bitcoind]:
    """Shared by the tests that leave it running and its tip valid."""
    node = Bitcoind(server_folder / "chain-node", NODE_OPTIONS)
    node.start()
    node.mine(110)
    yield node
    node.stop()


@pytest.fixture
def rig(chain_node: Bitcoind) -> Iterator[BitcoinRig]:
    """A wallet of its own on the shared node."""
    rig = BitcoinRig(chain_node)
    yield rig
    rig.close()


@pytest.fixture
def own_node(make_bitcoind: Callable[..., Bitcoind]) -> Callable[..., Bitcoind]:
    """Starts a node for one test alone: to kill, to restart, to give odd options."""

    def make(*options: str, blocks: int = 110) -> Bitcoind:
        node = make_bitcoind(*NODE_OPTIONS, *options)
        if blocks:
            node.mine(blocks)
        return node

    return make


@pytest.fixture(scope="session")
def monero_ground(server_folder: Path) -> Iterator[MoneroGround]:
    """Shared by the tests that leave its programs running."""
    ground = MoneroGround(server_folder / "monero")
    yield ground
    ground.stop()


@pytest.fixture
def evm(make_anvil: Callable[..., Anvil]) -> Iterator[AnvilRig]:
    """A wallet on an EVM chain of its own: to replace its blocks, and to stop it."""
    node = make_anvil()
    node.mine(5)
    rig = AnvilRig(node)
    yield rig
    rig.close()


@pytest.fixture
def make_geth(server_folder: Path) -> Iterator[Callable[[], Geth]]:
    """Starts a geth for one test alone."""
    missing = Geth.why_missing()
    if missing is not None:
        pytest.skip(missing)
    nodes: list[Geth] = []

    def make() -> Geth:
        node = Geth(Path(tempfile.mkdtemp(prefix="geth-", dir=server_folder)))
        nodes.append(node)
        node.start()
        return node

    yield make
    for node in nodes:
        node.stop()
