"""Each contract test runs on the model chain and on a real bitcoind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack.bitcoind import Bitcoind
from tests.contract.rigs import NODE_OPTIONS, BitcoinRig, FakeRig, Rig


@pytest.fixture(scope="session")
def contract_node(server_folder: Path) -> Iterator[Bitcoind]:
    """The node whose wallets these tests make, one each."""
    node = Bitcoind(server_folder / "contract-node", NODE_OPTIONS)
    node.start()
    node.mine(110)
    yield node
    node.stop()


@pytest.fixture(params=["fake", "bitcoin"])
def chain(request: pytest.FixtureRequest) -> Iterator[Rig]:
    rig: Rig = FakeRig() if request.param == "fake" else BitcoinRig(request.getfixturevalue("contract_node"))
    yield rig
    rig.close()
