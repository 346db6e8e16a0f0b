"""The seed at rest: one small file, encrypted under a key that lies elsewhere, opened by the ethereum worker only.

An envelope: the secret is AES-256-GCM encrypted under a data key of its own, and that key is wrapped under a key
encryption key, which is a secret of the installation or stays in a Vault (see `wallets.ethereum.seed_keys`). Purpose,
version and the name of the wrapping key are bound into both as associated data: no part of another file fits in.
Losing the key loses the seed: whoever makes a file keeps the mnemonic, or file and key, in a second place.
"""

from __future__ import annotations

import json
import os
import secrets
import tempfile
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from embit import bip39

from ledger.errors import InvalidInput, NodeNotReady, StateConflict
from wallets.ethereum.keys import EthereumKeys
from wallets.ethereum.seed_keys import NONCE_BYTES, KeyProvider

_PURPOSE = "coffer ethereum seed"
_VERSION = 1
_FIELDS = {"purpose": str, "version": int, "key": str, "wrapped": str, "nonce": str, "secret": str}
_ENTROPY_BYTES = 32  #: 24 words
_DATA_KEY_BYTES = 32
_FILE_BYTES_MAX = 64 * 1024


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """What a file holds: words (BIP-39, no passphrase) or the raw BIP-32 seed of another wallet. Never shown."""

    kind: str  #: `mnemonic` or `seed`
    text: str  #: the words, or hexadecimal digits

    def seed(self) -> bytes:
        """The BIP-32 seed that keys come from."""
        return bytes(bip39.mnemonic_to_seed(self.text)) if self.kind == "mnemonic" else bytes.fromhex(self.text)


def new_secret() -> Secret:
    """24 new words out of 256 bits of the system's randomness."""
    return Secret("mnemonic", bip39.mnemonic_from_bytes(secrets.token_bytes(_ENTROPY_BYTES)))


def secret_of_words(text: str) -> Secret:
    """The words somebody typed. Raises `InvalidInput`, which repeats none of them, when the checksum is wrong."""
    words = text.lower().split()
    if len(words) not in (12, 15, 18, 21, 24):
        raise InvalidInput("/mnemonic", f"has {len(words)} words, not 12, 15, 18, 21 or 24")
    unknown = [str(place) for place, word in enumerate(words, start=1) if word not in bip39.WORDLIST]
    if unknown:
        raise InvalidInput("/mnemonic", f"word {', '.join(unknown)} is not in the English list of BIP-39")
    if not bip39.mnemonic_is_valid(" ".join(words)):
        raise InvalidInput("/mnemonic", "has a wrong checksum: a word is wrong, or two have changed places")
    return Secret("mnemonic", " ".join(words))


def secret_of_hex(text: str) -> Secret:
    """A raw BIP-32 seed of 16 to 64 bytes, as hexadecimal digits. Raises `InvalidInput`."""
    try:
        seed = bytes.fromhex(text.strip().removeprefix("0x"))
    except ValueError:
        raise InvalidInput("/seed", "is not hexadecimal") from None
    if not 16 <= len(seed) <= 64:
        raise InvalidInput("/seed", f"has {len(seed)} bytes, not 16 to 64")
    return Secret("seed", seed.hex())


def store(path: Path, secret: Secret, provider: KeyProvider) -> EthereumKeys:
    """Write a new file, read it back, and return its keys. Raises `StateConflict` when there is one already."""
    temporary = _write_beside(path, _seal(secret, provider))
    try:
        keys = _checked(temporary, secret, provider)
        os.link(temporary, path)  # unlike a rename, this fails when there is one already
    except FileExistsError:
        raise StateConflict(f"{path} exists already; a seed is never overwritten") from None
    finally:
        temporary.unlink()
    _sync_folder(path)
    return keys


def rotate(path: Path, old: KeyProvider, new: KeyProvider) -> EthereumKeys:
    """Encrypt the same seed under another key, data key included; the file changes in one step or not at all.

    Copies of the old file still open with the old key: rotation does not help when both have leaked.
    """
    secret = open_secret(path, old)
    temporary = _write_beside(path, _seal(secret, new))
    try:
        keys = _checked(temporary, secret, new)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path)
    return keys


def sealed_with(path: Path) -> str:
    """The name of the key that opens the file (`local:…` or `vault:…`)."""
    return str(_read(path)["key"])


def open_keys(path: Path, provider: KeyProvider) -> EthereumKeys:
    """The keys that sign: for the ethereum worker at its start. Raises as `open_secret`."""
    return EthereumKeys(open_secret(path, provider).seed())


def open_secret(path: Path, provider: KeyProvider) -> Secret:
    """What the file holds. Raises `NodeNotReady` for a missing or damaged file or another key, and `NodeUnavailable`
    when a Vault does not answer; no message holds any part of a secret."""
    envelope = _read(path)
    if envelope["key"] != provider.name:
        raise NodeNotReady(f"{path} is sealed under key {envelope['key']}; the key given is {provider.name}")
    binding = _binding(provider)
    data_key = provider.unwrap(envelope["wrapped"], binding)
    try:
        plain = AESGCM(data_key).decrypt(_bytes(envelope["nonce"]), _bytes(envelope["secret"]), binding)
        found = json.loads(plain)
        return Secret(found["kind"], found["text"])
    except (InvalidTag, ValueError, KeyError, TypeError):
        raise NodeNotReady(f"{path} is damaged: restore it from its copy") from None


def _seal(secret: Secret, provider: KeyProvider) -> dict[str, Any]:
    binding = _binding(provider)
    data_key, nonce = secrets.token_bytes(_DATA_KEY_BYTES), secrets.token_bytes(NONCE_BYTES)
    plain = json.dumps({"kind": secret.kind, "text": secret.text}).encode()
    return {
        "purpose": _PURPOSE,
        "version": _VERSION,
        "key": provider.name,
        "wrapped": provider.wrap(data_key, binding),
        "nonce": b64encode(nonce).decode(),
        "secret": b64encode(AESGCM(data_key).encrypt(nonce, plain, binding)).decode(),
    }


def _binding(provider: KeyProvider) -> bytes:
    """The associated data of both layers."""
    return json.dumps([_PURPOSE, _VERSION, provider.name]).encode()


def _read(path: Path) -> Mapping[str, Any]:
    try:
        with path.open("rb") as file:
            envelope = json.loads(file.read(_FILE_BYTES_MAX))
    except OSError as error:
        raise NodeNotReady(f"the seed file {path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise NodeNotReady(f"{path} is not a seed file") from None
    if not isinstance(envelope, dict) or any(type(envelope.get(name)) is not kind for name, kind in _FIELDS.items()):
        raise NodeNotReady(f"{path} is not a seed file")
    if (envelope["purpose"], envelope["version"]) != (_PURPOSE, _VERSION):
        raise NodeNotReady(
            f"{path} is for {envelope['purpose']!r}, version {envelope['version']}: not for this program"
        )
    return envelope


def _bytes(text: str) -> bytes:
    return b64decode(text, validate=True)


def _checked(path: Path, secret: Secret, provider: KeyProvider) -> EthereumKeys:
    """What was written opens again and holds the same: nobody must find out later that it does not."""
    if open_secret(path, provider) != secret:
        raise NodeNotReady("the seed file does not read back as it was written")
    return EthereumKeys(secret.seed())


def _write_beside(path: Path, envelope: Mapping[str, Any]) -> Path:
    """A file of mode 0600 in the same folder, on the disk when this returns."""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise InvalidInput("/file", f"cannot be made in {path.parent}: {error.strerror}") from None
    with os.fdopen(handle, "w") as file:
        json.dump(envelope, file, indent=1)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    return Path(name)


def _sync_folder(path: Path) -> None:
    """The new name is on the disk as well."""
    handle = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
