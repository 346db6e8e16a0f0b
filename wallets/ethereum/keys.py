"""The private half of an Ethereum wallet: opened by the worker that signs, and by nobody else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from eth_account import Account
from eth_account.datastructures import SignedSetCodeAuthorization

from ledger.errors import NodeNotReady
from wallets.ethereum.hd import account_of, address_at


@dataclass(frozen=True, slots=True)
class SignedBytes:
    """What `eth_sendRawTransaction` takes, and the hash it will have on chain. Both `0x` and lower-case digits."""

    raw: str
    hash: str


class EthereumKeys:
    """All keys of one seed. Nothing it gives away, prints or raises holds a secret.

    Made from a BIP-32 seed (16 to 64 bytes; of a mnemonic that is its BIP-39 seed), which
    `wallets.ethereum.seed` reads from its encrypted file.
    """

    def __init__(self, seed: bytes) -> None:
        account = account_of(seed)
        self._external = account.child(0)
        self._xpub = account.xpub()

    @property
    def xpub(self) -> str:
        """The account's extended public key m/44'/60'/0': `WalletIdentity.account_public_key`."""
        return self._xpub

    def address(self, index: int) -> str:
        """The checksummed address of an index; 0 is the hot wallet."""
        return address_at(self._xpub, index)

    def sign_transaction(self, index: int, transaction: Mapping[str, Any]) -> SignedBytes:
        """Sign with the key of an index. Deterministic (RFC 6979): the same transaction gives the same bytes.

        `transaction` has the fields of eth-account (`nonce`, `gas`, `maxFeePerGas`, `maxPriorityFeePerGas`, `chainId`,
        `to` (`""` or absent: a contract is made), `value`, `data`, `authorizationList`). Raises `ValueError`
        without a chain id (EIP-155: such a signature would be valid on every chain) or with another `from`.
        """
        if not isinstance(transaction.get("chainId"), int):
            raise ValueError("a transaction is signed for one chain: chainId is missing")
        try:
            signed = Account.sign_transaction(dict(transaction), self._secret(index))
        except TypeError as error:
            raise ValueError(f"a transaction that cannot be signed: {error}") from None
        return SignedBytes(signed.raw_transaction.to_0x_hex(), signed.hash.to_0x_hex())

    def sign_authorization(self, index: int, chain_id: int, delegate: str, nonce: int) -> SignedSetCodeAuthorization:
        """An EIP-7702 authorization: the address of `index` runs the code of `delegate` from then on (the zero
        address: no code again). It is valid for one chain and one nonce of that address, and goes into another
        transaction's `authorizationList`."""
        if chain_id < 1:
            raise ValueError("an authorization is signed for one chain; 0 would make it valid on every one")
        fields = {"chainId": chain_id, "address": delegate, "nonce": nonce}
        signed: SignedSetCodeAuthorization = Account.sign_authorization(fields, self._secret(index))
        return signed

    def _secret(self, index: int) -> bytes:
        return self._external.child(index).secret

    def __repr__(self) -> str:
        return f"<EthereumKeys of {self.address(0)}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("keys are not copied out of their process")


class PublicKeys:
    """What the account's public key alone tells: addresses. It signs nothing, for processes that only look."""

    def __init__(self, xpub: str) -> None:
        self.xpub = xpub

    def address(self, index: int) -> str:
        return address_at(self.xpub, index)

    def sign_transaction(self, index: int, transaction: Mapping[str, Any]) -> NoReturn:
        raise NodeNotReady("this process holds no Ethereum seed and signs nothing")

    def sign_authorization(self, index: int, chain_id: int, delegate: str, nonce: int) -> NoReturn:
        raise NodeNotReady("this process holds no Ethereum seed and signs nothing")
