"""Signing, and reading back what was signed: no bytes are stored that say anything else than their draft."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eth_account import Account
from eth_account.datastructures import SignedSetCodeAuthorization
from eth_account.typed_transactions.typed_transaction import TypedTransaction
from eth_hash.auto import keccak
from hexbytes import HexBytes

from ledger.errors import NodeProtocolError
from wallets.ethereum.transaction import Draft, Keys, SignedBytes


def signed_bytes(draft: Draft, keys: Keys) -> SignedBytes:
    """Sign, decode what came out, and compare. Signatures are deterministic (RFC 6979)."""
    authorizations = _authorizations(draft, keys)
    unsigned = draft.unsigned() | ({"authorizationList": authorizations} if authorizations else {})
    signed = keys.sign_transaction(draft.plan.index, unsigned)
    _check(signed.raw, signed.hash, draft, authorizations)
    return signed


def _authorizations(draft: Draft, keys: Keys) -> list[SignedSetCodeAuthorization]:
    signed = []
    for each in draft.delegations:
        authorization = keys.sign_authorization(each.index, draft.chain_id, each.delegate, each.nonce)
        if "0x" + authorization.authority.hex() != each.address.lower():
            raise NodeProtocolError("an authorization is signed by another address than it is for")
        signed.append(authorization)
    return signed


def _check(raw: str, txid: str, draft: Draft, authorizations: Sequence[SignedSetCodeAuthorization]) -> None:
    """Raises `NodeProtocolError` unless these bytes are this draft, signed by its sender."""
    try:
        found = TypedTransaction.from_bytes(HexBytes(raw)).as_dict()
        hashed = "0x" + keccak(bytes(HexBytes(raw))).hex()
        sender = Account.recover_transaction(raw)
    except Exception as error:  # noqa: BLE001  # the decoder raises whatever strange bytes make it stumble over
        raise NodeProtocolError(f"the signed bytes cannot be read back ({type(error).__name__})") from None
    same = all(_plain(found.get(name)) == _plain(value) for name, value in draft.unsigned().items())
    if not same or _plain(found.get("accessList", ())) not in ((), []) or sender.lower() != draft.sender.lower():
        raise NodeProtocolError("the signed transaction is another than the proposal")
    if hashed != txid:
        raise NodeProtocolError("the signed transaction has another hash than its signer says")
    delegated = [
        (entry["chainId"], _plain(entry["address"]), entry["nonce"], entry["yParity"], entry["r"], entry["s"])
        for entry in found.get("authorizationList", ())
    ]
    wanted = [
        (draft.chain_id, each.delegate.lower(), each.nonce, given.y_parity, given.r, given.s)
        for each, given in zip(draft.delegations, authorizations, strict=True)
    ]
    if delegated != wanted:
        raise NodeProtocolError("the signed transaction delegates something else than the proposal")


def _plain(value: Any) -> Any:
    """Bytes and texts in one form, numbers as they are."""
    if isinstance(value, bytes):
        return "0x" + value.hex() if value else ""
    if isinstance(value, str):
        return "" if value == "0x" else value.lower()
    return value
