"""Opening and reading on where a node says less than others do: blocks of long ago, no finality, no traces."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest

from ledger.errors import NodeProtocolError, NodeUnavailable
from wallets.ethereum.client import RpcRefused
from wallets.ethereum.keys import EthereumKeys
from wallets.ethereum.wallet import EthereumWallet
from wallets.protocol import Call, Spend

KEYS = EthereumKeys(b"\x05" * 32)
HOT = KEYS.address(0)
SOMEONE, CONTRACT = "0x" + "11" * 20, "0x" + "22" * 20


def named(height: int) -> str:
    return f"0x{height + 1:064x}"


def txid(height: int) -> str:
    return f"0xcc{height:062x}"


class Node:
    """A node of the main network with `length` blocks above its genesis, London at `london`; in each block a contract
    sends 5 wei on to the hot wallet. `answers` takes the place of what it says, by method."""

    def __init__(self, length: int = 3, london: int = 0, **answers: Any) -> None:
        self.length = length
        self.london = london
        self.answers = answers
        self.asked: list[str] = []

    def read(self, method: str, *params: Any) -> Any:
        self.asked.append(method)
        answer = self.answers.get("any", self.answers.get(method))
        if answer is None:
            answer = getattr(self, method)(*params)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def try_many(self, calls: list[tuple[str, list[Any]]]) -> list[Any]:
        answers = []
        for method, params in calls:
            try:
                answers.append(self.read(method, *params))
            except RpcRefused as refusal:
                answers.append(refusal)
        return answers

    def read_many(self, calls: list[tuple[str, list[Any]]]) -> list[Any]:
        return [self.read(method, *params) for method, params in calls]

    def eth_chainId(self) -> str:  # as the node names it
        return "0x1"

    def eth_getBlockByNumber(self, tag: str, _full: bool) -> Any:
        if tag == "finalized":
            return RpcRefused("eth_getBlockByNumber", -39001, "unknown block")
        height = self.length if tag == "latest" else int(tag, 16)
        block = {
            "number": hex(height),
            "hash": named(height),
            "parentHash": named(height - 1),
            "timestamp": "0x5",
            "transactions": [txid(height)] if height else [],
        }
        return block | ({} if height < self.london else {"baseFeePerGas": "0x7"})

    def eth_getBlockByHash(self, name: str, full: bool) -> Any:
        return self.eth_getBlockByNumber(hex(int(name, 16) - 1), full)

    def eth_getBlockReceipts(self, name: str) -> Any:
        height = int(name, 16) - 1
        receipt = {
            "transactionHash": txid(height),
            "blockHash": name,
            "status": "0x1",
            "from": SOMEONE,
            "to": CONTRACT,
            "gasUsed": "0x9999",
            "logs": [],
        }
        return [receipt] if height else []

    def eth_getBalance(self, _address: str, _tag: str) -> str:
        return "0x0"

    def eth_getTransactionCount(self, _address: str, _tag: str) -> str:
        return "0x0"

    def eth_maxPriorityFeePerGas(self) -> str:
        return "0x1"

    def debug_traceBlockByNumber(self, _tag: str, _tracer: object) -> Any:
        return []

    def debug_traceBlockByHash(self, name: str, _tracer: object) -> Any:
        inner = {"type": "CALL", "from": CONTRACT, "to": HOT.lower(), "value": "0x5"}
        root = {"type": "CALL", "from": SOMEONE, "to": CONTRACT, "value": "0x5", "calls": [inner]}
        return [{"txHash": txid(int(name, 16) - 1), "result": root}]


class Nobody:
    """A `Directory` before anything was handed out."""

    def ours(self, addresses: Collection[str]) -> Collection[str]:
        return ()

    def tokens(self) -> Collection[str]:
        return ()

    def account_public_key(self) -> str | None:
        return None


def wallet(node: Node, start_block: int | None = 2) -> EthereumWallet:
    return EthereumWallet(node, KEYS, Nobody(), 1, start_block=start_block)  # type: ignore[arg-type]


def no_answer(method: str) -> NodeUnavailable:
    return NodeUnavailable(f"{method}: no answer from the Ethereum node at localhost:8545 (timed out)")


# Blocks from before London


def test_a_chain_that_began_before_london_is_opened() -> None:
    assert wallet(Node(london=2)).open().genesis_hash == named(0)


@pytest.mark.parametrize("start_block", [None, 0, 2])
def test_a_first_reading_goes_over_blocks_without_a_base_fee(start_block: int | None) -> None:
    """With nothing final the genesis is where to go back to."""
    reader = wallet(Node(london=3), start_block)
    page = reader.deposits_since(None)
    assert (page.tip.hash, page.final_height) == (named(3), None)
    assert reader.deposits_since(page.cursor).tip == page.tip


def test_without_a_base_fee_nothing_is_proposed() -> None:
    with pytest.raises(NodeProtocolError, match="baseFeePerGas"):
        wallet(Node(london=4)).propose(Spend((), call=Call(CONTRACT, "0x")), 1, 100)


# Traces


def heights(node: Node) -> list[int]:
    """Where a page finds what the contract sent on."""
    page = wallet(node).deposits_since(None)
    assert page.tip.hash == named(node.length)
    return [int(deposit.txid[4:], 16) for deposit in page.deposits]


def test_what_contracts_send_on_is_found_where_the_node_traces() -> None:
    assert heights(Node()) == [2, 3]


def test_a_tip_that_takes_too_long_to_trace_hides_no_other_block() -> None:
    method = "debug_traceBlockByNumber"
    assert heights(Node(**{method: no_answer(method)})) == [2, 3]


def test_a_node_that_takes_too_long_over_each_trace_is_read_on_without() -> None:
    methods = ("debug_traceBlockByNumber", "debug_traceBlockByHash")
    assert heights(Node(**{method: no_answer(method) for method in methods})) == []


def test_a_node_that_goes_away_over_a_trace_is_not_read_on() -> None:
    methods = ("debug_traceBlockByNumber", "debug_traceBlockByHash", "eth_getBlockByHash")
    with pytest.raises(NodeUnavailable):
        wallet(Node(**{method: no_answer(method) for method in methods})).deposits_since(None)
    with pytest.raises(NodeUnavailable):
        wallet(Node(any=no_answer("any"))).deposits_since(None)


def test_a_node_without_traces_is_asked_for_one_once(caplog: pytest.LogCaptureFixture) -> None:
    methods = ("debug_traceBlockByNumber", "debug_traceBlockByHash")
    node = Node(**{method: RpcRefused(method, -32601, "the method does not exist") for method in methods})
    assert heights(node) == []
    assert len([method for method in node.asked if method.startswith("debug_")]) == 1
    assert [record.message for record in caplog.records if "offers no traces" in record.message]


def test_one_trace_that_is_refused_does_not_end_the_tracing() -> None:
    """The state of an old block is forgotten, that of the next one is there."""

    class Forgetful(Node):
        def debug_traceBlockByHash(self, name: str, tracer: object) -> Any:
            if name == named(2):
                return RpcRefused("debug_traceBlockByHash", -32000, "required historical state unavailable")
            return super().debug_traceBlockByHash(name, tracer)

    assert heights(Forgetful()) == [3]
