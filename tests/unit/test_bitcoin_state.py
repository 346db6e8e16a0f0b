"""When a node's view may be relied on, and what it charges: answers that no regtest node gives."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any

import pytest

from ledger.errors import NodeNotReady, NodeProtocolError
from wallets.bitcoin.state import TIP_AGE_SECONDS_MAX, NodeState

TIP = {"blocks": 900_000, "bestblockhash": "ab" * 32}


class Node:
    """A healthy node of main, but for what the test says."""

    def __init__(self, **answers: dict[str, object] | list[object]) -> None:
        self.answers: dict[str, Any] = {
            "getblockchaininfo": {
                **TIP,
                "chain": "main",
                "headers": 900_000,
                "initialblockdownload": False,
                "time": int(time.time()) - 600,
            },
            "getwalletinfo": {"scanning": False},
            "getnetworkinfo": {"connections": 8},
            "estimatesmartfee": {"feerate": Decimal("0.00012345"), "blocks": 6},
            "getmempoolinfo": {"mempoolminfee": Decimal("0.00001"), "minrelaytxfee": Decimal("0.000001")},
        }
        for method, fields in answers.items():
            self.answers[method] = {**self.answers.get(method, {}), **fields} if isinstance(fields, dict) else fields

    def read(self, method: str, *params: object) -> Any:
        answer = self.answers[method]
        return answer.pop(0) if isinstance(answer, list) else answer


def state(**answers: dict[str, object] | list[object]) -> NodeState:
    return NodeState(Node(**answers), "main")  # type: ignore[arg-type]


def test_a_node_that_is_up_to_date_with_peers_is_relied_on() -> None:
    health = state().health()
    assert health.ok
    assert health.tip is not None
    assert health.tip.height == 900_000


@pytest.mark.parametrize(
    ("method", "fields", "reason"),
    [
        ("getblockchaininfo", {"headers": 900_002}, "syncing"),
        ("getblockchaininfo", {"initialblockdownload": True}, "syncing"),
        ("getblockchaininfo", {"time": int(time.time()) - TIP_AGE_SECONDS_MAX - 60}, "stale_tip"),
        ("getwalletinfo", {"scanning": {"duration": 3, "progress": Decimal("0.5")}}, "syncing"),
        ("getnetworkinfo", {"connections": 0}, "no_peers"),
        ("getblockchaininfo", {"blocks": "900000"}, "unreadable"),
        ("getnetworkinfo", {"connections": None}, "unreadable"),
    ],
)
def test_a_node_whose_view_is_old_or_unclear_is_not_relied_on(
    method: str, fields: dict[str, object], reason: str
) -> None:
    health = state(**{method: fields}).health()
    assert (health.ok, health.reason) == (False, reason)
    assert health.detail


def test_the_moment_between_a_header_and_its_block_is_no_alarm() -> None:
    assert state(getblockchaininfo={"headers": 900_001}).health().ok


def test_a_fee_estimate_is_in_satoshi_per_1000_vbytes_and_never_below_the_pool() -> None:
    market = state().fee_market(6, 1)
    assert (market.rate, market.source) == (12_345, "estimate")
    market = state(getmempoolinfo={"mempoolminfee": Decimal("0.0005")}).fee_market(6, 1)
    assert (market.rate, market.source) == (50_000, "estimate")


def test_a_renamed_field_is_an_error_and_no_free_transaction() -> None:
    node = state()
    node._client.answers["getmempoolinfo"].pop("minrelaytxfee")  # type: ignore[attr-defined]
    with pytest.raises(NodeProtocolError, match="minrelaytxfee"):
        node.fee_market(6, 1)


def balances(trusted: str) -> dict[str, object]:
    zero = Decimal("0E-8")
    mine = {"trusted": Decimal(trusted), "untrusted_pending": zero, "immature": zero}
    return {"mine": mine, "lastprocessedblock": {"height": 900_000, "hash": "ab" * 32}}


def test_a_balance_is_read_again_when_it_changed_meanwhile() -> None:
    readings = [balances("1.0"), balances("2.0"), balances("2.0"), balances("2.0")]
    coins = [[{"amount": Decimal("1.0"), "spendable": True}], [{"amount": Decimal("1.5"), "spendable": True}]]
    balance = state(getbalances=readings, listunspent=coins).balance()
    assert (balance.total_units, balance.spendable_units) == (200_000_000, 150_000_000)


def test_a_balance_that_never_holds_still_is_not_guessed() -> None:
    readings = [balances(f"{n}.0") for n in range(1, 30)]
    with pytest.raises(NodeNotReady):
        state(getbalances=readings, listunspent=[[]] * 30).balance()
