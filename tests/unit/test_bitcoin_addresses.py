"""Addresses, derivation and payment URIs against the published vectors of their BIPs."""

from __future__ import annotations

import subprocess
import sys

import pytest
from embit import bip32

from ledger.errors import InvalidAddress
from wallets.bitcoin.addresses import BitcoinAddressBook
from wallets.bitcoin.hd import receive_address

MAIN = BitcoinAddressBook("main")
TEST = BitcoinAddressBook("test")
REGTEST = BitcoinAddressBook("regtest")

#: m/84'/0'/0' of BIP-84's mnemonic "abandon … about", its zpub written as xpub
BIP84_XPUB = (
    "xpub6CatWdiZiodmUeTDp8LT5or8nmbKNcuyvz7WyksVFkKB4RHwCD3XyuvPEbvqAQY3rAPshWcMLoP2fMFMKHPJ4ZeZXYVUhLv1VMrjPC7PW6V"
)


@pytest.mark.parametrize(
    ("book", "text"),
    [
        (MAIN, "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2"),
        (MAIN, "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy"),
        (MAIN, "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"),
        (MAIN, "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0"),
        (TEST, "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn"),
        (TEST, "2MzQwSSnBHWHqSAqtTVQ6v47XtaisrJa1Vc"),
        (TEST, "tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3q0sl5k7"),
        (TEST, "tb1pqqqqp399et2xygdj5xreqhjjvcmzhxw4aywxecjdzew6hylgvsesf3hn0c"),
        (REGTEST, "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"),
    ],
)
def test_each_kind_of_its_network_is_its_own_canonical_form(book: BitcoinAddressBook, text: str) -> None:
    assert book.parse(text) == text


def test_bech32_in_capitals_is_the_same_address() -> None:
    assert MAIN.parse("BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4") == "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "characters other than"),
        (" 1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2", "characters other than"),
        ("1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2\n", "characters other than"),
        ("1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN\u0662", "characters other than"),
        ("bc1qw508d6qejxtdg4y5r3zarvary0\u044153xw7kv8f3t4", "characters other than"),  # a Cyrillic letter
        ("1" * 91, "longer than 90"),
        ("1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN3", "wrong checksum"),
        ("1bvbmseystwetqtfn5au4m4gfg7xjanvn2", "wrong checksum"),
        ("O" * 34, "base58 does not use"),
        ("1111", "wrong checksum"),
        ("mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn", "another network, not main"),
        ("2MzQwSSnBHWHqSAqtTVQ6v47XtaisrJa1Vc", "another network, not main"),
        ("tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx", "another network (test or signet), not main"),
        ("bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080", "another network (regtest), not main"),
        ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3T4", "mixes upper and lower case"),
        ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5", "wrong checksum"),
        ("bc1pw508d6qejxtdg4y5r3zarvary0c5xw7kw508d6qejxtdg4y5r3zarvary0c5xw7kt5nd6y", "witness version"),
        ("bc1sw50qgdz25j", "witness version"),
        ("bc1pfeessrawgf", "witness version"),  # pay-to-anchor: anyone may spend it
        # BIP-350, invalid addresses
        ("bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqh2y7hd", "BIP-350"),
        ("BC1S0XLXVLHEMJA6C4DQV22UAPCTQUPFHLXM9H8Z3K2E72Q4K9HCZ7VQ54WELL", "BIP-350"),
        ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kemeawh", "BIP-350"),
        ("bc1p38j9r5y49hruaue7wxjce0updqjuyyx0kh56v8s25huc6995vvpql3jow4", "bech32 does not use"),
        ("BC130XLXVLHEMJA6C4DQV22UAPCTQUPFHLXM9H8Z3K2E72Q4K9HCZ7VQ7ZWS8R", "BIP-350"),
        ("bc1pw5dgrnzv", "BIP-350"),
        ("bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7v8n0nx0muaewav253zgeav", "BIP-350"),
        ("BC1QR508D6QEJXTDG4Y5R3ZARVARYV98GJ9P", "BIP-350"),
        ("bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7v07qwwzcrf", "BIP-350"),
        ("bc1gmk9yu", "bech32 does not use"),
        ("ltc1qw508d6qejxtdg4y5r3zarvary0c5xw7kgmn4n9", "base58 does not use"),
    ],
)
def test_a_bad_address_is_refused_with_its_rule(text: str, rule: str) -> None:
    with pytest.raises(InvalidAddress) as refusal:
        MAIN.parse(text)
    assert rule in refusal.value.detail
    assert refusal.value.pointer == "/address"


@pytest.mark.parametrize(
    ("index", "address"),
    [(0, "bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu"), (1, "bc1qnjg0jd8228aq7egyzacy8cys3knf9xvrerkf9g")],
)
def test_receiving_addresses_are_those_of_bip84(index: int, address: str) -> None:
    assert MAIN.at(BIP84_XPUB, index) == address
    assert MAIN.at(f"wpkh([73c5da0a/84h/0h/0h]{BIP84_XPUB}/0/*)#wc3n3van", index) == address


def test_derivation_refuses_what_is_not_a_public_account_key_of_the_network() -> None:
    private = bip32.HDKey.from_seed(b"\0" * 64).derive("m/84h/0h/0h")
    for key in (str(private), str(private.child(0).to_public()), BIP84_XPUB[:-1] + "W", "", "wpkh(x/0/*)"):
        with pytest.raises(ValueError, match="public") as refusal:
            receive_address(key, 0, "main")
        assert not key or key not in str(refusal.value)
    with pytest.raises(ValueError, match="of regtest"):
        REGTEST.at(BIP84_XPUB, 0)


@pytest.mark.parametrize("index", [-1, 2**31])
def test_derivation_refuses_indexes_outside_the_public_range(index: int) -> None:
    with pytest.raises(ValueError, match="between 0 and"):
        MAIN.at(BIP84_XPUB, index)


A = "175tWpb8K1S7NmH4Zx6rewF9WQrcZv245W"


@pytest.mark.parametrize(
    ("units", "label", "uri"),
    [  # the examples of BIP-21 first
        (None, None, f"bitcoin:{A}"),
        (None, "Luke-Jr", f"bitcoin:{A}?label=Luke-Jr"),
        (2_030_000_000, "Luke-Jr", f"bitcoin:{A}?amount=20.3&label=Luke-Jr"),
        (5_000_000_000, "Donation for project xyz", f"bitcoin:{A}?amount=50&label=Donation%20for%20project%20xyz"),
        (1, "a&b=c?é/", f"bitcoin:{A}?amount=0.00000001&label=a%26b%3Dc%3F%C3%A9%2F"),
        (2_100_000_000_000_000, None, f"bitcoin:{A}?amount=21000000"),
    ],
)
def test_payment_uris_are_those_of_bip21(units: int | None, label: str | None, uri: str) -> None:
    assert MAIN.uri(A, units, label) == uri


def test_an_unknown_network_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown Bitcoin network"):
        BitcoinAddressBook("mainnet")


def test_the_address_book_loads_no_rpc_library() -> None:
    """The API process holds addresses only: what it imports decides its memory and what it can leak."""
    script = (
        "import sys; from settings import Settings; from wallets.registry import address_book;"
        "book = address_book('bitcoin', Settings(database_url='sqlite://', bitcoin_network='main'));"
        "assert book.parse('1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2');"
        "bad = {'bitcoinrpc', 'zmq', 'requests', 'wallets.bitcoin.client', 'wallets.fake'} & set(sys.modules);"
        "sys.exit(f'loaded {bad}' if bad else 0)"
    )
    outcome = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr
