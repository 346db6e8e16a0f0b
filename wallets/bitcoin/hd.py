"""Receiving addresses of one account from its extended public key (BIP-32, BIP-84), without a node or a secret.

Whoever holds this key and one private child key can compute them all: children are guarded like the master.
"""

from __future__ import annotations

import re
from functools import lru_cache

from embit import bech32, bip32, hashes
from embit.networks import NETWORKS

#: BIP-32: below this an index is derived without the private key.
HARDENED = 0x80000000

_DESCRIPTOR = re.compile(
    r"wpkh\((?:\[[0-9a-f]{8}(?:/[0-9]+['h]?)*\])?(?P<key>[A-Za-z0-9]{100,120})/0/\*\)(?:#[a-z0-9]{8})?", re.ASCII
)


def receive_address(account_public_key: str, index: int, network: str) -> str:
    """The bech32 address number `index` (0 to 2^31-1) of the external chain.

    `account_public_key` is the node's ranged descriptor `wpkh([fingerprint/84h/coin/0h]xpub/0/*)#checksum`, or the
    account's bare xpub. Raises `ValueError` for any other text or another network's key.
    """
    if not 0 <= index < HARDENED:
        raise ValueError("an address index is between 0 and 2^31 - 1")
    public_key = _external_chain(account_public_key, network).child(index).sec()
    return str(bech32.encode(NETWORKS[network]["bech32"], 0, hashes.hash160(public_key)))


def account_key_of(descriptor: str, network: str) -> str:
    """The account's bare xpub out of the node's ranged descriptor: the same text whatever way a version of the node
    writes origins and checksums. Raises `ValueError` as `receive_address` does."""
    match = _DESCRIPTOR.fullmatch(descriptor)
    if match is None:
        raise ValueError("not a wpkh descriptor of an account's external chain")
    _external_chain(match["key"], network)
    return match["key"]


@lru_cache(maxsize=16)
def _external_chain(account_public_key: str, network: str) -> bip32.HDKey:
    """The key that address keys are children of: two levels of work done once."""
    match = _DESCRIPTOR.fullmatch(account_public_key)
    text = account_public_key if match is None else match["key"]
    try:
        key = bip32.HDKey.from_base58(text)
    except Exception as error:  # noqa: BLE001  # embit raises several kinds; the text itself is not repeated
        raise ValueError(f"not an account public key: {type(error).__name__}") from None
    if key.is_private:
        raise ValueError("a private key was given where a public one belongs")
    if key.version != NETWORKS[network]["xpub"] or key.depth != 3:
        raise ValueError(f"not an account public key of {network} (m/84h/coin/account)")
    return key.child(0)
