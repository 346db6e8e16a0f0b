"""Monero addresses without a node: which are taken, in which form, and which subaddress an index is."""

from __future__ import annotations

import pytest
from monero.address import Address
from monero.base58 import encode
from monero.keccak import keccak_256

from ledger.errors import InvalidAddress
from wallets.monero.addresses import Layout, MoneroAddressBook, index_of, subaddress_of

# Made by monero-wallet-cli 0.18 on regtest, which writes addresses as mainnet does.
MAIN = "4453HCZJ6ba9dridwfZfvqCMPwU9pSQe236bjYwb34Nec7kupkoWeXWVt4z4wt2VG16teTBN1o3MMNUNFcbupQGBAwkwVVo"
SUB = "87ZG5j4qB5BQCTz1fvfTrh6XMnNwyEq6XPyh7wKqUT7dSKnM9pFNccWKaL479yM3MBcg7pzidYocfEmMnAzf5XiA14E9eYE"
INTEGRATED = str(Address(MAIN).with_payment_id(0x1234))
LAYOUTS: tuple[Layout, ...] = ("subaddress", "account")


def with_prefix(netbyte: int, keys: bytes | None = None) -> str:
    """MAIN's keys, or others, as an address of another kind."""
    data = bytes([netbyte]) + (keys or bytes(Address(MAIN)._decoded[1:65]))
    return str(encode((data + keccak_256(data).digest()[:4]).hex()))


@pytest.mark.parametrize("network", ["mainnet", "regtest"])
@pytest.mark.parametrize("text", [MAIN, SUB])
def test_main_addresses_and_subaddresses_are_taken_as_they_stand(network: str, text: str) -> None:
    assert MoneroAddressBook(network).parse(text) == text


@pytest.mark.parametrize(
    ("network", "netbytes"),
    [("mainnet", (18, 42)), ("regtest", (18, 42)), ("testnet", (53, 63)), ("stagenet", (24, 36))],
)
def test_each_network_takes_its_own_prefixes_only(network: str, netbytes: tuple[int, int]) -> None:
    book = MoneroAddressBook(network)
    for netbyte in (18, 42, 53, 63, 24, 36):
        address = with_prefix(netbyte)
        if netbyte in netbytes:
            assert book.parse(address) == address
        else:
            with pytest.raises(InvalidAddress, match="another network"):
                book.parse(address)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "ASCII"),
        (MAIN + " ", "ASCII"),
        ("４" + MAIN[1:], "ASCII"),
        (MAIN[:-1], "95 characters"),
        (MAIN + "1", "95 characters"),
        (MAIN * 2, "longer than 106"),
        (MAIN[:50] + "0" + MAIN[51:], "base58"),
        (MAIN[:50] + "l" + MAIN[51:], "base58"),
        (MAIN.lower(), "base58"),
        ("z" * 95, "base58"),
        (MAIN[:-1] + "p", "checksum"),
        (MAIN[:60] + ("A" if MAIN[60] != "A" else "B") + MAIN[61:], "checksum"),
        ("1" * 95, "no Monero network"),
        (INTEGRATED, "payment ids are obsolete"),
        (with_prefix(18, b"\x02" + bytes(31) + b"\x02" + bytes(31)), "no keys"),
        (with_prefix(42, bytes(64)), "no keys"),
        ("bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080", "95 characters"),
    ],
)
def test_anything_else_is_refused_with_the_rule_it_breaks(text: str, rule: str) -> None:
    with pytest.raises(InvalidAddress, match=rule) as error:
        MoneroAddressBook("mainnet").parse(text)
    assert error.value.pointer == "/address"
    assert not text or text not in error.value.detail


def test_an_unknown_network_is_refused() -> None:
    with pytest.raises(ValueError, match="fakechain"):
        MoneroAddressBook("fakechain")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_index_and_its_subaddress_are_one_to_one_and_the_hot_wallets_is_none(layout: Layout) -> None:
    places = [subaddress_of(index, layout) for index in range(100)]
    assert len(set(places)) == 100
    assert (0, 0) not in places
    assert [index_of(*place, layout) for place in places] == list(range(100))
    assert index_of(0, 0, layout) is None
    assert index_of(3, 7, layout) is None
    assert index_of(*subaddress_of(5, "account" if layout == "subaddress" else "subaddress"), layout) is None
    with pytest.raises(ValueError, match="no index"):
        subaddress_of(-1, layout)


def test_only_accounts_keep_their_money_apart() -> None:
    assert [MoneroAddressBook("regtest", layout).apart for layout in LAYOUTS] == [False, True]


def test_no_address_comes_from_a_public_key() -> None:
    book = MoneroAddressBook("mainnet")
    assert not book.derives
    with pytest.raises(LookupError):
        book.at("monero:mainnet:subaddress:" + MAIN, 0)


@pytest.mark.parametrize(
    ("units", "label", "query"),
    [
        (None, None, ""),
        (10**12, None, "?tx_amount=1"),
        (1, None, "?tx_amount=0.000000000001"),
        (1_500_000_000_000, "A & B", "?tx_amount=1.5&recipient_name=A%20%26%20B"),
        (None, "ü/?", "?recipient_name=%C3%BC%2F%3F"),
    ],
)
def test_the_uri_says_amount_and_name(units: int | None, label: str | None, query: str) -> None:
    assert MoneroAddressBook("mainnet").uri(SUB, units, label) == f"monero:{SUB}{query}"
