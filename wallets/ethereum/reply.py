"""Reading what a node answers: a field that is absent or of another shape raises, it never becomes zero or None.

Numbers, hashes and addresses are `0x` and hexadecimal digits on the wire (execution-apis); here they are `int` and
lower-case text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ledger.errors import NodeProtocolError
from wallets import reply
from wallets.reply import list_of

_QUANTITY = re.compile(r"0x[0-9a-f]{1,64}", re.ASCII | re.IGNORECASE)
_HASH = re.compile(r"0x[0-9a-f]{64}", re.ASCII | re.IGNORECASE)
_ADDRESS = re.compile(r"0x[0-9a-f]{40}", re.ASCII | re.IGNORECASE)
_DATA = re.compile(r"0x(?:[0-9a-f]{2})*", re.ASCII | re.IGNORECASE)


def quantity_of(value: object, where: str) -> int:
    if not isinstance(value, str) or _QUANTITY.fullmatch(value) is None:
        raise NodeProtocolError(f"{where} is not a hexadecimal number")
    return int(value, 16)


def hash_of(value: object, where: str) -> str:
    return _shaped(value, _HASH, where, "a hash")


def address_of(value: object, where: str) -> str:
    """In lower case, as it is compared here; `wallets.ethereum.hd.checksummed` gives what others see."""
    return _shaped(value, _ADDRESS, where, "an address")


def data_of(value: object, where: str) -> str:
    return _shaped(value, _DATA, where, "hexadecimal data")


def _shaped(value: object, shape: re.Pattern[str], where: str, what: str) -> str:
    if not isinstance(value, str) or shape.fullmatch(value) is None:
        raise NodeProtocolError(f"{where} is not {what}")
    return value.lower()


class Record(reply.Record):
    """A JSON object of this chain."""

    def get(self, name: str) -> object:
        return self._get(name)

    def has(self, name: str) -> bool:
        """Whether the field is there and not null: for what the node leaves out when there is nothing to tell."""
        return self._fields.get(name) is not None

    def quantity(self, name: str) -> int:
        return quantity_of(self.get(name), f"{self._where}.{name}")

    def hash(self, name: str) -> str:
        return hash_of(self.get(name), f"{self._where}.{name}")

    def address(self, name: str) -> str:
        return address_of(self.get(name), f"{self._where}.{name}")

    def address_or_none(self, name: str) -> str | None:
        """For fields that must be there and may be null (the `to` of a deployment)."""
        return None if self.get(name) is None else self.address(name)

    def data(self, name: str) -> str:
        return data_of(self.get(name), f"{self._where}.{name}")

    def items(self, name: str) -> list[object]:
        return list_of(self.get(name), f"{self._where}.{name}")


@dataclass(frozen=True, slots=True)
class Block:
    """A header, and what it holds by hash."""

    number: int
    hash: str
    parent: str
    seconds: int  #: its time, since 1970
    txids: tuple[str, ...]


def block_of(value: object, where: str) -> Block:
    record = Record(value, where)
    return Block(
        record.quantity("number"),
        record.hash("hash"),
        record.hash("parentHash"),
        record.quantity("timestamp"),
        tuple(hash_of(item, f"{where}.transactions") for item in record.items("transactions")),
    )


def base_fee_of(value: object, where: str) -> int:
    """A block's price of gas, in wei. Blocks from before London have none (EIP-1559): geth leaves the field out."""
    return Record(value, where).quantity("baseFeePerGas")


@dataclass(frozen=True, slots=True)
class Log:
    """One event. Its place in a receipt is what names it: the block-wide `logIndex` changes in a reorganisation."""

    contract: str
    topics: tuple[str, ...]
    data: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a transaction in a block."""

    txid: str
    block_hash: str
    height: int
    succeeded: bool
    sender: str
    to: str | None
    gas_used: int
    gas_price: int  #: what was really paid, in wei per gas
    contract: str | None  #: what it deployed
    logs: tuple[Log, ...]

    @property
    def fee_units(self) -> int:
        return self.gas_used * self.gas_price


def receipt_of(value: object, where: str) -> Receipt:
    record = Record(value, where)
    status = record.quantity("status")
    if status > 1:
        raise NodeProtocolError(f"{where}.status is neither success nor failure")
    return Receipt(
        record.hash("transactionHash"),
        record.hash("blockHash"),
        record.quantity("blockNumber"),
        status == 1,
        record.address("from"),
        record.address_or_none("to"),
        record.quantity("gasUsed"),
        record.quantity("effectiveGasPrice"),
        record.address_or_none("contractAddress"),
        tuple(_log_of(item, f"{where}.logs") for item in record.items("logs")),
    )


def _log_of(value: object, where: str) -> Log:
    record = Record(value, where)
    if record.boolean("removed"):
        raise NodeProtocolError(f"{where}: a receipt of the best chain holds a removed log")
    topics = tuple(hash_of(item, f"{where}.topics") for item in record.items("topics"))
    return Log(record.address("address"), topics, record.data("data"))


def receipts_of(value: object, where: str) -> Sequence[Receipt]:
    return [receipt_of(item, where) for item in list_of(value, where)]
