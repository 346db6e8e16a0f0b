"""The bytes of a Monero transaction, read without asking anybody (cryptonote_basic.h, rctTypes.h of Monero 0.18).

Only what this wallet makes is read: version 2, no unlock time, ring signatures of type 6 (CLSAG, Bulletproof+).
Anything else raises `NodeProtocolError`, and so does a byte too many.
"""

from __future__ import annotations

from dataclasses import dataclass

from monero.keccak import keccak_256

from ledger.errors import NodeProtocolError

_TXIN_TO_KEY, _TXOUT_TO_KEY, _TXOUT_TO_TAGGED_KEY = 2, 2, 3
_RCT_BULLETPROOF_PLUS = 6
_EXTRA_PUBLIC_KEY, _EXTRA_NONCE, _EXTRA_PUBLIC_KEYS = 1, 2, 4
#: An extra nonce that holds an encrypted payment id; wallets put a meaningless one where there is none.
_PAYMENT_ID_KIND, _PAYMENT_ID_LENGTH = 1, 9
_COUNT_MAX = 10_000


@dataclass(frozen=True, slots=True)
class BlobOutput:
    """One output: its one-time key, the encrypted amount and the commitment to it."""

    key: bytes
    view_tag: bytes  #: one byte; empty before view tags
    amount: bytes
    commitment: bytes


@dataclass(frozen=True, slots=True)
class Blob:
    """What a transaction's bytes say, and their hash."""

    txid: str
    key_images: tuple[str, ...]
    outputs: tuple[BlobOutput, ...]
    fee_units: int
    public_key: bytes  #: R of the transaction
    public_keys: tuple[bytes, ...]  #: one for each output where a subaddress is among several payees; else empty


class _Reader:
    """Takes bytes from the front."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, count: int) -> bytes:
        if count < 0 or self.at + count > len(self.data):
            raise NodeProtocolError("the transaction's bytes end too early")
        self.at += count
        return self.data[self.at - count : self.at]

    def byte(self) -> int:
        return self.take(1)[0]

    def varint(self) -> int:
        value = 0
        for shift in range(0, 64, 7):
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise NodeProtocolError("a number in the transaction's bytes is too long")

    def count(self) -> int:
        number = self.varint()
        if number > _COUNT_MAX:
            raise NodeProtocolError("a list in the transaction's bytes is too long")
        return number

    def expect(self, value: int, what: str) -> None:
        if self.varint() != value:
            raise NodeProtocolError(f"the transaction has {what}")


def read_blob(raw: str) -> Blob:
    """All of a transaction given in hexadecimal. Raises `NodeProtocolError`."""
    try:
        reader = _Reader(bytes.fromhex(raw))
    except ValueError:
        raise NodeProtocolError("the transaction is not hexadecimal") from None
    reader.expect(2, "another version than 2")
    reader.expect(0, "an unlock time")
    rings = [_input(reader) for _ in range(reader.count())]
    targets = [_target(reader) for _ in range(reader.count())]
    public_keys = _extra(reader.take(reader.count()))
    prefix_end = reader.at
    fee, amounts, commitments = _rct_base(reader, len(targets))
    base_end = reader.at
    _skip_rct_prunable(reader, [size for _, size in rings])
    if reader.at != len(reader.data):
        raise NodeProtocolError("the transaction's bytes go on behind its end")
    parts = reader.data[:prefix_end], reader.data[prefix_end:base_end], reader.data[base_end:]
    if not public_keys or len(public_keys) not in (1, 1 + len(targets)):
        raise NodeProtocolError("the transaction has no key for its receivers, or too many")
    return Blob(
        txid=_keccak(b"".join(_keccak(part) for part in parts)).hex(),
        key_images=tuple(image for image, _ in rings),
        outputs=tuple(BlobOutput(*rest) for rest in zip(*zip(*targets, strict=True), amounts, commitments, strict=True))
        if targets
        else (),
        fee_units=fee,
        public_key=public_keys[0],
        public_keys=tuple(public_keys[1:]),
    )


def _input(reader: _Reader) -> tuple[str, int]:
    """Key image and ring size."""
    if reader.byte() != _TXIN_TO_KEY:
        raise NodeProtocolError("the transaction has an input of another kind than ours")
    reader.expect(0, "an input with a visible amount")
    ring = reader.count()
    for _ in range(ring):
        reader.varint()
    return reader.take(32).hex(), ring


def _target(reader: _Reader) -> tuple[bytes, bytes]:
    """One-time key and view tag."""
    reader.expect(0, "an output with a visible amount")
    kind = reader.byte()
    if kind not in (_TXOUT_TO_KEY, _TXOUT_TO_TAGGED_KEY):
        raise NodeProtocolError("the transaction has an output of another kind than ours")
    return reader.take(32), reader.take(1) if kind == _TXOUT_TO_TAGGED_KEY else b""


def _extra(extra: bytes) -> list[bytes]:
    """The transaction's public key first, then those of its outputs."""
    reader, first, others = _Reader(extra), [], []
    while reader.at < len(extra):
        kind = reader.byte()
        if kind == _EXTRA_PUBLIC_KEY:
            first.append(reader.take(32))
        elif kind == _EXTRA_PUBLIC_KEYS:
            others = [reader.take(32) for _ in range(reader.count())]
        elif kind == _EXTRA_NONCE:
            nonce = reader.take(reader.count())
            if nonce[:1] != bytes([_PAYMENT_ID_KIND]) or len(nonce) != _PAYMENT_ID_LENGTH:
                raise NodeProtocolError("the transaction carries something that this wallet does not put there")
        else:
            raise NodeProtocolError("the transaction carries something that this wallet does not put there")
    if len(first) != 1:
        raise NodeProtocolError("the transaction has not exactly one public key")
    return [*first, *others]


def _rct_base(reader: _Reader, outputs: int) -> tuple[int, list[bytes], list[bytes]]:
    if reader.byte() != _RCT_BULLETPROOF_PLUS:
        raise NodeProtocolError("the transaction has signatures of another type than 6")
    fee = reader.varint()
    return fee, [reader.take(8) for _ in range(outputs)], [reader.take(32) for _ in range(outputs)]


def _skip_rct_prunable(reader: _Reader, rings: list[int]) -> None:
    """Bulletproof+ range proofs, a CLSAG signature for each input, and the pseudo outputs."""
    for _ in range(reader.count()):
        reader.take(6 * 32)  # A, A1, B, r1, s1, d1
        for _ in range(2):  # L, R
            reader.take(reader.count() * 32)
    for size in rings:
        reader.take(size * 32 + 2 * 32)  # s, c1, D
    reader.take(len(rings) * 32)


def _keccak(data: bytes) -> bytes:
    digest: bytes = keccak_256(data).digest()
    return digest
