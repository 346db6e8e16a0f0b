"""Blocks in a row: headers that follow each other, and the receipts that belong to them.

Everything about a block is asked by its hash, so that a reorganisation between two questions cannot mix branches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ledger.errors import NodeNotReady, NodeProtocolError
from wallets.ethereum.client import EthereumClient, RpcRefused
from wallets.ethereum.locator import Mark
from wallets.ethereum.reply import Block, block_of
from wallets.reply import list_of

#: Blocks whose receipts come in one answer: geth stops at 25 MB, and a full block has less than one.
RECEIPTS_AT_ONCE = 10
_ATTEMPTS = 5

_T = TypeVar("_T")


class Moved(Exception):
    """A block asked for is not in the best chain any more: it is read again."""


def settled(read: Callable[[], _T]) -> _T:
    """What a reading gives once the chain holds still for as long as it takes. Raises `NodeNotReady`."""
    for _ in range(_ATTEMPTS):
        try:
            return read()
        except Moved:
            continue
    raise NodeNotReady("the chain moves faster than it can be read")


@dataclass(frozen=True, slots=True)
class BlockReceipts:
    """A block and its receipts as the node wrote them, one for each transaction."""

    block: Block
    receipts: Sequence[dict[str, object]]


def header(client: EthereumClient, height: int) -> Block | None:
    """The block of the best chain at this height; None beyond its end."""
    answer = client.read("eth_getBlockByNumber", hex(height), False)
    return None if answer is None else _at_height(answer, height)


def follow(client: EthereumClient, after: Sequence[Mark], first: int, last: int) -> list[Block]:
    """The headers of these heights, the first a child of the first mark where that is just below. Raises `Moved` when
    they are not of one branch."""
    answers = client.read_many([("eth_getBlockByNumber", [hex(height), False]) for height in range(first, last + 1)])
    blocks = []
    parent = after[0].hash if after and after[0].height == first - 1 else None
    for height, answer in zip(range(first, last + 1), answers, strict=True):
        if answer is None:
            raise Moved
        block = _at_height(answer, height)
        if parent is not None and block.parent != parent:
            raise Moved
        parent = block.hash
        blocks.append(block)
    return blocks


def with_receipts(client: EthereumClient, blocks: Sequence[Block]) -> Iterator[BlockReceipts]:
    """These blocks with their receipts, few at a time in memory. Raises `Moved` when one has left the best chain."""
    full = [block for block in blocks if block.txids]  # an empty block has no receipts to ask for
    for start in range(0, len(full), RECEIPTS_AT_ONCE):
        part = full[start : start + RECEIPTS_AT_ONCE]
        answers = client.try_many([("eth_getBlockReceipts", [block.hash]) for block in part])
        for block, answer in zip(part, answers, strict=True):
            if isinstance(answer, RpcRefused):  # too long for one batch, perhaps; or the block is gone
                answer = _alone(client, block)
            yield BlockReceipts(block, _checked(block, answer))


def _alone(client: EthereumClient, block: Block) -> object:
    try:
        return client.read("eth_getBlockReceipts", block.hash)
    except RpcRefused:
        if _still_there(client, block):
            raise
        raise Moved from None


def _still_there(client: EthereumClient, block: Block) -> bool:
    found = header(client, block.number)
    return found is not None and found.hash == block.hash


def _at_height(answer: object, height: int) -> Block:
    block = block_of(answer, "eth_getBlockByNumber")
    if block.number != height:
        raise NodeProtocolError("eth_getBlockByNumber: the node gave another block than was asked for")
    return block


def _checked(block: Block, answer: object) -> list[dict[str, object]]:
    """Receipts that are missing would be deposits that nobody sees: there is one for each transaction, in order."""
    if answer is None:
        raise Moved
    receipts = [item for item in list_of(answer, "eth_getBlockReceipts") if isinstance(item, dict)]
    if [receipt.get("transactionHash") for receipt in receipts] != list(block.txids):
        raise NodeProtocolError(f"the receipts of block {block.number} are not those of its transactions")
    if any(receipt.get("blockHash") != block.hash for receipt in receipts):
        raise NodeProtocolError(f"the receipts of block {block.number} name another block")
    return receipts
