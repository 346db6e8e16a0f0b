"""Signed bytes at rest: sealed, so that the database alone pays nobody.

Whoever has signed bytes can have them mined, also those of a payment that was let go before it was sent. The database
holds them under a key that it does not hold (`RowMac.seal`); they are opened to be sent, repriced or compared with the
signer's record. What it takes to look a transaction up stays readable.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import Row

from jobs.payment.contents import proposal_of, stored
from jobs.row_mac import Unsealable
from jobs.services import Services
from jobs.signer import SignerRefused
from wallets.protocol import Proposal, SignedTransaction


def seal(services: Services, row: Row[Any], signed: SignedTransaction) -> SignedTransaction:
    """As it is stored. The payload of a wallet that signs while it chooses holds the bytes, too."""
    mac, name = services.require_mac(), f"{row.public_id}:{signed.txid}"
    payload = mac.seal(signed.payload, f"{name}:payload") if signed.raw in signed.payload else signed.payload
    return replace(signed, raw=mac.seal(signed.raw, name), payload=payload)


def opened(services: Services, row: Row[Any], found: Row[Any]) -> SignedTransaction:
    """A stored candidate with its bytes. Raises `SignerRefused` for what this key has not sealed."""
    mac, kept = services.require_mac(), stored(found, row)
    name = f"{row.public_id}:{kept.txid}"
    try:
        raw = mac.unseal(kept.raw, name)
        payload = mac.unseal(kept.payload, f"{name}:payload") if mac.is_sealed(kept.payload) else kept.payload
    except Unsealable as error:
        raise SignerRefused("bytes_changed", f"the stored bytes of {kept.txid} are not what was signed") from error
    return replace(kept, raw=raw, payload=payload)


def seal_proposal(services: Services, row: Row[Any], proposal: Proposal) -> dict[str, Any]:
    """A proposal as its payment's row keeps it."""
    return asdict(proposal) | {"payload": services.require_mac().seal(proposal.payload, f"{row.public_id}:proposal")}


def opened_proposal(services: Services, row: Row[Any]) -> Proposal:
    """The proposal with the payload that its wallet made. Raises `SignerRefused` when that is another's."""
    kept = proposal_of(row)
    try:
        return replace(kept, payload=services.require_mac().unseal(kept.payload, f"{row.public_id}:proposal"))
    except Unsealable as error:
        raise SignerRefused("proposal_changed", "the proposal is not the one that was made for it") from error
