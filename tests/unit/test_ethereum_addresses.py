"""Ethereum addresses and keys without a node: BIP-32, EIP-55 and EIP-681 vectors, and eth-account as the witness."""

from __future__ import annotations

import copy
import pickle

import pytest
from embit import bip32, bip39
from eth_account import Account

from ledger.errors import InvalidAddress
from wallets.ethereum.addresses import EthereumAddressBook
from wallets.ethereum.hd import ACCOUNT_PATH, HARDENED, PublicNode, account_of, address_at, master_of
from wallets.ethereum.keys import EthereumKeys

MNEMONIC = "test test test test test test test test test test test junk"
SEED = bip39.mnemonic_to_seed(MNEMONIC)
CHAIN_ID = 31337

#: EIP-55's own examples.
EIP55 = """
0x52908400098527886E0F7030069857D2E4169EE7 0x8617E340B3D01FA5F11F306F4090FD50E238070D
0xde709f2102306220921060314715629080e2fb77 0x27b1fdb04752bbc536007a920d24acb045561c26
0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed 0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359
0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB 0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb
""".split()

#: BIP-32, test vectors 1 and 2: (seed, path, xpub).
BIP32 = [
    (
        "000102030405060708090a0b0c0d0e0f",
        (),
        "xpub661MyMwAqRbcFtXgS5sYJABqqG9YLmC4Q1Rdap9gSE8NqtwybGhePY2gZ29ESFjqJoCu1Rupje8YtGqsefD265TMg7usUDFdp6W1EGMcet8",
    ),
    (
        "000102030405060708090a0b0c0d0e0f",
        (HARDENED, 1, 2 | HARDENED, 2, 1000000000),
        "xpub6H1LXWLaKsWFhvm6RVpEL9P4KfRZSW7abD2ttkWP3SSQvnyA8FSVqNTEcYFgJS2UaFcxupHiYkro49S8yGasTvXEYBVPamhGW6cFJodrTHy",
    ),
    (
        "fffcf9f6f3f0edeae7e4e1dedbd8d5d2cfccc9c6c3c0bdbab7b4b1aeaba8a5a29f9c999693908d8a8784817e7b7875726f6c696663605d5a5754514e4b484542",
        (0, 2147483647 | HARDENED, 1, 2147483646 | HARDENED, 2),
        "xpub6FnCn6nSzZAw5Tw7cgR9bi15UV96gLZhjDstkXXxvCLsUXBGXPdSnLFbdpq8p9HmGsApME5hQTZ3emM2rnY5agb9rXpVGyy3bdW6EEgAtqt",
    ),
]


@pytest.fixture
def book() -> EthereumAddressBook:
    return EthereumAddressBook(CHAIN_ID)


@pytest.fixture(scope="module")
def keys() -> EthereumKeys:
    return EthereumKeys(SEED)


@pytest.mark.parametrize(("seed", "path", "xpub"), BIP32)
def test_keys_are_those_of_bip32(seed: str, path: tuple[int, ...], xpub: str) -> None:
    assert master_of(bytes.fromhex(seed)).descend(path).xpub() == xpub


def test_the_account_key_is_what_another_library_derives(keys: EthereumKeys) -> None:
    theirs = bip32.HDKey.from_seed(SEED).derive(list(ACCOUNT_PATH)).to_public()
    assert keys.xpub == theirs.to_base58()


@pytest.mark.parametrize("index", [0, 1, 2, 999, 1_000_000, HARDENED - 1])
def test_the_public_key_alone_gives_the_addresses_of_the_private_ones(
    index: int, keys: EthereumKeys, book: EthereumAddressBook
) -> None:
    Account.enable_unaudited_hdwallet_features()
    theirs = Account.from_mnemonic(MNEMONIC, account_path=f"m/44'/60'/0'/0/{index}").address
    assert book.at(keys.xpub, index) == keys.address(index) == theirs


def test_no_two_indices_share_an_address(keys: EthereumKeys) -> None:
    assert len({keys.address(index) for index in range(500)}) == 500


@pytest.mark.parametrize("index", [-1, HARDENED])
def test_an_index_that_needs_the_private_key_is_refused(index: int, keys: EthereumKeys) -> None:
    with pytest.raises(ValueError, match="between 0 and"):
        address_at(keys.xpub, index)


@pytest.mark.parametrize("wrong", ["", "xpub6Ce9", "0x", "zpub6r", "xpub" + "1" * 107])
def test_what_is_no_account_key_is_refused_without_repeating_it(wrong: str) -> None:
    with pytest.raises(ValueError, match="not an account public key") as refusal:
        address_at(wrong, 0)
    assert not wrong or wrong not in str(refusal.value)


def test_a_private_key_is_refused_where_a_public_one_belongs() -> None:
    private = bip32.HDKey.from_seed(SEED).derive(list(ACCOUNT_PATH)).to_base58()
    with pytest.raises(ValueError, match="private key") as refusal:
        address_at(private, 0)
    assert private not in str(refusal.value)


def test_a_key_of_another_level_is_refused() -> None:
    with pytest.raises(ValueError, match="not an account public key"):
        address_at(master_of(SEED).xpub(), 0)


def test_a_public_node_has_no_hardened_children(keys: EthereumKeys) -> None:
    from coincurve import PublicKey

    with pytest.raises(ValueError, match="between 0 and"):
        PublicNode(PublicKey.from_secret(b"\1" * 32), bytes(32)).child(HARDENED)


@pytest.mark.parametrize("address", EIP55)
def test_a_right_checksum_is_taken_and_kept(address: str, book: EthereumAddressBook) -> None:
    assert book.parse(address).lower() == address.lower()
    letters = address[2:]
    if letters not in (letters.lower(), letters.upper()):
        assert book.parse(address) == address


@pytest.mark.parametrize("address", EIP55)
def test_one_case_carries_no_checksum_and_gets_one(address: str, book: EthereumAddressBook) -> None:
    lower = book.parse("0x" + address[2:].lower())
    assert lower == book.parse("0x" + address[2:].upper()) == book.parse(lower)


@pytest.mark.parametrize("address", EIP55[4:])
def test_a_single_letter_in_the_wrong_case_is_refused(address: str, book: EthereumAddressBook) -> None:
    for place in range(2, 42):
        if address[place].isalpha():
            with pytest.raises(InvalidAddress, match="checksum"):
                book.parse(address[:place] + address[place].swapcase() + address[place + 1 :])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "ASCII letters"),
        ("0x" + "0" * 40, "zero address"),
        ("0x" + "0" * 39 + "1", "protocol"),
        ("0x" + "0" * 37 + "100", "protocol"),
        ("0x" + "a" * 39, "40 hexadecimal"),
        ("0x" + "a" * 41, "40 hexadecimal"),
        ("a" * 40, "40 hexadecimal"),
        ("0X" + "a" * 40, "40 hexadecimal"),
        ("0x" + "g" * 40, "40 hexadecimal"),
        ("0x" + "а" * 40, "ASCII"),  # Cyrillic
        ("0x" + "１" * 40, "ASCII"),
        (" 0x" + "a" * 40, "ASCII"),
        ("0x" + "a" * 40 + "\n", "ASCII"),
        ("vitalik.eth", "ASCII"),
        ("bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080", "40 hexadecimal"),
    ],
)
def test_what_is_no_address_is_refused_with_the_rule(text: str, reason: str, book: EthereumAddressBook) -> None:
    with pytest.raises(InvalidAddress, match=reason):
        book.parse(text)


def test_uris_name_chain_amount_and_token(book: EthereumAddressBook, keys: EthereumKeys) -> None:
    payee, token = keys.address(1), keys.address(2)
    assert book.uri(payee, None) == f"ethereum:{payee}@31337"
    assert book.uri(payee, 10**18, "order 7") == f"ethereum:{payee}@31337?value=1000000000000000000"
    assert book.uri(payee, 5, token=token) == f"ethereum:{token}@31337/transfer?address={payee}&uint256=5"
    assert book.uri(payee, None, token=token) == f"ethereum:{token}@31337/transfer?address={payee}"


def transaction(keys: EthereumKeys) -> dict[str, object]:
    return {
        "chainId": CHAIN_ID,
        "nonce": 3,
        "gas": 21_000,
        "maxFeePerGas": 2_000_000_000,
        "maxPriorityFeePerGas": 1_000_000_000,
        "to": keys.address(1),
        "value": 10**18,
        "data": "0x",
    }


def test_signing_twice_gives_the_same_bytes_of_the_right_sender(keys: EthereumKeys) -> None:
    first, second = (keys.sign_transaction(7, transaction(keys)) for _ in range(2))
    assert first == second
    assert Account.recover_transaction(first.raw) == keys.address(7)


@pytest.mark.parametrize("chain_id", [None, "1"])
def test_nothing_is_signed_for_every_chain(chain_id: object, keys: EthereumKeys) -> None:
    with pytest.raises(ValueError, match="chainId"):
        keys.sign_transaction(0, transaction(keys) | {"chainId": chain_id})
    old_kind = {"nonce": 0, "gas": 21_000, "gasPrice": 1, "to": keys.address(1), "value": 1}
    with pytest.raises(ValueError, match="chainId"):
        keys.sign_transaction(0, old_kind)  # of the kind that may be signed without
    with pytest.raises(ValueError, match="one chain"):
        keys.sign_authorization(1, 0, keys.address(2), 0)


def test_another_sender_than_the_index_is_refused(keys: EthereumKeys) -> None:
    with pytest.raises(ValueError, match="from"):
        keys.sign_transaction(0, transaction(keys) | {"from": keys.address(1)})


def test_an_authorization_is_signed_by_its_index(keys: EthereumKeys) -> None:
    signed = keys.sign_authorization(5, CHAIN_ID, keys.address(2), 9)
    assert signed.authority.hex() == keys.address(5)[2:].lower()
    assert (signed.chain_id, signed.nonce) == (CHAIN_ID, 9)


def test_keys_show_no_secret_and_do_not_leave_the_process(keys: EthereumKeys) -> None:
    secrets = [account_of(SEED).secret, account_of(SEED).child(0).secret, account_of(SEED).chain_code, SEED]
    shown = f"{keys!r} {keys} {account_of(SEED)!r} {account_of(SEED).child(0).child(1)!r}"
    assert not any(secret.hex() in shown or repr(secret) in shown for secret in secrets)
    for leave in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="not copied"):
            leave(keys)
