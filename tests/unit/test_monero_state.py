"""What the wallet's and the node's answers are taken to mean: health, balance, fees, and answers that mean nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from ledger.errors import NodeNotReady, NodeProtocolError, NodeUnavailable, WrongNetwork
from wallets.monero.client import RpcRefused
from wallets.monero.daemon import Daemon
from wallets.monero.deposits import Deposits
from wallets.monero.reply import Record
from wallets.monero.state import NodeState

HASH = "ab" * 32


class Answers:
    """A client whose every method has one answer, or one that a function makes; a refusal or error is raised."""

    wallet = "hot"

    def __init__(self, **changes: object) -> None:
        header = {"height": 99, "hash": HASH, "timestamp": int(time.time()) - 300}
        self.answers: dict[str, Any] = {
            "get_info": {
                "nettype": "mainnet",
                "height": 100,
                "target_height": 100,
                "top_block_hash": HASH,
                "synchronized": True,
                "busy_syncing": False,
                "outgoing_connections_count": 8,
                "incoming_connections_count": 0,
            },
            "get_last_block_header": {"block_header": header},
            "get_block_header_by_height": {"block_header": header},
            "get_attribute": {"value": "hot"},
            "get_height": {"height": 100},
            "refresh": {},
            "get_transfers": {},
            "incoming_transfers": {},
            "get_accounts": {"subaddress_accounts": [{"account_index": 0}]},
            "get_balance": {"balance": 0, "unlocked_balance": 0, "blocks_to_unlock": 0, "time_to_unlock": 0},
            "get_fee_estimate": {"fees": [20_000, 80_000, 320_000, 4_000_000]},
            "get_transactions": {},
        }
        for name, change in changes.items():
            before = self.answers.get(name)
            self.answers[name] = before | change if isinstance(before, dict) and isinstance(change, dict) else change
        self.calls: list[str] = []

    def read(self, method: str, **params: object) -> Any:
        self.calls.append(method)
        answer = self.answers[method]
        answer = answer(**params) if callable(answer) else answer
        if isinstance(answer, Exception):
            raise answer
        return answer

    daemon = daemon_path = read


def state(client: Answers, network: str = "mainnet", layout: str = "subaddress") -> NodeState:
    return NodeState(client, network, layout)  # type: ignore[arg-type]


def test_a_synchronised_node_and_wallet_are_well() -> None:
    health = state(Answers()).health()
    assert (health.ok, health.reason) == (True, "")
    assert health.tip is not None
    assert (health.tip.height, health.tip.hash) == (99, HASH)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"get_info": {"synchronized": False}}, "syncing"),
        ({"get_info": {"busy_syncing": True}}, "syncing"),
        ({"get_info": {"target_height": 102}}, "syncing"),
        ({"get_height": {"height": 101}}, "syncing"),
        ({"get_height": {"height": 99}}, "syncing"),
        ({"get_last_block_header": {"block_header": {"height": 99, "hash": HASH, "timestamp": 1}}}, "stale_tip"),
        ({"get_info": {"outgoing_connections_count": 0}}, "no_peers"),
        ({"get_attribute": {"value": "another"}}, "no_wallet"),
        ({"get_attribute": RpcRefused("get_attribute", -45, "Attribute not found.")}, "no_wallet"),
        ({"get_info": NodeUnavailable("no answer")}, "unreachable"),
        ({"get_info": NodeUnavailable("401", reason="credentials")}, "credentials"),
        ({"refresh": NodeNotReady("no daemon", reason="unreachable")}, "unreachable"),
        ({"get_height": NodeUnavailable("timed out")}, "unreachable"),
        ({"get_height": {"height": "100"}}, "unreadable"),
        ({"get_info": {"height": -1}}, "unreadable"),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, object], reason: str) -> None:
    health = state(Answers(**changes)).health()
    assert (health.ok, health.reason) == (False, reason)
    assert health.detail


def test_a_new_block_that_is_on_its_way_is_no_reason_to_stop() -> None:
    assert state(Answers(get_info={"target_height": 101})).health().ok
    assert state(Answers(get_info={"target_height": 0})).health().ok  # a node without peers has heard of none


def test_a_restricted_port_does_not_tell_of_peers() -> None:
    assert state(Answers(get_info={"restricted": True, "outgoing_connections_count": 0})).health().ok


@pytest.mark.parametrize("nettype", ["testnet", "stagenet", "fakechain"])
def test_another_network_is_the_one_error_that_health_raises(nettype: str) -> None:
    with pytest.raises(WrongNetwork):
        state(Answers(get_info={"nettype": nettype})).health()


def test_a_lone_regtest_node_is_neither_old_nor_alone() -> None:
    old = {"block_header": {"height": 99, "hash": HASH, "timestamp": 1}}
    info = {"nettype": "fakechain", "outgoing_connections_count": 0, "target_height": 0}
    assert state(Answers(get_info=info, get_last_block_header=old), "regtest").health().ok


def test_a_chain_that_got_shorter_is_not_believed_until_it_is_as_long_again() -> None:
    client = Answers()
    node = state(client)
    assert node.health().ok
    short = {"block_header": {"height": 97, "hash": HASH, "timestamp": int(time.time())}}
    client.answers |= {
        "get_info": client.answers["get_info"] | {"height": 98, "target_height": 98},
        "get_last_block_header": short,
        "get_height": {"height": 98},
    }
    assert (node.health().reason, state(client).health().ok) == ("syncing", True)


def output(units: int, **fields: object) -> dict[str, object]:
    return {
        "key_image": f"{units:064x}",
        "tx_hash": HASH,
        "subaddr_index": {"major": 0, "minor": 1},
        "amount": units,
        "block_height": 50,
        "spent": False,
        "unlocked": True,
        "frozen": False,
    } | fields


def test_frozen_outputs_are_ours_and_cannot_be_spent() -> None:
    coins = {"transfers": [output(5, frozen=True), output(7)]}
    found = state(Answers(get_balance={"balance": 7, "unlocked_balance": 7}, incoming_transfers=coins)).balance()
    assert (found.total_units, found.spendable_units, found.locked_units) == (12, 7, 0)
    assert found.unlocks_in_blocks is None


@pytest.mark.parametrize(
    ("sums", "coins", "blocks"),
    [
        ({"blocks_to_unlock": 4}, [output(9, unlocked=False)], 4),
        ({"blocks_to_unlock": 0}, [], 10),  # change that no block holds yet
        ({"blocks_to_unlock": 4}, [output(5, unlocked=False)], 10),  # and some that one does
        ({"time_to_unlock": 601}, [output(9, unlocked=False)], 6),  # an unlock time in seconds
    ],
)
def test_locked_money_is_told_with_the_blocks_it_takes(
    sums: dict[str, object], coins: list[dict[str, object]], blocks: int
) -> None:
    client = Answers(get_balance={"balance": 9} | sums, incoming_transfers={"transfers": coins})
    found = state(client).balance()
    assert (found.total_units, found.spendable_units, found.locked_units) == (9, 0, 9)
    assert found.unlocks_in_blocks == blocks


@pytest.mark.parametrize(
    "changes",
    [
        {"get_balance": {"balance": 5, "unlocked_balance": 6}},
        {"get_balance": {"balance": None}},
        {"get_balance": {"balance": 2**64}},
        {"get_accounts": {"subaddress_accounts": None}},
        {"incoming_transfers": {"transfers": [{"amount": 5}]}},
        {"get_transfers": {"pool": [{"txid": HASH}]}},
    ],
)
def test_a_balance_that_makes_no_sense_is_an_error_and_never_zero(changes: dict[str, object]) -> None:
    with pytest.raises(NodeProtocolError):
        state(Answers(**changes)).balance()


def test_a_balance_that_never_stands_still_is_not_given() -> None:
    units = iter(range(1, 1000))

    def moving(**_: object) -> dict[str, int]:
        return {"balance": next(units), "unlocked_balance": 0, "blocks_to_unlock": 0, "time_to_unlock": 0}

    with pytest.raises(NodeNotReady, match="faster"):
        state(Answers(get_balance=moving)).balance()


def test_the_price_is_the_nodes_or_the_fallback_where_it_has_none() -> None:
    node = state(Answers())
    assert [node.fee_market(blocks, 7).rate for blocks in (6, 3, 1)] == [20_000, 80_000, 320_000]
    found = state(Answers(get_fee_estimate=RpcRefused("get_fee_estimate", 0, "Failed"))).fee_market(6, 7)
    assert (found.rate, found.source) == (7, "fallback")
    for odd in ([], [0], ["1"], None):
        with pytest.raises(NodeProtocolError):
            state(Answers(get_fee_estimate={"fees": odd})).fee_market(6, 7)


# Deposits and the daemon's word


def deposits(client: Answers) -> Deposits:
    return Deposits(client)  # type: ignore[arg-type]


def entry(**fields: object) -> dict[str, object]:
    return {
        "txid": HASH,
        "subaddr_index": {"major": 0, "minor": 1},
        "address": "an address",
        "amount": 5,
        "height": 50,
        "type": "in",
        "unlock_time": 0,
        "locked": False,
    } | fields


@pytest.mark.parametrize("field", ["txid", "subaddr_index", "address", "amount", "height", "type", "unlock_time"])
def test_a_deposit_with_a_field_missing_is_an_error_and_none_is_skipped(field: str) -> None:
    broken = entry()
    del broken[field]
    client = Answers(get_transfers={"in": [entry(), broken]})
    with pytest.raises(NodeProtocolError):
        deposits(client).since(None)


@pytest.mark.parametrize("amount", [-1, 2**64, "5", 5.0, True, None])
def test_an_amount_that_is_no_whole_number_of_piconero_is_an_error(amount: object) -> None:
    """FAULTS F15."""
    with pytest.raises(NodeProtocolError):
        deposits(Answers(get_transfers={"in": [entry(amount=amount)]})).since(None)


def test_what_the_wallet_has_in_its_pool_and_the_daemon_has_not_is_not_told() -> None:
    waiting = {"pool": [entry(type="pool", height=0)]}
    held = {"txs": [{"tx_hash": HASH, "in_pool": True, "double_spend_seen": False}]}
    assert len(deposits(Answers(get_transfers=waiting, get_transactions=held)).since(None).deposits) == 1
    gone = {"missed_tx": [HASH]}
    assert deposits(Answers(get_transfers=waiting, get_transactions=gone)).since(None).deposits == ()


def test_a_cursor_from_a_chain_that_was_replaced_is_read_from_the_start() -> None:
    """A reorganisation deeper than the cursor: the node still knows its block, as one of the chain that lost."""
    asked: list[dict[str, object]] = []

    def listing(**params: object) -> dict[str, object]:
        asked.append(params)
        return {}

    known = {"block_header": {"height": 40, "hash": "cd" * 32}}
    client = Answers(get_transfers=listing, get_block_header_by_hash=known)
    deposits(client).since(f"40:{'cd' * 32}")
    assert "min_height" not in asked[0]
    deposits(client).since(f"40:{HASH}")
    assert (asked[1]["min_height"], asked[1]["filter_by_height"]) == (40, True)


def test_deposits_are_not_told_while_the_chain_moves() -> None:
    heights = iter(range(1000))

    def moving(**_: object) -> dict[str, object]:
        return {"block_header": {"height": 99, "hash": f"{next(heights):064x}"}}

    with pytest.raises(NodeNotReady):
        deposits(Answers(get_last_block_header=moving)).since(None)


@pytest.mark.parametrize(
    "reply",
    [
        {},
        {"missed_tx": [HASH, HASH[::-1]]},
        {"txs": [{"tx_hash": HASH, "in_pool": True, "double_spend_seen": False}], "missed_tx": [HASH]},
        {"txs": [{"tx_hash": HASH, "in_pool": False, "double_spend_seen": False}]},
        {"txs": [{"tx_hash": HASH, "in_pool": True}]},
    ],
)
def test_the_daemon_must_answer_for_each_transaction_once(reply: dict[str, object]) -> None:
    with pytest.raises(NodeProtocolError):
        Daemon(Answers(get_transactions=reply)).whereabouts([HASH])  # type: ignore[arg-type]


def test_many_transactions_are_asked_for_in_pieces() -> None:
    sizes: list[int] = []

    def answer(txs_hashes: list[str], **_: object) -> dict[str, object]:
        sizes.append(len(txs_hashes))
        return {"missed_tx": txs_hashes}

    found = Daemon(Answers(get_transactions=answer)).whereabouts(  # type: ignore[arg-type]
        f"{number:064x}" for number in [*range(250), 3]
    )
    assert (found, sizes) == ({}, [100, 100, 50])


@pytest.mark.parametrize(
    "read", [lambda r: r.some_records("a"), lambda r: r.some_texts("a"), lambda r: r.some_integers("a")]
)
def test_an_absent_list_is_empty_and_a_mistyped_one_is_an_error(read: Callable[[Record], list[object]]) -> None:
    assert list(read(Record({}, "call"))) == []
    for odd in (None, {}, "x", [None]):
        with pytest.raises(NodeProtocolError, match="call"):
            read(Record({"a": odd}, "call"))
