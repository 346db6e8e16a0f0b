"""What a second node is asked, on the model chain and on real nodes."""

from __future__ import annotations

import pytest

from ledger.errors import NodeUnavailable
from tests.contract.bitcoin_rig import BitcoinRig, FakeRig
from tests.contract.ethereum_rig import EthereumRig
from tests.contract.monero_rig import MoneroRig
from tests.contract.rigs import Rig
from wallets.bitcoin.client import BitcoinClient
from wallets.bitcoin.witness import BitcoinWitness
from wallets.ethereum.client import EthereumClient
from wallets.ethereum.witness import EthereumWitness
from wallets.fake.witness import FakeWitness
from wallets.monero.client import MoneroClient
from wallets.monero.witness import MoneroWitness
from wallets.protocol import Output, Witness

NOWHERE = "http://user:password@127.0.0.1:1"


def witness_of(chain: Rig) -> Witness:
    match chain:
        case FakeRig():
            return FakeWitness(chain.node)
        case BitcoinRig():
            return BitcoinWitness(BitcoinClient(chain.node.admin_url, "", 30))
        case MoneroRig():
            url = chain.node.url
            return MoneroWitness(MoneroClient(url, url, "", "", 30))
        case EthereumRig():
            return EthereumWitness(chain.client)
    raise AssertionError(chain)


def test_it_says_how_deep_a_payment_lies(chain: Rig) -> None:
    before = chain.read_on()
    txid = chain.pay(Output(chain.address(3), chain.coin))
    chain.mine()
    [found] = chain.seen(txid, before.cursor)
    assert found.height is not None
    assert found.block_hash is not None
    witness = witness_of(chain)
    first = witness.depth(txid, found.height, found.block_hash)
    assert first >= 1
    chain.mine(2)
    assert witness.depth(txid, found.height, found.block_hash) >= first + 1
    assert witness.depth(chain.unknown[1], found.height, found.block_hash) == 0
    assert witness.depth(txid, found.height - 1, found.block_hash) == 0
    assert witness.depth(txid, found.height + 10_000, found.block_hash) == 0


@pytest.mark.parametrize(
    "witness",
    [
        BitcoinWitness(BitcoinClient(NOWHERE, "", 2)),
        MoneroWitness(MoneroClient(NOWHERE, NOWHERE, "", "", 2)),
        EthereumWitness(EthereumClient(NOWHERE, 2)),
    ],
    ids=["bitcoin", "monero", "ethereum"],
)
def test_one_that_does_not_answer_is_not_one_that_disagrees(witness: Witness) -> None:
    with pytest.raises(NodeUnavailable):
        witness.depth("00" * 32, 1, "00" * 32)
