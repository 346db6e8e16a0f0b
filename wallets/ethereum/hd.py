"""Ethereum keys and addresses m/44'/60'/0'/0/index (BIP-32, BIP-44), from the seed or from the public key alone.

Whoever holds the account's public key and one private child key can compute them all: children are guarded like the
seed. Arithmetic on the curve is libsecp256k1's (coincurve): some 35,000 addresses a second.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import new as new_hash
from hashlib import sha512
from typing import NamedTuple

from coincurve import PrivateKey, PublicKey
from embit import base58
from eth_hash.auto import keccak

#: BIP-32: below this an index is derived without the private key.
HARDENED = 0x80000000

#: m/44'/60'/0'; addresses hang below its child 0.
ACCOUNT_PATH = (44 | HARDENED, 60 | HARDENED, HARDENED)

_XPUB = bytes.fromhex("0488b21e")
_PRIVATE_VERSIONS = (bytes.fromhex("0488ade4"), bytes.fromhex("04358394"))
_SEED_BYTES = range(16, 65)


def checksummed(address: bytes) -> str:
    """The 20 bytes of an address as text with EIP-55's checksum in the case of its letters."""
    digits = address.hex()
    marks = keccak(digits.encode()).hex()
    return "0x" + "".join(c.upper() if mark >= "8" else c for c, mark in zip(digits, marks, strict=False))


def address_of(point: PublicKey) -> str:
    """The checksummed address of a public key: the last 20 bytes of the hash of its coordinates."""
    return checksummed(keccak(point.format(compressed=False)[1:])[12:])


def address_at(account_public_key: str, index: int) -> str:
    """The address number `index` (0 to 2^31-1) below an account's extended public key.

    Raises `ValueError` for a text that is not the xpub of an account (depth 3), without repeating it.
    """
    _check_index(index)
    return address_of(_external_chain(account_public_key).child(index).point)


class PublicNode(NamedTuple):
    """A public key that has children."""

    point: PublicKey
    chain_code: bytes

    def child(self, index: int) -> PublicNode:
        """BIP-32 CKDpub."""
        _check_index(index)
        tweak, chain_code = _split(self.chain_code, self.point.format() + index.to_bytes(4, "big"))
        return PublicNode(self.point.add(tweak), chain_code)


@dataclass(frozen=True, slots=True)
class PrivateNode:
    """A private key that has children. Neither shows in its text form."""

    secret: bytes = field(repr=False)
    chain_code: bytes = field(repr=False)
    depth: int = 0
    number: int = 0
    parent_fingerprint: bytes = bytes(4)

    def child(self, index: int) -> PrivateNode:
        """BIP-32 CKDpriv; from `HARDENED` on the children are hardened."""
        key = PrivateKey(self.secret)
        public = key.public_key.format()
        message = (bytes(1) + self.secret if index & HARDENED else public) + index.to_bytes(4, "big")
        tweak, chain_code = _split(self.chain_code, message)
        return PrivateNode(key.add(tweak).secret, chain_code, self.depth + 1, index, _fingerprint(public))

    def descend(self, path: tuple[int, ...]) -> PrivateNode:
        node = self
        for index in path:
            node = node.child(index)
        return node

    def xpub(self) -> str:
        """The public half as BIP-32 writes it: what the API process gets."""
        place = bytes([self.depth]) + self.parent_fingerprint + self.number.to_bytes(4, "big")
        public = PrivateKey(self.secret).public_key.format()
        return str(base58.encode_check(_XPUB + place + self.chain_code + public))


def master_of(seed: bytes) -> PrivateNode:
    """The root of all keys of a BIP-32 seed of 16 to 64 bytes."""
    if len(seed) not in _SEED_BYTES:
        raise ValueError("a seed has 16 to 64 bytes")
    secret, chain_code = _split(b"Bitcoin seed", seed)
    return PrivateNode(PrivateKey(secret).secret, chain_code)


def account_of(seed: bytes) -> PrivateNode:
    """m/44'/60'/0' of a seed."""
    return master_of(seed).descend(ACCOUNT_PATH)


def _split(key: bytes, message: bytes) -> tuple[bytes, bytes]:
    digest = hmac.digest(key, message, sha512)
    return digest[:32], digest[32:]


def _fingerprint(public_key: bytes) -> bytes:
    return new_hash("ripemd160", new_hash("sha256", public_key).digest()).digest()[:4]


def _check_index(index: int) -> None:
    if not 0 <= index < HARDENED:
        raise ValueError("an address index is between 0 and 2^31 - 1")


@lru_cache(maxsize=16)
def _external_chain(account_public_key: str) -> PublicNode:
    """The node that address keys are children of: decoding and one level done once."""
    try:
        raw = base58.decode_check(account_public_key)
    except Exception as error:  # noqa: BLE001  # embit raises several kinds; the text itself is not repeated
        raise ValueError(f"not an account public key: {type(error).__name__}") from None
    if raw[:4] in _PRIVATE_VERSIONS:
        raise ValueError("a private key was given where a public one belongs")
    if len(raw) != 78 or raw[:4] != _XPUB or raw[4] != len(ACCOUNT_PATH):
        raise ValueError("not an account public key (m/44'/60'/account')")
    return PublicNode(PublicKey(raw[45:]), raw[13:45]).child(0)
