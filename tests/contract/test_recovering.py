"""What every `ChainWallet` does when its own files came from an older backup, and the bytes that a chain gives back."""

from __future__ import annotations

from tests.contract.bitcoin_rig import PASSPHRASE, BitcoinRig
from tests.contract.rigs import Rig, Trait, needs
from wallets.bitcoin.client import BitcoinClient
from wallets.bitcoin.wallet import BitcoinWallet
from wallets.protocol import ChainWallet, Output


def trusted(chain: Rig) -> ChainWallet:
    """The wallet for whom the node does all that a restore asks."""
    if isinstance(chain, BitcoinRig):
        client = BitcoinClient(chain.node.admin_url, chain.name, 60)
        return BitcoinWallet(client, "regtest", chain.name, PASSPHRASE)
    return chain.wallet


def test_recovering_forgets_nothing_and_watches_all_that_it_is_told(chain: Rig) -> None:
    before = chain.read_on()
    txid = chain.arrive(Output(chain.address(2), chain.coin))
    [known] = chain.seen(txid, before.cursor)
    held = chain.wallet.balance(None, [2])
    wallet = trusted(chain)
    wallet.recover(70, 0)
    wallet.recover(70, 0)
    assert chain.wallet.watch(1) >= 70
    assert chain.wallet.balance(None, [2]).total_units == held.total_units
    assert chain.seen(txid, before.cursor) == [known]


@needs(Trait.COINS)
def test_the_bytes_of_a_payment_are_those_that_were_signed(chain: Rig) -> None:
    chain.fund(0, chain.coin, blocks=12)
    tx = chain.send(Output(chain.outside_address(), chain.coin // 10))
    chain.mine()
    assert chain.wallet.bytes_of(tx.txid) in (tx.raw, None)
    assert chain.wallet.bytes_of("00" * 32) is None


@needs(Trait.NONCES)
def test_the_bytes_of_a_nonces_payment_are_those_that_were_signed(chain: Rig) -> None:
    chain.fund(0, chain.coin)
    tx = chain.send(Output(chain.outside_address(), chain.coin // 10))
    chain.mine()
    assert chain.wallet.bytes_of(tx.txid) == tx.raw
    assert chain.wallet.bytes_of("0x" + "00" * 32) is None
