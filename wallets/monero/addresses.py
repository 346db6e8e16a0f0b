"""Monero addresses without a node: what the API process may hold.

Main addresses and subaddresses are taken. Integrated addresses are not: payment ids are obsolete, and no wallet of
ours would put the id that such an address carries to any use.
"""

from __future__ import annotations

from typing import Literal
from urllib.parse import quote

from monero.address import IntegratedAddress, address
from monero.const import NET_MAIN, NET_STAGE, NET_TEST
from nacl.bindings import crypto_core_ed25519_is_valid_point

from ledger.errors import InvalidAddress

#: Which index is which: `subaddress` puts index i at account 0, subaddress i+1; `account` at account i+1, subaddress 0.
#: Account 0, subaddress 0 is the hot wallet's own: change goes there, and nobody is given it.
Layout = Literal["subaddress", "account"]

#: A regtest node has mainnet's prefixes.
_NETS = {"mainnet": NET_MAIN, "regtest": NET_MAIN, "testnet": NET_TEST, "stagenet": NET_STAGE}
_NAMES = {NET_MAIN: "mainnet or regtest", NET_TEST: "testnet", NET_STAGE: "stagenet"}
_LENGTH_MAX = 106  #: of an integrated address
_TYPICAL_BYTES = 2_200  #: two inputs with their rings, one payee, change
_POINTER = "/address"


def subaddress_of(index: int, layout: Layout) -> tuple[int, int]:
    """(major, minor) of an index."""
    if index < 0:
        raise ValueError(f"{index} is no index")
    return (index + 1, 0) if layout == "account" else (0, index + 1)


def index_of(major: int, minor: int, layout: Layout) -> int | None:
    """The index behind a subaddress; None for one that no index stands for."""
    if layout == "account":
        return major - 1 if major > 0 and minor == 0 else None
    return minor - 1 if major == 0 and minor > 0 else None


class MoneroAddressBook:
    """The `AddressBook` of one network: `mainnet`, `stagenet`, `testnet` or `regtest`."""

    derives = False  # a subaddress needs the private view key
    shared = False

    def __init__(self, network: str, layout: Layout = "subaddress") -> None:
        if network not in _NETS:
            raise ValueError(f"unknown Monero network {network!r}")
        self._net = _NETS[network]
        self._name = network
        self.apart = layout == "account"

    def parse(self, text: str) -> str:
        """The address as it stands, for it has one spelling only. Raises `InvalidAddress` naming the rule."""
        if not text.isascii() or not text.isalnum():
            raise InvalidAddress(_POINTER, "has characters other than ASCII letters and digits (spaces, look-alikes)")
        if len(text) > _LENGTH_MAX:
            raise InvalidAddress(_POINTER, f"is longer than {_LENGTH_MAX} characters")
        try:
            found = address(text)
        except ValueError as error:
            raise InvalidAddress(_POINTER, _rule(text, str(error))) from None
        except Exception:  # noqa: BLE001  # the library stumbles over some texts instead of refusing them
            raise InvalidAddress(_POINTER, "is no Monero address") from None
        if found.net != self._net:
            raise InvalidAddress(_POINTER, f"is of another network ({_NAMES[found.net]}), not {self._name}")
        if isinstance(found, IntegratedAddress):
            raise InvalidAddress(
                _POINTER, "is an integrated address; payment ids are obsolete: ask the payee for a subaddress"
            )
        keys = (found.spend_key(), found.view_key())
        if str(found) != text or not all(crypto_core_ed25519_is_valid_point(bytes.fromhex(key)) for key in keys):
            raise InvalidAddress(_POINTER, "holds no keys that anybody could have")
        return text

    def at(self, account_public_key: str, index: int) -> str:
        """Raises `LookupError`: only the wallet can make a subaddress (`ChainWallet.addresses`)."""
        raise LookupError("Monero addresses are made by the wallet, not derived from a public key")

    def uri(self, address: str, units: int | None, label: str | None = None, token: str | None = None) -> str:
        """A `monero:` URI; the amount in XMR without trailing zeros."""
        fields = []
        if units is not None:
            whole, fraction = divmod(units, 10**12)
            decimals = f".{fraction:012d}".rstrip("0") if fraction else ""
            fields.append(f"tx_amount={whole}{decimals}")
        if label is not None:
            fields.append(f"recipient_name={quote(label, safe='')}")
        return f"monero:{address}" + ("?" + "&".join(fields) if fields else "")

    def typical_fee(self, rate: int, token: bool = False) -> int:
        """The rate is in piconero per byte."""
        return rate * _TYPICAL_BYTES


def _rule(text: str, complaint: str) -> str:
    """The library's complaint in our words: its own repeats the address."""
    if "checksum" in complaint:
        return "has a wrong checksum"
    if "netbyte" in complaint:
        return "is of no Monero network that is known"
    if len(text) not in (95, 106):
        return "is not 95 characters long"
    return "has a character or a block that Monero's base58 does not use"
