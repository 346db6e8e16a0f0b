"""What a proposal (a PSBT, BIP-174) or a signed transaction really says, as the node decodes it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ledger.errors import NodeProtocolError
from wallets.bitcoin.client import BitcoinClient, RpcRefused
from wallets.bitcoin.reply import Record, text_of
from wallets.protocol import Output

#: BIP-125: signals that the transaction may be replaced; also what makes a locktime count.
SEQUENCE = 0xFFFFFFFD
#: Weight of a P2WPKH input's witness at most (counts, signature of 72 bytes, key), and of the segwit marker and flag.
_WITNESS_WEIGHT, _MARKER_WEIGHT = 109, 2


@dataclass(frozen=True, slots=True)
class Decoded:
    """The parts of a transaction that decide what it does."""

    txid: str
    resources: tuple[str, ...]
    outputs: tuple[Output, ...]
    sequences: frozenset[int]
    locktime: int
    weight: int

    @property
    def signed_vsize(self) -> int:
        """Upper bound of the virtual size, in bytes, that this unsigned transaction has when it is signed."""
        return -(-(self.weight + _MARKER_WEIGHT + _WITNESS_WEIGHT * len(self.resources)) // 4)


@dataclass(frozen=True, slots=True)
class DecodedPsbt:
    """`unconfined` are the inputs whose spending could change the txid: anything but native segwit. `own` are the
    addresses among the outputs that the wallet, which filled the PSBT in, has keys for."""

    tx: Decoded
    fee_units: int
    unconfined: frozenset[str]
    own: frozenset[str]

    def change(self, payees: Sequence[Output]) -> Output | None:
        """The one output that is no payee's; None when there is none. Raises if the rest differs from `payees`."""
        rest = Counter(self.tx.outputs)
        rest.subtract(payees)
        extra = list(rest.elements())
        if min(rest.values(), default=0) < 0 or len(extra) > 1:
            raise NodeProtocolError(
                "the transaction does not pay exactly what was asked, and one change output at most"
            )
        return extra[0] if extra else None


def decode_psbt(client: BitcoinClient, payload: str) -> DecodedPsbt:
    """Raises `NodeProtocolError` for a PSBT that cannot be read or says too little to know its fee."""
    try:
        reply = Record(client.read("decodepsbt", payload), "decodepsbt")
    except RpcRefused as refusal:
        raise NodeProtocolError(f"the stored proposal is no PSBT: {refusal.message}") from None
    tx = _decoded(reply.record("tx"), "decodepsbt.tx")
    inputs, outputs = reply.records("inputs"), reply.records("outputs")
    if len(inputs) != len(tx.resources) or len(outputs) != len(tx.outputs):
        raise NodeProtocolError("decodepsbt: not one entry for each input and output")
    total, unconfined = 0, set()
    for outpoint, entry in zip(tx.resources, inputs, strict=True):
        if "witness_utxo" not in entry:
            unconfined.add(outpoint)
            continue
        coin = entry.record("witness_utxo")
        total += coin.units("amount")
        if not coin.record("scriptPubKey").text("type").startswith("witness_"):
            unconfined.add(outpoint)
    fee = total - sum(output.units for output in tx.outputs)
    own = {output.address for output, entry in zip(tx.outputs, outputs, strict=True) if "bip32_derivs" in entry}
    return DecodedPsbt(tx, fee, frozenset(unconfined), frozenset(own))


def decode_raw(client: BitcoinClient, raw: str) -> Decoded:
    return _decoded(
        Record(client.read("decoderawtransaction", raw, True), "decoderawtransaction"), "decoderawtransaction"
    )


def outpoint_of(resource: str) -> dict[str, object]:
    """`txid:vout` as the RPC writes it."""
    txid, _, vout = resource.rpartition(":")
    return {"txid": txid, "vout": int(vout)}


def resource_of(entry: Record) -> str:
    return f"{entry.text('txid')}:{entry.integer('vout')}"


def _decoded(tx: Record, where: str) -> Decoded:
    inputs = tx.records("vin")
    return Decoded(
        txid=tx.text("txid"),
        resources=tuple(resource_of(entry) for entry in inputs),
        outputs=tuple(
            Output(text_of(out.record("scriptPubKey").text("address"), where), out.units("value"))
            for out in tx.records("vout")
        ),
        sequences=frozenset(entry.integer("sequence") for entry in inputs),
        locktime=tx.integer("locktime"),
        weight=tx.integer("weight"),
    )
