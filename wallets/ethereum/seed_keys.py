"""The key that wraps the seed file's own key: a secret of this installation, or one that never leaves a Vault."""

from __future__ import annotations

import hmac
import secrets
from base64 import b64decode, b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, urlsplit

import requests
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ledger.errors import InvalidInput, NodeNotReady, NodeProtocolError, NodeUnavailable

NONCE_BYTES = 12  #: of AES-GCM
_KEY_BYTES_MIN = 32
_VAULT_TIMEOUT_SECONDS = 10
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class KeyProvider(Protocol):
    """Wraps and unwraps data keys. `binding` must be the same both times."""

    @property
    def name(self) -> str:
        """Which key this is, as the file names it; tells nothing of the key itself."""
        ...

    def wrap(self, data_key: bytes, binding: bytes) -> str: ...

    def unwrap(self, wrapped: str, binding: bytes) -> bytes: ...


def key_provider(
    key_hex: str | None, vault_url: str | None, vault_key: str, vault_token_file: Path | None
) -> KeyProvider:
    """The one key that settings name: the Vault's where there is a Vault. Raises `NodeNotReady` when there is none."""
    if vault_url is not None:
        if vault_token_file is None:
            raise NodeNotReady("COFFER_ETHEREUM_VAULT_URL is set and COFFER_ETHEREUM_VAULT_TOKEN_FILE is not")
        return VaultKey(vault_url, vault_key, vault_token_file)
    if key_hex is None:
        raise NodeNotReady("nothing opens the seed file: set COFFER_ETHEREUM_SEED_KEY_FILE or a Vault")
    return LocalKey.from_hex(key_hex)


class LocalKey:
    """A key of 32 bytes or more that this process holds: from a file (a mounted secret) or the environment."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) < _KEY_BYTES_MIN:
            raise InvalidInput("/key", f"must be at least {_KEY_BYTES_MIN} bytes")
        self._cipher = AESGCM(HKDF(SHA256(), 32, None, b"coffer ethereum seed: wrapping").derive(secret))
        self._name = "local:" + hmac.digest(secret, b"coffer ethereum seed: name", sha256).hex()[:16]

    @classmethod
    def from_hex(cls, digits: str) -> LocalKey:
        """Raises `InvalidInput` without repeating what it was given."""
        try:
            return cls(bytes.fromhex(digits.strip()))
        except ValueError:
            raise InvalidInput("/key", "must be hexadecimal") from None

    @property
    def name(self) -> str:
        return self._name

    def wrap(self, data_key: bytes, binding: bytes) -> str:
        nonce = secrets.token_bytes(NONCE_BYTES)
        return b64encode(nonce + self._cipher.encrypt(nonce, data_key, binding)).decode()

    def unwrap(self, wrapped: str, binding: bytes) -> bytes:
        try:
            raw = b64decode(wrapped, validate=True)
            return self._cipher.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], binding)
        except (InvalidTag, ValueError):
            raise NodeNotReady("the seed file is damaged, or its key is another one") from None

    def __repr__(self) -> str:
        return f"<LocalKey {self._name}>"


class VaultKey:
    """A key of Vault's transit engine (HTTP API v1), of an authenticated kind (its default, aes256-gcm96, is).

    `key` is its name, or `mount/name` where the engine is not mounted at `transit`. The token is read from its file at
    every call, so that an agent may renew it; it needs `update` on `MOUNT/encrypt/NAME` and `MOUNT/decrypt/NAME`.
    Tried against a stand-in that answers as Vault's documents say, not against a Vault.
    """

    def __init__(self, url: str, key: str, token_file: Path) -> None:
        parts = urlsplit(url)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
            raise InvalidInput("/vault_url", "must be https, or http on this machine")
        mount, _, name = key.rpartition("/")
        self._url, self._mount, self._key = url.rstrip("/"), mount or "transit", name
        self._token_file = token_file

    @property
    def name(self) -> str:
        return f"vault:{self._mount}/{self._key}"

    def wrap(self, data_key: bytes, binding: bytes) -> str:
        return self._ask("encrypt", "ciphertext", plaintext=b64encode(data_key).decode(), binding=binding)

    def unwrap(self, wrapped: str, binding: bytes) -> bytes:
        try:
            return b64decode(self._ask("decrypt", "plaintext", ciphertext=wrapped, binding=binding), validate=True)
        except ValueError:
            raise NodeProtocolError("the Vault's answer is not base64") from None

    def _ask(self, action: str, wanted: str, *, binding: bytes, **fields: str) -> str:
        """One field of the answer. What the Vault says is not repeated beyond its status: it may hold what was sent."""
        url = f"{self._url}/v1/{quote(self._mount)}/{action}/{quote(self._key, safe='')}"
        body = {**fields, "associated_data": b64encode(binding).decode()}
        try:
            answer = requests.post(
                url,
                json=body,
                headers={"X-Vault-Token": self._token(), "X-Vault-Request": "true"},
                timeout=_VAULT_TIMEOUT_SECONDS,
                allow_redirects=False,  # a token is given to nobody else
            )
        except requests.RequestException as error:
            raise NodeUnavailable(f"the Vault at {self._url} does not answer ({type(error).__name__})") from None
        if answer.status_code >= 500:
            raise NodeUnavailable(f"the Vault at {self._url} answers {answer.status_code}: sealed, or in trouble")
        if answer.status_code != 200:
            raise NodeNotReady(f"the Vault refuses to {action} with {self.name}: status {answer.status_code}")
        return _field(answer, wanted)

    def _token(self) -> str:
        try:
            return self._token_file.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise NodeNotReady(f"the Vault token file {self._token_file} cannot be read: {error.strerror}") from None

    def __repr__(self) -> str:
        return f"<VaultKey {self.name}>"


def _field(answer: requests.Response, wanted: str) -> str:
    try:
        found: Any = answer.json()["data"][wanted]
    except (ValueError, KeyError, TypeError):
        found = None
    if not isinstance(found, str) or not found:
        raise NodeProtocolError(f"the Vault's answer has no {wanted}")
    return found
