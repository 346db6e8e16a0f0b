"""Each contract test runs on every chain that can do what it needs: the model chain and real nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from devstack.anvil import Anvil
from devstack.bitcoind import Bitcoind
from devstack.geth import Geth
from tests.contract.bitcoin_rig import NODE_OPTIONS, BitcoinRig, FakeRig
from tests.contract.ethereum_rig import AnvilRig, GethRig
from tests.contract.monero_rig import MoneroGround, MoneroRig
from tests.contract.rigs import Rig, Trait


@dataclass(frozen=True)
class Kind:
    """One chain on one kind of node. `make` gives a rig for one test, on the node's fixture by name."""

    traits: frozenset[Trait]
    make: Callable[[pytest.FixtureRequest], Rig]


KINDS = {
    "fake": Kind(FakeRig.traits, lambda request: FakeRig()),
    "bitcoin": Kind(BitcoinRig.traits, lambda request: BitcoinRig(request.getfixturevalue("contract_node"))),
    "monero": Kind(MoneroRig.traits, lambda request: MoneroRig(request.getfixturevalue("contract_monero"))),
    "ethereum": Kind(AnvilRig.traits, lambda request: AnvilRig(request.getfixturevalue("contract_anvil"))),
}
if Geth.available():
    KINDS["geth"] = Kind(GethRig.traits, lambda request: GethRig(request.getfixturevalue("contract_geth")))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(*traits): runs only on chains that have all of these traits")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "chain" not in metafunc.fixturenames:
        return
    needed = {trait for mark in metafunc.definition.iter_markers("needs") for trait in mark.args}
    kinds = [name for name, kind in KINDS.items() if needed <= kind.traits]
    assert kinds, f"no chain can do {needed}"
    metafunc.parametrize("chain", kinds, indirect=True)


@pytest.fixture
def chain(request: pytest.FixtureRequest) -> Iterator[Rig]:
    rig = KINDS[request.param].make(request)
    yield rig
    rig.close()


@pytest.fixture(scope="session")
def contract_node(server_folder: Path) -> Iterator[Bitcoind]:
    """The node whose wallets these tests make, one each."""
    node = Bitcoind(server_folder / "contract-node", NODE_OPTIONS)
    node.start()
    node.mine(110)
    yield node
    node.stop()


@pytest.fixture(scope="session")
def contract_monero(server_folder: Path) -> Iterator[MoneroGround]:
    """The programs whose wallet files these tests make, one each."""
    ground = MoneroGround(server_folder / "contract-monero")
    yield ground
    ground.stop()


@pytest.fixture(scope="session")
def contract_anvil(server_folder: Path) -> Iterator[Anvil]:
    node = Anvil(server_folder / "contract-anvil")
    node.start()
    node.mine(10)
    yield node
    node.stop()


@pytest.fixture(scope="session")
def contract_geth(server_folder: Path) -> Iterator[Geth]:
    node = Geth(server_folder / "contract-geth")
    node.start()
    node.mine(2)
    yield node
    node.stop()
