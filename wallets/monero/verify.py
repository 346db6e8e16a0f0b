"""Who is paid by a prepared transaction, and how much: computed from its bytes and its secret keys, not asked.

An output is taken as paid to a payee only when the payee itself will find it: the public key in the transaction must
be the one of the secret key that we know, the one-time key must follow from it, and the commitment must open to the
amount that the payee will decrypt (Zero to Monero 2.0, chapters 4 and 5; `generate_output_ephemeral_keys` of 0.18).
Range proofs and ring signatures are left to the daemon, which checks them before it takes a transaction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from monero import ed25519
from monero.address import IntegratedAddress, SubAddress, address
from monero.keccak import keccak_256

from ledger.errors import NodeProtocolError
from wallets.monero.blob import Blob
from wallets.protocol import Output

_EIGHT = (8).to_bytes(32, "little")


@dataclass(frozen=True, slots=True)
class Receiver:
    """The public half of an address."""

    spend_key: bytes
    view_key: bytes
    subaddress: bool

    @classmethod
    def of(cls, text: str) -> Receiver:
        """Raises `NodeProtocolError` for what is no address that we pay: it was checked long before."""
        try:
            parsed = address(text)
        except ValueError:
            raise NodeProtocolError("a payee of the transaction is not an address") from None
        if isinstance(parsed, IntegratedAddress):
            raise NodeProtocolError("a payee of the transaction is an integrated address, which nobody is paid at")
        keys = bytes.fromhex(parsed.spend_key()), bytes.fromhex(parsed.view_key())
        return cls(*keys, isinstance(parsed, SubAddress))


@dataclass(frozen=True, slots=True)
class Ours:
    """Where our change goes, and the secret view key by which our wallet finds it again."""

    primary: Receiver
    change: Receiver
    view_secret: bytes = field(repr=False)


def check_payees(blob: Blob, tx_key: str, paid: Sequence[Output], ours: Ours) -> bool:
    """Whether all outputs are accounted for: each payment exactly once and at most one output of change to us.

    False: one output is left that belongs to none of them, as where there is no change and the wallet adds an output
    worth nothing. Raises `NodeProtocolError` when a payment is missing, or more is left than that.
    """
    unmatched = _unmatched(blob, _secret_keys(blob, tx_key), paid, ours)
    if len(unmatched) > 1:
        raise NodeProtocolError("the transaction has other outputs than those to pay and its change")
    if not unmatched:
        return True
    derivation = _derivation(ours.view_secret, blob.public_key)
    return _opened(blob, unmatched[0], derivation, ours.change.spend_key) is not None


def _unmatched(blob: Blob, secrets: Sequence[bytes], paid: Sequence[Output], ours: Ours) -> list[int]:
    """The places of the outputs that are none of the payments."""
    places = list(range(len(blob.outputs)))
    receivers = {output.address: Receiver.of(output.address) for output in paid}
    for output in paid:
        receiver = receivers[output.address]
        found = (p for p in places if _pays(blob, p, secrets, receiver, ours) == output.units)
        place = next(found, None)
        if place is None:
            raise NodeProtocolError("the transaction does not pay what it should")
        places.remove(place)
    return places


def _pays(blob: Blob, place: int, secrets: Sequence[bytes], receiver: Receiver, ours: Ours) -> int | None:
    """What the output at this place pays to the receiver; None where it pays somebody else."""
    for derivation in _derivations(blob, place, secrets, receiver, ours):
        units = _opened(blob, place, derivation, receiver.spend_key)
        if units is not None:
            return units
    return None


def _derivations(blob: Blob, place: int, secrets: Sequence[bytes], receiver: Receiver, ours: Ours) -> Iterator[bytes]:
    """The shared secrets by which the receiver may find the output: that of the transaction's key, and of its own."""
    if receiver == ours.primary:
        yield _derivation(ours.view_secret, blob.public_key)
        return
    pairs = [(secrets[0], blob.public_key)]
    if blob.public_keys:
        pairs.append((secrets[1 + place], blob.public_keys[place]))
    for secret, public in pairs:
        if public == (_times(secret, receiver.spend_key) if receiver.subaddress else ed25519.scalarmult_B(secret)):
            yield _derivation(secret, receiver.view_key)


def _opened(blob: Blob, place: int, derivation: bytes, spend_key: bytes) -> int | None:
    """The amount of an output if its one-time key follows from these, and its commitment is to that amount."""
    output, index = blob.outputs[place], _varint(place)
    if output.view_tag and _keccak(b"view_tag" + derivation + index)[:1] != output.view_tag:
        return None
    scalar = _scalar(derivation + index)
    if ed25519.edwards_add(ed25519.scalarmult_B(scalar), spend_key) != output.key:
        return None
    pad = _keccak(b"amount" + scalar)
    units = int.from_bytes(bytes(a ^ b for a, b in zip(output.amount, pad, strict=False)), "little")
    commitment = ed25519.scalarmult_B(_scalar(b"commitment_mask" + scalar))
    if units:  # the library multiplies by nothing but what is not zero
        commitment = ed25519.edwards_add(commitment, ed25519.scalarmult_H(units.to_bytes(32, "little")))
    return units if commitment == output.commitment else None


def _secret_keys(blob: Blob, tx_key: str) -> list[bytes]:
    """The transaction's secret key, then one for each output where it has a public key for each."""
    try:
        keys = bytes.fromhex(tx_key)
    except ValueError:
        keys = b""
    if not keys or len(keys) != 32 * (1 + len(blob.public_keys)):
        raise NodeProtocolError("the transaction's secret keys are not those of its public ones")
    return [keys[at : at + 32] for at in range(0, len(keys), 32)]


def _derivation(secret: bytes, public: bytes) -> bytes:
    return _times(_EIGHT, _times(secret, public))


def _times(scalar: bytes, point: bytes) -> bytes:
    try:
        product: bytes = ed25519.scalarmult(scalar, point)
    except Exception as error:  # noqa: BLE001  # nacl's own kinds, for points off the curve and the like
        raise NodeProtocolError(f"a key of the transaction is no point of the curve ({type(error).__name__})") from None
    return product


def _scalar(data: bytes) -> bytes:
    scalar: bytes = ed25519.scalar_reduce(_keccak(data))
    return scalar


def _keccak(data: bytes) -> bytes:
    digest: bytes = keccak_256(data).digest()
    return digest


def _varint(number: int) -> bytes:
    """Output places are below 128 and take one byte."""
    return number.to_bytes(1, "little")
