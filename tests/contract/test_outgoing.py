"""What every `ChainWallet` tells of the use of its keys, and whose it says that it is."""

from __future__ import annotations

from tests.contract.rigs import Rig, Trait, needs, until
from wallets.protocol import Output, SeenSpend, SignedTransaction


def payee(chain: Rig) -> Output:
    return Output(chain.outside_address(), chain.coin // 10)


def spends(chain: Rig, tx: SignedTransaction) -> list[SeenSpend]:
    return [spend for spend in chain.read_on().outgoing if spend.txid == tx.txid]


def used(chain: Rig) -> set[str]:
    """Resources of which the chain tells without a transaction."""
    return {spend.resource for spend in chain.read_on().outgoing if spend.txid is None}


def test_what_the_keys_have_sent_is_told_once_it_is_in_a_block(chain: Rig) -> None:
    chain.fund(0, chain.coin, blocks=12)
    tx = chain.send(payee(chain))
    chain.mine()
    [spend] = spends(chain, tx)
    assert spend.height is not None
    assert spend.height == chain.status(tx).height
    assert chain.wallet.resources_of(tx.txid) == tx.resources


@needs(Trait.WAITS, Trait.COINS)
def test_what_waits_in_the_pool_is_told_too(chain: Rig) -> None:
    chain.fund(0, chain.coin, blocks=12)
    tx = chain.send(payee(chain))
    until(lambda: bool(spends(chain, tx)), "the payment to be told of")
    assert spends(chain, tx)[0].height is None
    assert set(chain.wallet.resources_of(tx.txid)) == set(tx.resources)


@needs(Trait.WAITS, Trait.NONCES)
def test_a_nonce_that_waits_in_the_pool_is_told(chain: Rig) -> None:
    chain.fund(0, chain.coin)
    tx = chain.send(payee(chain))
    until(lambda: set(tx.resources) <= used(chain), "the nonce to be told of")


def test_what_others_pay_us_is_no_use_of_our_keys(chain: Rig) -> None:
    before = {spend.txid for spend in chain.read_on().outgoing}
    chain.fund(1, chain.coin)
    assert {spend.txid for spend in chain.read_on().outgoing} == before


def test_what_was_signed_and_not_sent_is_not_told(chain: Rig) -> None:
    chain.fund(0, chain.coin, blocks=12)
    tx = chain.make(payee(chain))
    assert spends(chain, tx) == []
    assert not set(tx.resources) & used(chain)


def test_a_transaction_that_is_nowhere_uses_nothing(chain: Rig) -> None:
    assert chain.wallet.resources_of(chain.unknown[1]) == ()


@needs(Trait.HOLDS)
def test_a_wallet_says_whose_it_is_whoever_asks(chain: Rig) -> None:
    chain.wallet.mark("in_00000000000000000000000000000001")
    assert chain.wallet.marked() == "in_00000000000000000000000000000001"
    chain.wallet.mark("in_00000000000000000000000000000002")
    assert chain.wallet.marked() == "in_00000000000000000000000000000002"


@needs(Trait.HOLDS, Trait.RESTARTS)
def test_the_mark_survives_a_restart(chain: Rig) -> None:
    chain.wallet.mark("in_00000000000000000000000000000003")
    chain.restart()
    assert chain.wallet.marked() == "in_00000000000000000000000000000003"
