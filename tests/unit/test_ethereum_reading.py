"""Reading an Ethereum node strictly: fields, cursors, traces and a view of the chain that no dev node gives."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import pytest

from ledger.errors import NodeNotReady, NodeProtocolError, WrongNetwork
from wallets.ethereum import blocks, locator
from wallets.ethereum.client import RpcRefused
from wallets.ethereum.internal import transfers_in
from wallets.ethereum.locator import Mark
from wallets.ethereum.reply import Log, base_fee_of, block_of, quantity_of, receipt_of
from wallets.ethereum.state import TIP_AGE_SECONDS_MAX, NodeState
from wallets.ethereum.tokens import TRANSFER, transfer_call, transfers, uint_of, uint_or_none

HASH = "0x" + "ab" * 32
PARENT = "0x" + "cd" * 32
ONE, TWO = "0x" + "11" * 20, "0x" + "22" * 20

BLOCK = {
    "number": "0x10",
    "hash": HASH,
    "parentHash": PARENT,
    "timestamp": "0x5",
    "transactions": [HASH],
}
PRICED = BLOCK | {"baseFeePerGas": "0x7"}
RECEIPT = {
    "transactionHash": HASH,
    "blockHash": PARENT,
    "blockNumber": "0x10",
    "status": "0x1",
    "from": ONE,
    "to": TWO,
    "gasUsed": "0x5208",
    "effectiveGasPrice": "0x2",
    "contractAddress": None,
    "logs": [{"address": ONE, "topics": [HASH], "data": "0x", "removed": False}],
}


# Fields


@pytest.mark.parametrize("value", [None, 1, "1", "0x", "0xg", "-0x1", "0x1 ", "0x" + "1" * 65, True, 1.0])
def test_what_is_no_number_is_not_read_as_one(value: object) -> None:
    with pytest.raises(NodeProtocolError):
        quantity_of(value, "x")


def test_a_block_and_a_receipt_are_read() -> None:
    block = block_of(BLOCK, "x")
    assert (block.number, block.hash, block.parent, block.seconds, block.txids) == (16, HASH, PARENT, 5, (HASH,))
    receipt = receipt_of(RECEIPT, "x")
    assert (receipt.succeeded, receipt.fee_units, receipt.contract, receipt.to) == (True, 42_000, None, TWO)
    assert receipt.logs == (Log(ONE, (HASH,), "0x"),)


@pytest.mark.parametrize("name", BLOCK)
def test_a_block_without_a_field_is_an_error(name: str) -> None:
    for broken in ({k: v for k, v in BLOCK.items() if k != name}, BLOCK | {name: None}, BLOCK | {name: 5}):
        with pytest.raises(NodeProtocolError):
            block_of(broken, "x")


def test_a_base_fee_that_is_asked_for_must_be_there() -> None:
    """Blocks from before London have none: they can be read, and they give no price."""
    assert base_fee_of(PRICED, "x") == 7
    for broken in (BLOCK, BLOCK | {"baseFeePerGas": None}, BLOCK | {"baseFeePerGas": 7}, None):
        with pytest.raises(NodeProtocolError):
            base_fee_of(broken, "x")


@pytest.mark.parametrize("name", RECEIPT)
def test_a_receipt_without_a_field_is_an_error(name: str) -> None:
    for broken in ({k: v for k, v in RECEIPT.items() if k != name}, RECEIPT | {name: 5}):
        with pytest.raises(NodeProtocolError):
            receipt_of(broken, "x")
    assert receipt_of(RECEIPT | {"to": None}, "x").to is None


def test_a_receipt_that_is_neither_success_nor_failure_or_holds_removed_logs_is_an_error() -> None:
    removed = [dict(RECEIPT["logs"][0], removed=True)]  # type: ignore[call-overload,index]
    for broken in (RECEIPT | {"status": "0x2"}, RECEIPT | {"status": HASH}, RECEIPT | {"logs": removed}):
        with pytest.raises(NodeProtocolError):
            receipt_of(broken, "x")


def test_a_contract_that_answers_nothing_has_no_balance_of_zero() -> None:
    with pytest.raises(NodeProtocolError):
        uint_of("0x", "balanceOf")
    assert uint_of("0x" + "0" * 64, "balanceOf") == 0
    assert uint_or_none("0x", "balanceOf") is None


@pytest.mark.parametrize("answer", [None, 0, "", "no", "0x5"])
def test_what_is_no_data_is_the_nodes_fault_and_no_contracts(answer: object) -> None:
    with pytest.raises(NodeProtocolError):
        uint_or_none(answer, "balanceOf")


# Tokens


def word(address: str) -> str:
    return "0x" + "0" * 24 + address[2:]


def test_only_events_of_the_form_of_a_token_transfer_are_transfers() -> None:
    good = Log(ONE, (TRANSFER, word(ONE), word(TWO)), "0x" + f"{5:064x}")
    others = [
        Log(ONE, (TRANSFER, word(ONE), word(TWO), word(ONE)), "0x"),  # ERC-721
        Log(ONE, (HASH, word(ONE), word(TWO)), good.data),
        Log(ONE, (TRANSFER, word(ONE)), good.data),
        Log(ONE, (), good.data),
        Log(ONE, (TRANSFER, word(ONE), word(TWO)), "0x"),
        Log(ONE, (TRANSFER, word(ONE), word(TWO)), good.data + "00"),
    ]
    assert list(transfers([*others, good])) == [(6, ONE, ONE, TWO, 5)]


def test_a_transfer_call_holds_one_address_and_one_number() -> None:
    assert transfer_call(TWO, 5) == "0xa9059cbb" + "0" * 24 + TWO[2:] + f"{5:064x}"
    for units in (-1, 2**256):
        with pytest.raises(ValueError, match="uint256"):
            transfer_call(TWO, units)


# Cursors


def marks(*heights: int) -> list[Mark]:
    return [Mark(height, f"0x{height:064x}") for height in heights]


def test_a_cursor_is_read_as_it_was_written() -> None:
    found = marks(9, 8, 6, 2)
    assert locator.read(locator.written(found)) == found


@pytest.mark.parametrize(
    "cursor",
    [
        *("", "ab" * 32, "[]", "{}", "null", "[[1]]", '[["1","0x"]]', '[[1,"0x00"]]'),
        *(f'[[1,"{HASH}"],[2,"{HASH}"]]', f'[[1,"{HASH}"],[1,"{HASH}"]]'),
        *(f'[[-1,"{HASH}"]]', f'[[true,"{HASH}"]]', f'[[1.0,"{HASH}"]]'),
    ],
)
def test_what_is_no_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(NodeProtocolError):
        locator.read(cursor)


def test_marks_lie_ever_farther_apart_down_to_a_final_one() -> None:
    kept = [mark.height for mark in locator.thinned(marks(*range(1000, 0, -1)), 900)]
    assert kept[:12] == [1000, 999, 998, 997, 996, 995, 994, 993, 992, 990, 988, 986]
    assert kept[-1] == 900
    assert len(kept) <= 40


def test_the_oldest_mark_stays_where_nothing_is_final() -> None:
    for final in (None, 0):
        kept = [mark.height for mark in locator.thinned(marks(*range(1000, 5, -1)), final)]
        assert (kept[0], kept[-1]) == (1000, 6)
        assert len(kept) <= 50


@pytest.mark.parametrize("step", [1, 3, 100])
def test_thinning_again_and_again_keeps_few_marks_and_none_too_far_apart(step: int) -> None:
    known = marks(0)
    for height in range(step, 5000, step):
        read_now = marks(*range(height, height - step, -1))
        known = locator.thinned([*read_now, *known], max(0, height - 700))
        assert len(known) <= 60
        distances = [height - mark.height for mark in known]
        assert distances[0] == 0
        assert all(far <= 2 * near + 1 for near, far in pairwise(distances[:-1]))
        assert known[-1].height <= max(0, height - 700)


# Traces


def frame(kind: str = "CALL", value: str | None = "0x5", **more: object) -> dict[str, object]:
    return {"type": kind, "from": ONE, "to": TWO, "value": value, **more}


def found(*calls: dict[str, object], **root: object) -> list[int]:
    return [each.place for each in transfers_in(HASH, frame(calls=list(calls), **root))]


def test_inner_calls_that_move_money_are_found_in_their_order() -> None:
    nested = frame(calls=[frame(), frame("STATICCALL", None), frame("DELEGATECALL")])
    assert found(nested, frame("SELFDESTRUCT"), frame(value="0x0")) == [1, 2, 5]


def test_what_was_undone_moved_nothing() -> None:
    undone = frame(error="execution reverted", calls=[frame(), frame()])
    assert found(undone, frame()) == [2]
    assert found(frame(), error="out of gas") == []


def test_a_trace_without_what_it_must_have_is_an_error() -> None:
    for broken in (None, [], {"type": 5}, {"to": TWO}, frame(calls={}), frame(calls=[frame(value="5")])):
        with pytest.raises(NodeProtocolError):
            list(transfers_in(HASH, broken))


# Blocks in a row


class Chain:
    """Blocks by height, each told as the test says."""

    def __init__(self, *blocks: dict[str, object] | None) -> None:
        self.blocks = blocks

    def read_many(self, calls: list[tuple[str, list[Any]]]) -> list[Any]:
        return [self.blocks[int(params[0], 16)] for _, params in calls]


def link(height: int, branch: str = "a", parent: str | None = None) -> dict[str, object]:
    name = f"0x{ord(branch):02x}{height:062x}"
    return BLOCK | {
        "number": hex(height),
        "hash": name,
        "parentHash": parent or f"0x{ord(branch):02x}{height - 1:062x}",
    }


def test_headers_of_one_branch_follow_each_other() -> None:
    chain = Chain(link(0), link(1), link(2))
    read = blocks.follow(chain, [Mark(0, str(link(0)["hash"]))], 1, 2)  # type: ignore[arg-type]
    assert [block.number for block in read] == [1, 2]


@pytest.mark.parametrize(
    "chain",
    [Chain(link(0), link(1), link(2, "b")), Chain(link(0), link(1, "b"), link(2, "b")), Chain(link(0), link(1), None)],
)
def test_headers_of_two_branches_are_not_mixed(chain: Chain) -> None:
    with pytest.raises(blocks.Moved):
        blocks.follow(chain, [Mark(0, str(link(0)["hash"]))], 1, 2)  # type: ignore[arg-type]


def test_a_block_of_another_height_is_an_error() -> None:
    with pytest.raises(NodeProtocolError):
        blocks.follow(Chain(link(0), link(0)), [], 1, 1)  # type: ignore[arg-type]


def test_a_chain_that_does_not_hold_still_is_not_ready() -> None:
    tries: list[int] = []

    def moving() -> None:
        tries.append(1)
        raise blocks.Moved

    with pytest.raises(NodeNotReady):
        blocks.settled(moving)
    assert 1 < len(tries) < 20


# Whether the node's view may be relied on


class Node:
    """A healthy node of the main network, but for what the test says."""

    def __init__(self, **answers: Any) -> None:
        head = PRICED | {"number": hex(20_000_000), "timestamp": hex(int(time.time()) - 5)}
        self.answers: dict[str, Any] = {
            "eth_chainId": "0x1",
            "eth_syncing": False,
            "net_peerCount": "0x19",
            "eth_getBlockByNumber": head,
            "eth_maxPriorityFeePerGas": "0x3",
        } | answers

    def read(self, method: str, *params: object) -> Any:
        answer = self.answers[method]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def try_many(self, calls: list[tuple[str, list[object]]]) -> list[Any]:
        return [self.answers[method] for method, _ in calls]


def state(chain_id: int = 1, **answers: Any) -> NodeState:
    return NodeState(Node(**answers), None, chain_id)  # type: ignore[arg-type]


def aged(seconds: int) -> dict[str, Any]:
    return BLOCK | {"timestamp": hex(int(time.time()) - seconds)}


def test_a_node_that_is_up_to_date_with_peers_is_relied_on() -> None:
    health = state().health()
    assert health.ok
    assert health.tip is not None
    assert health.tip.height == 20_000_000


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ({"eth_syncing": {"currentBlock": "0x10", "highestBlock": "0x20"}}, "syncing"),
        ({"net_peerCount": "0x0"}, "no_peers"),
        ({"eth_getBlockByNumber": aged(TIP_AGE_SECONDS_MAX + 60)}, "stale_tip"),
        ({"eth_getBlockByNumber": None}, "unreadable"),
        ({"eth_syncing": True}, "unreadable"),
        ({"eth_chainId": RpcRefused("eth_chainId", -32601, "no such method")}, "unreadable"),
        ({"eth_getBlockByNumber": NodeNotReady("indexing")}, "syncing"),
    ],
)
def test_a_node_that_cannot_be_relied_on_says_why(answers: dict[str, Any], reason: str) -> None:
    health = state(**answers).health()
    assert (health.ok, health.reason) == (False, reason)


def test_a_development_chain_may_be_alone_and_old() -> None:
    assert state(31337, eth_chainId="0x7a69", net_peerCount="0x0", eth_getBlockByNumber=aged(10**6)).health().ok


def test_another_chain_is_refused_and_not_merely_unhealthy() -> None:
    with pytest.raises(WrongNetwork):
        state(eth_chainId="0xa").health()


def test_a_chain_that_got_shorter_is_not_believed_until_it_is_as_long_again() -> None:
    node = state()
    assert node.health().ok
    head = node._client.answers["eth_getBlockByNumber"]  # type: ignore[attr-defined]
    node._client.answers["eth_getBlockByNumber"] = head | {"number": hex(19_999_999)}  # type: ignore[attr-defined]
    assert node.health().reason == "syncing"
    node._client.answers["eth_getBlockByNumber"] = head  # type: ignore[attr-defined]
    assert node.health().ok


def test_the_market_leaves_room_for_the_base_fee_to_double() -> None:
    assert state().fee_market(1).rate == 2 * 7 + 3
    silent = state(eth_maxPriorityFeePerGas=RpcRefused("eth_maxPriorityFeePerGas", -32601, "no"))
    assert (silent.fee_market(5).rate, silent.fee_market(5).source) == (7, "fallback")
    assert silent.fee_market(100).rate == 100


def test_a_block_without_a_base_fee_gives_no_price() -> None:
    """Not even with a fallback: below the base fee nothing is mined."""
    for suggested in ("0x3", RpcRefused("eth_maxPriorityFeePerGas", -32601, "no")):
        node = state(eth_getBlockByNumber=BLOCK, eth_maxPriorityFeePerGas=suggested)
        with pytest.raises(NodeProtocolError, match="baseFeePerGas"):
            node.fee_market(5)
