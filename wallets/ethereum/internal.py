"""Coins that a contract sent on: in no receipt and no log, only in a trace of what the block executed.

A call that was undone moved nothing: a frame counts only when it and all above it succeeded (FAULTS F3).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

from ledger.errors import NodeProtocolError, NodeUnavailable
from wallets.ethereum.blocks import Moved
from wallets.ethereum.client import EthereumClient, RpcRefused
from wallets.ethereum.reply import Record
from wallets.ethereum.transaction import PLAIN_GAS
from wallets.reply import list_of

_log = logging.getLogger(__name__)

_TRACER = {"tracer": "callTracer", "tracerConfig": {"withLog": False}}
_PAYS = frozenset({"CALL", "SELFDESTRUCT"})
#: Frames of one transaction that are looked at: more than the gas of a block pays for.
_FRAMES_MAX = 1_000_000
_NO_SUCH_METHOD = -32601


@dataclass(frozen=True, slots=True)
class InternalTransfer:
    """One transfer inside a transaction; `place` counts all its frames in the order in which they began."""

    txid: str
    place: int
    sender: str
    payee: str
    units: int


class Internal:
    """Traces where the node offers them: it is asked for them until it says that it knows no such method."""

    def __init__(self, client: EthereumClient, *, wanted: bool) -> None:
        self._client = client
        self._asked = wanted

    def of_block(self, block_hash: str, txids: tuple[str, ...]) -> list[InternalTransfer]:
        """What contracts sent on in one block; nothing where the node does not trace, takes too long over it, or cannot
        say any more (it keeps the state of the last 128 blocks unless it is an archive): the balance sync finds what
        is missed. Raises `NodeUnavailable` when the node answers nothing else either."""
        if not self._asked:
            return []
        try:
            answer = self._client.read("debug_traceBlockByHash", block_hash, _TRACER)
        except (RpcRefused, NodeUnavailable) as error:
            if isinstance(error, RpcRefused) and error.rpc_code == _NO_SUCH_METHOD:
                self._asked = False
                _log.warning("the node offers no traces: coins sent by contracts are found by the balance sync")
                return []
            # A node that does answer other questions has not gone away over this one: one heavy block must not stop
            # the reading of all that follow.
            if self._client.read("eth_getBlockByHash", block_hash, False) is None:
                raise Moved from None
            _log.warning("block %s cannot be traced: %s", block_hash, error.detail)
            return []
        traces = [Record(item, "debug_traceBlockByHash") for item in list_of(answer, "debug_traceBlockByHash")]
        if [trace.hash("txHash") for trace in traces] != list(txids):
            raise NodeProtocolError("the traces of a block are not those of its transactions")
        found: list[InternalTransfer] = []
        for trace in traces:
            found += transfers_in(trace.hash("txHash"), trace.get("result"))
        return found

    def of_transaction(self, txid: str) -> list[InternalTransfer] | None:
        """What contracts sent on in one mined transaction; None where the node cannot say, as in `of_block`."""
        if not self._asked:
            return None
        try:
            trace = self._client.read("debug_traceTransaction", txid, _TRACER)
        except (RpcRefused, NodeUnavailable) as error:
            if self._client.read("eth_getTransactionReceipt", txid) is None:
                raise Moved from None
            _log.warning("transaction %s cannot be traced: %s", txid, error.detail)
            return None
        return list(transfers_in(txid, trace))


def may_have_any(receipt: dict[str, object]) -> bool:
    """A transaction that took exactly the gas of a plain transfer ran no code."""
    return receipt.get("status") == "0x1" and receipt.get("gasUsed") != hex(PLAIN_GAS)


def transfers_in(txid: str, root: object) -> Iterator[InternalTransfer]:
    """The transfers below a transaction's own call, which its receipt shows."""
    waiting = [Record(root, "callTracer")]
    place = 0
    while waiting:
        frame = waiting.pop()
        if frame.has("error"):
            place += 1
            continue  # it, and all that it called, was undone
        kind = frame.text("type")
        if place > 0 and kind in _PAYS and frame.has("value") and frame.has("to"):
            units = frame.quantity("value")
            if units > 0:
                yield InternalTransfer(txid, place, frame.address("from"), frame.address("to"), units)
        if frame.has("calls"):
            waiting += [Record(item, "callTracer.calls") for item in reversed(frame.items("calls"))]
        place += 1
        if place > _FRAMES_MAX:
            raise NodeProtocolError("a trace has more frames than a block can pay for")
