"""All payments that a block holds, whoever is paid: what runs for every transaction of the chain."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass
from hashlib import sha256

from ledger.errors import NodeProtocolError
from wallets.ethereum.blocks import BlockReceipts
from wallets.ethereum.internal import Internal, InternalTransfer, may_have_any
from wallets.ethereum.reply import Receipt, Record, address_of, receipt_of
from wallets.ethereum.tokens import TRANSFER, transfers

#: In `SeenDeposit.suspect`: what the chain gave cannot be read, or not any more.
UNKNOWN = "balance_unknown"


@dataclass(frozen=True, slots=True)
class Found:
    """A payment that may be to us; addresses in lower case.

    Its key is the same in whichever block the transaction is, and another if it does something else there: what a
    contract pays, and whom, can change with the block, and a key stands for one amount to one payee.
    """

    key: str
    txid: str
    sender: str
    payee: str
    units: int | None  #: None: the transaction must be asked
    height: int
    block_hash: str
    token: str | None = None


def payments_in(each: BlockReceipts, tokens: Container[str], internal: Internal) -> Iterable[Found]:
    """`tokens` are the listed contracts; a failed transaction pays nobody (FAULTS F5)."""
    height, name = each.block.number, each.block.hash
    trace = False
    for receipt in each.receipts:
        status = receipt.get("status")
        if status == "0x0":
            continue
        if status != "0x1":
            raise NodeProtocolError("eth_getBlockReceipts.status is neither success nor failure")
        txid = str(receipt["transactionHash"])
        record = Record(receipt, "eth_getBlockReceipts")
        to = record.address_or_none("to")
        if to is not None:
            yield Found(f"{txid}:tx", txid, record.address("from"), to, None, height, name)
        if any(_may_pay(log, tokens) for log in record.items("logs")):
            yield from token_payments(receipt_of(receipt, "eth_getBlockReceipts"), tokens)
        trace = trace or may_have_any(receipt)
    if trace:
        for inner in internal.of_block(name, each.block.txids):
            yield Found(inner_key(inner), inner.txid, inner.sender, inner.payee, inner.units, height, name)


def senders_in(each: BlockReceipts) -> Iterable[tuple[str, str]]:
    """(txid, who signed it) of every transaction of a block, failed ones too: they used a nonce and took a fee."""
    for receipt in each.receipts:
        yield str(receipt["transactionHash"]), Record(receipt, "eth_getBlockReceipts").address("from")


def inner_key(inner: InternalTransfer) -> str:
    return f"{inner.txid}:call:{inner.place}:{_deed(inner.payee, inner.units)}"


def _deed(payee: str, units: int) -> str:
    """So many units to this payee, as 96 bits: who writes the contract must not find two deeds of one name."""
    return sha256(f"{payee}:{units}".encode()).hexdigest()[:24]


def _may_pay(log: object, tokens: Container[str]) -> bool:
    record = Record(log, "eth_getBlockReceipts.logs")
    topics = record.items("topics")
    return bool(topics) and topics[0] == TRANSFER and address_of(record.get("address"), "logs.address") in tokens


def token_payments(receipt: Receipt, tokens: Container[str]) -> Iterable[Found]:
    for place, contract, sender, payee, units in transfers(receipt.logs):
        if contract in tokens:
            key = f"{receipt.txid}:log:{place}:{_deed(payee, units)}"
            yield Found(key, receipt.txid, sender, payee, units, receipt.height, receipt.block_hash, contract)
