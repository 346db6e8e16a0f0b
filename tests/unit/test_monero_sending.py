"""What refusals of monerod and shortages of the wallet mean, on answers that a test makes up."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from ledger.errors import FundsLocked, InsufficientHotFunds, NodeNotReady, NodeProtocolError, TransactionRefused
from wallets.monero.client import MoneroClient, RpcRefused
from wallets.monero.coins import Coin, Coins
from wallets.monero.holds import Holds
from wallets.monero.marks import Marks
from wallets.monero.sending import Sending
from wallets.monero.shortage import shortage
from wallets.protocol import SignedTransaction, TxState, TxStatus

SAMPLE = json.loads(Path(__file__).with_name("monero_transactions.json").read_text("ascii"))["transactions"][
    "one payee"
]
TXID, RAW, IMAGES = SAMPLE["txid"], SAMPLE["blob"], tuple(SAMPLE["key_images"])
TX = SignedTransaction(TXID, RAW, SAMPLE["fee_units"], IMAGES)
XMR = 10**12

Answer = Callable[..., Any] | object


class Node:
    """Answers by method; keeps what was changed. An answer that is an exception is raised, one that can be called is
    asked."""

    def __init__(self, **answers: Answer) -> None:
        self.wallet = "coffer"
        self.changed: list[tuple[str, dict[str, Any]]] = []
        self.answers: dict[str, Answer] = {
            "get_attribute": {"value": "coffer"},
            "get_transactions": {"missed_tx": [TXID]},
            "is_key_image_spent": {"spent_status": [0]},
            "incoming_transfers": {},
            "get_transfers": {},
        } | answers

    def read(self, method: str, **params: Any) -> Any:
        answer = self.answers[method]
        if isinstance(answer, Exception):
            raise answer
        return answer(**params) if callable(answer) else answer

    daemon = daemon_path = read

    def change(self, method: str, **params: Any) -> Any:
        self.changed.append((method, params))
        return self.read(method, **params) if method in self.answers else {}

    def push(self, raw: str) -> Any:
        return self.read("push", raw=raw)

    def client(self) -> MoneroClient:
        return cast(MoneroClient, self)


def sending(node: Node) -> Sending:
    return Sending(node.client(), Marks(node.client()))


def refusal(**flags: bool) -> dict[str, object]:
    return {"status": "Failed", "reason": "", **flags}


@pytest.mark.parametrize(
    ("flags", "spent", "invalid"),
    [
        ({"invalid_input": True}, 0, True),
        ({"invalid_input": True}, 1, False),
        ({"invalid_input": True}, 2, False),
        ({"invalid_input": True, "double_spend": True}, 0, False),
        ({"double_spend": True}, 1, False),
        ({"fee_too_low": True}, 0, False),
        ({}, 0, False),
    ],
)
def test_only_bad_inputs_whose_outputs_nobody_spent_are_beyond_hope(
    flags: dict[str, bool], spent: int, invalid: bool
) -> None:
    node = Node(push=refusal(**flags), is_key_image_spent={"spent_status": [spent]})
    with pytest.raises(TransactionRefused) as refused:
        sending(node).push(TX)
    assert refused.value.invalid is invalid


def test_a_refusal_of_what_the_daemon_has_is_no_refusal() -> None:
    known = {"txs": [{"tx_hash": TXID, "in_pool": True}]}
    sending(Node(push=refusal(double_spend=True), get_transactions=known)).push(TX)


def test_a_daemon_that_catches_up_decides_nothing() -> None:
    with pytest.raises(NodeNotReady):
        sending(Node(push={"status": "BUSY"})).push(TX)
    with pytest.raises(NodeProtocolError):
        sending(Node(push={})).push(TX)
    with pytest.raises(NodeProtocolError):
        sending(Node(push=refusal(), get_transactions={})).push(TX)


def test_answers_about_something_else_are_not_taken_for_an_answer() -> None:
    for statuses in ([], [0, 0], [3], [True]):
        with pytest.raises(NodeProtocolError):
            sending(Node(is_key_image_spent={"spent_status": statuses})).look_up(TX)


def test_what_waits_in_the_pool_for_the_same_output_is_named() -> None:
    entries = [
        {"id_hash": IMAGES[0], "txs_hashes": ["aa" * 32]},
        {"id_hash": "00" * 32, "txs_hashes": ["bb" * 32]},
    ]
    node = Node(is_key_image_spent={"spent_status": [2]}, get_transaction_pool={"spent_key_images": entries})
    status = sending(node).look_up(TX)
    assert (status.state, status.conflicting) == (TxState.UNKNOWN, ("aa" * 32,))


# Rivals: what the wallet sent, and the daemon's word on what each of that spends. The tip is at height 999


def mined(txid: str, height: int, *images: str, **fields: object) -> dict[str, object]:
    """As a daemon that has pruned its chain answers: without the bytes, which end in proofs that it threw away."""
    body = json.dumps({"version": 2, "vin": [{"key": {"amount": 0, "k_image": image}} for image in images]})
    entry = {"tx_hash": txid, "as_hex": "", "pruned_as_hex": "02", "as_json": body}
    return entry | {"in_pool": False, "block_height": height, **fields}


def lost_to(sent: list[dict[str, Any]], images: tuple[str, ...] = IMAGES) -> tuple[TxStatus, list[list[str]]]:
    """What is said of a payment of these outputs, all spent in the chain, and which rivals were asked about at once."""
    asked: list[list[str]] = []
    known = {entry["tx_hash"]: entry for entry in sent}

    def get_transactions(txs_hashes: list[str], **_: object) -> dict[str, object]:
        asked.append(txs_hashes)
        return {
            "txs": [known[txid] for txid in txs_hashes if txid in known],
            "missed_tx": [txid for txid in txs_hashes if txid not in known],
        }

    listed = [{"txid": entry["tx_hash"], "height": entry["block_height"]} for entry in sent]
    node = Node(
        get_transactions=get_transactions,
        get_transfers={"out": listed},
        is_key_image_spent={"spent_status": [1] * len(images)},
        get_last_block_header={"block_header": {"height": 999, "hash": "ff" * 32}},
        get_height={"height": 1000},
        refresh={},
    )
    status = sending(node).look_up(SignedTransaction(TXID, RAW, SAMPLE["fee_units"], images))
    assert asked.pop(0) == [TXID]
    return status, asked


def number(place: int) -> str:
    return f"{place:064x}"


def test_a_rival_is_found_where_the_daemon_has_pruned_what_came_before_it() -> None:
    """The bytes of the newest are there, those of the older ones are not."""
    sent = [mined(number(1), 10, "01" * 32), mined(number(2), 990, *IMAGES, as_hex=RAW)]
    status, _ = lost_to(sent)
    assert (status.state, status.depth, status.conflicting) == (TxState.CONFLICTED, 10, (number(2),))


def test_a_rival_of_any_kind_is_found_by_what_the_daemon_reads_in_it() -> None:
    """Also among coins of ours that were mined, and payments of another time or another wallet program."""
    odd = mined(number(1), 995, as_hex="01ff", as_json='{"version": 1, "vin": [{"gen": {"height": 995}}]}')
    status, _ = lost_to([odd, mined(number(2), 990, "01" * 32, *IMAGES, as_hex="02" + "07" * 40)])
    assert (status.state, status.conflicting) == (TxState.CONFLICTED, (number(2),))


def test_rivals_are_looked_for_in_pieces_from_the_newest_on_until_each_output_has_its_own() -> None:
    others = [mined(number(place), place, f"{place:02x}" * 32) for place in range(1, 250)]
    _, asked = lost_to([*others, mined(number(500), 500, *IMAGES)])
    assert [(len(txids), txids[0]) for txids in asked] == [(100, number(500))]
    status, asked = lost_to([mined(number(900), 0, *IMAGES), *others])
    assert (status.depth, status.conflicting) == (1000, (number(900),))
    assert [len(txids) for txids in asked] == [100, 100, 50]
    two = (*IMAGES, "ee" * 32)
    status, asked = lost_to([mined(number(900), 150, *IMAGES), *others, mined(number(901), 600, two[1])], two)
    assert (status.depth, status.conflicting) == (850, (number(900), number(901)))
    assert [len(txids) for txids in asked] == [100, 100]


def test_a_rival_that_left_its_block_settles_nothing() -> None:
    with pytest.raises(NodeProtocolError, match="does not list"):
        lost_to([mined(number(1), 990, *IMAGES, in_pool=True)])


def test_a_transaction_that_the_daemon_does_not_read_is_not_passed_over() -> None:
    for text in ("", "[]", '{"vin": [{"key": {}}]}'):
        with pytest.raises(NodeProtocolError, match="cannot be read"):
            lost_to([mined(number(1), 990, *IMAGES, as_json=text)])


# Shortages: the chain has 100 blocks


def coin(units: int, height: int = 1, *, unlocked: bool = True, frozen: bool = False, minor: int = 1) -> Coin:
    return Coin("aa" * 32, f"{'bb' * 32}:0:{minor}", 0, minor, units, height, unlocked, frozen)


def short(
    needed: int, coins: list[Coin], balance: int | None = None, waits: dict[int, int] | None = None
) -> int | None:
    """Blocks to wait; None: waiting does not help."""
    known = sum(each.units for each in coins if not each.frozen)
    per_address = [{"address_index": minor, "blocks_to_unlock": blocks} for minor, blocks in (waits or {}).items()]
    node = Node(
        get_balance={"balance": known if balance is None else balance, "per_subaddress": per_address},
        get_height={"height": 100},
    )

    class Known:
        def unspent(self, account: int) -> list[Coin]:
            return coins

    found = shortage(node.client(), cast(Coins, Known()), 0, needed, coins, "not enough")
    assert isinstance(found, InsufficientHotFunds)
    return found.blocks if isinstance(found, FundsLocked) else None


def test_a_shortage_ends_when_enough_outputs_unlock() -> None:
    locked = [coin(XMR, 98, unlocked=False), coin(XMR, 95, unlocked=False), coin(XMR)]
    assert short(2 * XMR, locked) == 5
    assert short(3 * XMR, locked) == 8
    assert short(4 * XMR, locked) is None


def test_change_of_what_was_sent_and_what_is_held_come_back_later() -> None:
    assert short(XMR, [], balance=XMR) == 10
    assert short(XMR, [coin(XMR, frozen=True)]) == 11
    assert short(2 * XMR, [coin(XMR, frozen=True)]) is None


def test_mined_outputs_and_unlock_times_take_as_long_as_the_wallet_says() -> None:
    assert short(XMR, [coin(XMR, 98, unlocked=False, minor=0)], waits={0: 58}) == 58
    assert short(XMR, [coin(XMR, 50, unlocked=False)], waits={1: 7}) == 7


# Holds and marks


def holds(node: Node) -> Holds:
    return Holds(node.client(), Coins(node.client()), Marks(node.client()))


def test_what_the_wallet_does_not_know_is_passed_over_and_nothing_is_stored_for_it() -> None:
    for error in (RpcRefused("frozen", -1, "Key image not found"), RpcRefused("frozen", -10, "failed to parse")):
        node = Node(frozen=error)
        holds(node).hold(["aa" * 32])
        assert node.changed == []
    for error in (RpcRefused("frozen", -1, "disk full"), RpcRefused("frozen", -4, "other")):
        with pytest.raises(RpcRefused):
            holds(Node(frozen=error)).hold(["aa" * 32])


def test_only_what_changes_is_frozen_and_then_stored() -> None:
    node = Node(frozen=lambda key_image: {"frozen": key_image == "aa"})
    holds(node).hold(["bb", "aa"])
    assert [method for method, _ in node.changed] == ["freeze", "store"]
    node.changed.clear()
    holds(node).free(["bb"])
    assert node.changed == []


def test_another_open_wallet_is_not_asked_about_holds() -> None:
    node = Node(get_attribute={"value": "somebody's"}, frozen={"frozen": False})
    for call in (lambda: holds(node).hold(["aa"]), lambda: holds(node).free(["aa"]), holds(node).held):
        with pytest.raises(NodeNotReady):
            call()
    assert node.changed == []


def test_outputs_left_alone_for_a_moment_are_given_back_whatever_happens() -> None:
    node = Node()
    with pytest.raises(ZeroDivisionError), holds(node).meanwhile([coin(1)], [coin(2)]):
        raise ZeroDivisionError
    assert [method for method, _ in node.changed] == ["freeze", "thaw", "freeze", "thaw"]


def test_a_note_that_cannot_be_read_is_not_taken_for_none() -> None:
    for text in ("{}", "[true]", "[", '["1"]'):
        with pytest.raises(NodeProtocolError):
            Marks(Node(get_attribute={"value": text}).client()).accounts()
    assert Marks(Node(get_attribute=RpcRefused("get_attribute", -45, "no")).client()).accounts() == []
