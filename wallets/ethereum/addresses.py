"""Ethereum addresses without a node: what the API process may hold.

One address serves the native coin and every token. Index 0 is the hot wallet; deposits use 1 and above.
"""

from __future__ import annotations

import re
from urllib.parse import urlencode

from ledger.errors import InvalidAddress
from wallets.ethereum.hd import address_at, checksummed

#: The index whose address is the treasury: it pays withdrawals and receives sweeps.
HOT_INDEX = 0

_POINTER = "/address"
_SHAPE = re.compile(r"0x[0-9a-fA-F]{40}", re.ASCII)
#: Gas of a transfer: of ether to a person (fixed by the protocol), of a usual token to a new holder.
_TRANSFER_GAS, _TOKEN_GAS = 21_000, 65_000
#: Up to here addresses belong to the protocol (precompiled contracts): what is sent there is lost.
_PROTOCOL_MAX = 0xFFFF


class EthereumAddressBook:
    """The `AddressBook` of one EIP-155 chain. Addresses look the same on all of them: only URIs name the chain."""

    derives = True
    apart = True
    shared = True

    def __init__(self, chain_id: int) -> None:
        if chain_id < 1:
            raise ValueError("a chain id is 1 or more")
        self._chain_id = chain_id

    def parse(self, text: str) -> str:
        """The canonical form, with EIP-55's checksum. All letters in one case carry none and are taken as they are.
        Raises `InvalidAddress` naming the rule."""
        if not text.isascii() or not text.isalnum():
            raise InvalidAddress(_POINTER, "has characters other than ASCII letters and digits (spaces, look-alikes)")
        if _SHAPE.fullmatch(text) is None:
            raise InvalidAddress(_POINTER, "is not 0x and 40 hexadecimal digits")
        digits = text[2:]
        canonical = checksummed(bytes.fromhex(digits))
        if digits not in (digits.lower(), digits.upper()) and text != canonical:
            raise InvalidAddress(_POINTER, "has a wrong checksum (EIP-55)")
        if int(digits, 16) == 0:
            raise InvalidAddress(_POINTER, "is the zero address, which nobody owns")
        if int(digits, 16) <= _PROTOCOL_MAX:
            raise InvalidAddress(_POINTER, "belongs to the protocol (a precompiled contract), not to a person")
        return canonical

    def at(self, account_public_key: str, index: int) -> str:
        """See `wallets.ethereum.hd.address_at`."""
        return address_at(account_public_key, index)

    def uri(self, address: str, units: int | None, label: str | None = None, token: str | None = None) -> str:
        """An EIP-681 URI, the amount in wei or in the token's own units. The EIP knows no label: it is left out."""
        if token is None:
            amount = "" if units is None else "?" + urlencode({"value": units})
            return f"ethereum:{address}@{self._chain_id}{amount}"
        fields: dict[str, str | int] = {"address": address}
        if units is not None:
            fields["uint256"] = units
        return f"ethereum:{token}@{self._chain_id}/transfer?{urlencode(fields)}"

    def typical_fee(self, rate: int, token: bool = False) -> int:
        """The rate is in wei per gas."""
        return rate * (_TOKEN_GAS if token else _TRANSFER_GAS)
