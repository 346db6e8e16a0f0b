"""A transaction that monero-wallet-rpc has made and not sent, as it is kept in the database.

The wallet forgets what it prepared: bytes, metadata and secret key are ours to keep (FAULTS D10). The payload is
canonical JSON of all of it. The transaction's secret key proves a payment to its payee and opens nothing else.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from ledger.errors import NodeProtocolError
from wallets.monero.blob import Blob, read_blob
from wallets.monero.reply import Record

#: What the wallet's metadata begins with: the version of its form, then the transaction's bytes.
_METADATA_VERSION = "01"


@dataclass(frozen=True, slots=True)
class Prepared:
    """One prepared transaction."""

    txid: str
    blob: str
    metadata: str  #: what `relay_tx` takes; it means something only to the wallet file that made it
    tx_key: str
    key_images: tuple[str, ...]
    fee_units: int
    weight: int
    account: int  #: the wallet account whose money it spends
    destinations: tuple[tuple[str, int], ...]
    wallet: str  #: the mark of the wallet file that made it (see `Marks`)

    @classmethod
    def of(cls, reply: Record, account: int, destinations: tuple[tuple[str, int], ...], wallet: str) -> Prepared:
        """From the answer of `transfer`."""
        return cls(
            txid=reply.text("tx_hash"),
            blob=reply.text("tx_blob"),
            metadata=reply.text("tx_metadata"),
            tx_key=reply.text("tx_key"),
            key_images=reply.record("spent_key_images").texts("key_images"),
            fee_units=reply.units("fee"),
            weight=reply.units("weight"),
            account=account,
            destinations=destinations,
            wallet=wallet,
        )

    @classmethod
    def read(cls, payload: str) -> Prepared:
        """From a payload. Raises `NodeProtocolError` for one that this class did not write."""
        try:
            record = Record(json.loads(payload), "payload")
        except ValueError:
            raise NodeProtocolError("the stored proposal cannot be read") from None
        return cls(
            txid=record.text("txid"),
            blob=record.text("blob"),
            metadata=record.text("metadata"),
            tx_key=record.text("tx_key"),
            key_images=record.texts("key_images"),
            fee_units=record.units("fee_units"),
            weight=record.units("weight"),
            account=record.units("account"),
            destinations=tuple((d.text("address"), d.units("units")) for d in record.records("destinations")),
            wallet=record.text("wallet"),
        )

    def payload(self) -> str:
        destinations = [{"address": address, "units": units} for address, units in self.destinations]
        return json.dumps(asdict(self) | {"destinations": destinations}, sort_keys=True, separators=(",", ":"))

    def checked(self) -> Blob:
        """Its bytes, once they are seen to be what the rest says. Raises `NodeProtocolError`."""
        blob = read_blob(self.blob)
        if blob.txid != self.txid:
            raise NodeProtocolError("the transaction's bytes have another id than the proposal names")
        if sorted(blob.key_images) != sorted(self.key_images) or len(set(self.key_images)) != len(self.key_images):
            raise NodeProtocolError("the transaction spends other outputs than the proposal names")
        if blob.fee_units != self.fee_units:
            raise NodeProtocolError("the transaction pays another fee than the proposal names")
        if not self.metadata.startswith(_METADATA_VERSION + self.blob):
            raise NodeProtocolError("the wallet's metadata holds another transaction than the proposal")
        return blob
