"""Bitcoin addresses without a node: what the API process may hold.

Base58Check (P2PKH, P2SH), bech32 (BIP-173) and bech32m (BIP-350). Only kinds that a wallet can spend today are
taken: a coin sent to a witness version that has no rules yet belongs to anyone.
"""

from __future__ import annotations

import re
from hashlib import sha256
from urllib.parse import quote

from embit import base58, bech32
from embit.networks import NETWORKS

from ledger.errors import InvalidAddress
from wallets.bitcoin.hd import receive_address

_POINTER = "/address"
_LENGTH_MAX = 90  # BIP-173
_BASE58 = re.compile(r"[1-9A-HJ-NP-Za-km-z]+", re.ASCII)
#: One P2WPKH input, one payee, change (NODES 2.4).
_TYPICAL_VBYTES = 141
_BECH32_PREFIXES = {"bc": "main", "tb": "test or signet", "bcrt": "regtest"}


def embit_network(network: str) -> str:
    """embit's word for a network of Bitcoin Core; testnet4 shares every prefix with testnet."""
    name = "test" if network == "testnet4" else network
    if name not in NETWORKS:
        raise ValueError(f"unknown Bitcoin network {network!r}")
    return name


def mark_address(network: str) -> str:
    """An address whose script nobody knows (P2WSH of a hash of words): no money goes there; it carries a label."""
    prefix: str = NETWORKS[embit_network(network)]["bech32"]
    address: str = bech32.encode(prefix, 0, list(sha256(b"coffer: whose wallet this is").digest()))
    return address


class BitcoinAddressBook:
    """The `AddressBook` of one network: `main`, `test`, `testnet4`, `signet` or `regtest`."""

    derives = True
    apart = False
    shared = False

    def __init__(self, network: str) -> None:
        self._network = embit_network(network)
        self._name = network
        self._versions = {NETWORKS[self._network][kind] for kind in ("p2pkh", "p2sh")}
        self._prefix: str = NETWORKS[self._network]["bech32"]

    def parse(self, text: str) -> str:
        """The canonical form: bech32 in lower case, base58 as it stands. Raises `InvalidAddress` naming the rule."""
        if not text.isascii() or not text.isalnum():
            raise InvalidAddress(_POINTER, "has characters other than ASCII letters and digits (spaces, look-alikes)")
        if len(text) > _LENGTH_MAX:
            raise InvalidAddress(_POINTER, f"is longer than {_LENGTH_MAX} characters")
        prefix = text.lower().rpartition("1")[0]
        if prefix in _BECH32_PREFIXES:
            return self._parse_bech32(text, prefix)
        return self._parse_base58(text)

    def _parse_bech32(self, text: str, prefix: str) -> str:
        if text not in (text.lower(), text.upper()):
            raise InvalidAddress(_POINTER, "mixes upper and lower case")
        encoding, _, data = bech32.bech32_decode(text)
        if encoding is None or not data:
            raise InvalidAddress(_POINTER, "has a wrong checksum or a character that bech32 does not use")
        if prefix != self._prefix:
            raise InvalidAddress(_POINTER, f"is of another network ({_BECH32_PREFIXES[prefix]}), not {self._name}")
        version, program = bech32.decode(prefix, text)
        if version is None:
            raise InvalidAddress(_POINTER, "breaks the rules of segwit addresses (BIP-173, BIP-350)")
        if version > 1 or (version == 1 and len(program) != 32):
            raise InvalidAddress(_POINTER, "is of a witness version that nobody can protect yet")
        return text.lower()

    def _parse_base58(self, text: str) -> str:
        if _BASE58.fullmatch(text) is None:
            raise InvalidAddress(_POINTER, "has a character that base58 does not use")
        try:
            payload = base58.decode_check(text)
        except ValueError:
            raise InvalidAddress(_POINTER, "has a wrong checksum") from None
        if len(payload) != 21:
            raise InvalidAddress(_POINTER, "has a wrong length")
        if payload[:1] not in self._versions:
            raise InvalidAddress(_POINTER, f"is of another network, not {self._name}")
        return text

    def at(self, account_public_key: str, index: int) -> str:
        """See `wallets.bitcoin.hd.receive_address`."""
        return receive_address(account_public_key, index, self._network)

    def uri(self, address: str, units: int | None, label: str | None = None, token: str | None = None) -> str:
        """A BIP-21 URI; the amount in BTC without trailing zeros, as the BIP's own examples have it."""
        fields = []
        if units is not None:
            whole, fraction = divmod(units, 10**8)
            decimals = f".{fraction:08d}".rstrip("0") if fraction else ""
            fields.append(f"amount={whole}{decimals}")
        if label is not None:
            fields.append(f"label={quote(label, safe='')}")
        return f"bitcoin:{address}" + ("?" + "&".join(fields) if fields else "")

    def typical_fee(self, rate: int, token: bool = False) -> int:
        """The rate is in satoshi per 1000 virtual bytes."""
        return -(-rate * _TYPICAL_VBYTES // 1000)
