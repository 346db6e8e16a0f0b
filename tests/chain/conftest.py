"""A wallet on a real bitcoind for what only the real node shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devstack.bitcoind import Bitcoind
from tests.contract.bitcoin_rig import NODE_OPTIONS, BitcoinRig


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
