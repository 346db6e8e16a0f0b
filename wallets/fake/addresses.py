"""Addresses of a model chain: its prefix, 32 hex digits of a hash, 6 of a checksum; lower case is canonical.

Two model chains in one installation have two prefixes, so that no address of one is an address of the other.
"""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import sha256

from ledger.errors import InvalidAddress
from ledger.money import format_units

PREFIX = "fake1"
MONERO_PREFIX = "mofa1"  #: where a model chain stands for Monero's, beside the other
_SHAPE = re.compile(r"([a-z]+1)([0-9a-f]{32})([0-9a-f]{6})", re.ASCII)


@lru_cache(maxsize=100_000)
def derive(path: str, prefix: str = PREFIX) -> str:
    """The address of any text, such as `fakepub:coffer/7` or `outside/3`."""
    body = sha256(path.encode()).hexdigest()[:32]
    return f"{prefix}{body}{_checksum(body)}"


def _checksum(body: str) -> str:
    return sha256(b"checksum" + body.encode()).hexdigest()[:6]


class FakeAddressBook:
    """An `AddressBook` that refuses what Bitcoin's refuses: other networks, bad checksums, mixed case, spaces."""

    derives = True
    apart = False
    shared = False

    def __init__(self, prefix: str = PREFIX, decimals: int = 8) -> None:
        self._prefix = prefix
        self._decimals = decimals

    def parse(self, text: str) -> str:
        if text != text.lower() and text != text.upper():
            raise InvalidAddress("/address", "mixes upper and lower case")
        match = _SHAPE.fullmatch(text.lower()) if text.isascii() else None
        if match is None or match.group(1) != self._prefix:
            raise InvalidAddress("/address", "is not an address of this network")
        if _checksum(match.group(2)) != match.group(3):
            raise InvalidAddress("/address", "has a wrong checksum")
        return text.lower()

    def at(self, account_public_key: str, index: int) -> str:
        if index < 0:
            raise ValueError("an address index is not negative")
        return derive(f"{account_public_key}/{index}", self._prefix)

    def uri(self, address: str, units: int | None, label: str | None = None, token: str | None = None) -> str:
        amount = "" if units is None else f"?amount={format_units(units, self._decimals)}"
        return f"fake:{address}{amount}"

    def typical_fee(self, rate: int, token: bool = False) -> int:
        return -(-rate * 141 // 1000)
