"""Arguments of contract calls as people type them become what the ABI means, or are refused."""

from __future__ import annotations

from typing import Any

import pytest

from ledger.errors import InvalidAddress
from wallets.ethereum import arguments
from wallets.ethereum.addresses import EthereumAddressBook
from wallets.ethereum.contracts import encode, load

BOOK = EthereumAddressBook(31337)
HOT = "0x8617E340B3D01FA5F11F306F4090FD50E238070D"
OTHER = "0x52908400098527886E0F7030069857D2E4169EE7"


def read(text: str, kind: str) -> Any:
    return arguments.read([text], [kind], BOOK, HOT)[0]


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("12", "uint256", 12),
        ("-3", "int64", -3),
        ("0x10", "uint8", 16),
        (OTHER, "address", OTHER),
        ("hot", "address", HOT),
        ("hot", "string", "hot"),
        ("true", "bool", True),
        ("false", "bool", False),
        ("0xff00", "bytes", b"\xff\x00"),
        ("[1, 2]", "uint256[]", [1, 2]),
        (f'["{OTHER}", "hot"]', "address[2]", [OTHER, HOT]),
        ("[[1], [2, 3]]", "uint8[][]", [[1], [2, 3]]),
    ],
)
def test_arguments_are_read_by_their_type(text: str, kind: str, value: Any) -> None:
    assert read(text, kind) == value


@pytest.mark.parametrize(
    ("text", "kind"),
    [("1.5", "uint256"), ("", "uint256"), ("yes", "bool"), ("1", "uint256[]"), ("{}", "uint256[]"),
     ("[true]", "uint8[]"), ("[1]", "string[]"), ("0xzz", "bytes"), ("1", "tuple"), ("x", "function")],
)  # fmt: skip
def test_what_is_not_of_its_type_is_refused(text: str, kind: str) -> None:
    with pytest.raises(ValueError, match=r"literal|cannot be read|JSON list|is no|hexadecimal|Expecting"):
        read(text, kind)


def test_an_address_with_a_wrong_checksum_is_refused() -> None:
    with pytest.raises(InvalidAddress):
        read(HOT[:-1] + "e", "address")


def test_the_number_of_arguments_is_told() -> None:
    with pytest.raises(ValueError, match=r"takes \(address, uint256\), and was given 1"):
        arguments.read(["1"], ["address", "uint256"], BOOK, HOT)


def test_a_signature_is_as_good_as_an_interface() -> None:
    contract, name = arguments.contract_of("transfer(address, uint256)")
    values = arguments.read([OTHER, "7"], arguments.types_of(contract, name), BOOK, HOT)
    assert encode(contract, name, values) == encode(load("GoodToken"), "transfer", [OTHER, 7])
    plain, name = arguments.contract_of("pause()")
    assert arguments.types_of(plain, name) == []


@pytest.mark.parametrize("text", ["transfer", "transfer(address", "(uint256)", "f((uint256,uint256))", "1f()", ""])
def test_what_is_no_signature_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not like"):
        arguments.contract_of(text)


def test_types_come_from_the_interface() -> None:
    assert arguments.types_of(load("Sweeper"), None) == ["address"]
    assert arguments.types_of(load("Sweeper"), "sweep") == ["address", "address[]", "uint256[]"]
    with pytest.raises(LookupError, match="no function 'steal'"):
        arguments.types_of(load("Sweeper"), "steal")
