"""A wallet on main is never made here, and never used without a passphrase; what the node lacks is told."""

from __future__ import annotations

from typing import Any

import pytest

from ledger.errors import NodeNotReady, NodeProtocolError, WrongNetwork
from wallets.bitcoin.client import RpcRefused
from wallets.bitcoin.keys import WalletKeys

XPUB = "xpub6CatWdiZiodmUeTDp8LT5or8nmbKNcuyvz7WyksVFkKB4RHwCD3XyuvPEbvqAQY3rAPshWcMLoP2fMFMKHPJ4ZeZXYVUhLv1VMrjPC7PW6V"
DERIVED = ["bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu", "bc1qnjg0jd8228aq7egyzacy8cys3knf9xvrerkf9g"]


def descriptor(**fields: object) -> dict[str, object]:
    text = f"wpkh([73c5da0a/84h/0h/0h]{XPUB}/0/*)#wc3n3van"
    return {"desc": text, "active": True, "internal": False, "range": [0, 999], "next_index": 0, **fields}


class Node:
    """Answers each method with what the test sets; errors are raised."""

    def __init__(self, **answers: object) -> None:
        self.changed: list[str] = []
        self.answers: dict[str, object] = {
            "getblockchaininfo": {"chain": "main"},
            "getwalletinfo": {"descriptors": True, "private_keys_enabled": True, "unlocked_until": 0},
            "walletpassphrase": None,
            "listdescriptors": {"descriptors": [descriptor()]},
            "deriveaddresses": DERIVED,
            "getblockhash": "00" * 32,
            "listwalletdir": {"wallets": []},
            **answers,
        }

    def read(self, method: str, *params: object) -> Any:
        answer = self.answers[method]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def change(self, method: str, *params: object) -> Any:
        self.changed.append(method)
        return self.read(method, *params)


def keys(node: Node) -> WalletKeys:
    return WalletKeys(node, "main", "coffer", "open sesame")  # type: ignore[arg-type]


def test_a_sound_wallet_on_main_opens_with_its_bare_account_key() -> None:
    assert keys(Node()).open().account_public_key == XPUB


def test_a_missing_wallet_on_main_is_not_made_and_the_operator_told_how() -> None:
    node = Node(getwalletinfo=NodeNotReady("no such wallet"))
    with pytest.raises(NodeNotReady, match="createwallet wallet_name=coffer"):
        keys(node).open()
    assert node.changed == []


def test_a_wallet_on_main_without_passphrase_is_refused() -> None:
    with pytest.raises(NodeNotReady, match="must have one"):
        keys(Node(getwalletinfo={"descriptors": True, "private_keys_enabled": True})).open()


def test_another_chain_is_refused_before_anything_else() -> None:
    node = Node(getblockchaininfo={"chain": "signet"})
    with pytest.raises(WrongNetwork):
        keys(node).open()
    assert node.changed == []


@pytest.mark.parametrize(
    "info",
    [
        {"descriptors": False, "private_keys_enabled": True, "unlocked_until": 0},
        {"descriptors": True, "private_keys_enabled": False, "unlocked_until": 0},
    ],
)
def test_a_wallet_that_cannot_spend_or_has_no_descriptors_is_refused(info: dict[str, object]) -> None:
    with pytest.raises(NodeNotReady, match="descriptor wallet with private keys"):
        keys(Node(getwalletinfo=info)).open()


@pytest.mark.parametrize(
    "found", [[], [descriptor(), descriptor()], [descriptor(active=False)], [descriptor(internal=True)]]
)
def test_exactly_one_chain_of_receiving_addresses_is_needed(found: list[object]) -> None:
    with pytest.raises(NodeNotReady, match="not one"):
        keys(Node(listdescriptors={"descriptors": found})).open()


def test_a_node_that_derives_other_addresses_is_refused() -> None:
    with pytest.raises(NodeProtocolError, match="other addresses"):
        keys(Node(deriveaddresses=DERIVED[::-1])).open()


def test_a_range_that_does_not_grow_is_an_error_not_a_promise() -> None:
    node = Node(keypoolrefill=None)
    assert keys(node).watch(1_000) == 1_000
    assert node.changed == []
    with pytest.raises(NodeProtocolError, match="watches 1000 addresses"):
        keys(node).watch(1_001)
    node = Node(listdescriptors={"descriptors": [descriptor(range=[5, 999])]})
    with pytest.raises(NodeProtocolError, match="does not start at 0"):
        keys(node).watch(1_001)


def test_a_refusal_other_than_locked_is_not_answered_with_the_passphrase() -> None:
    node = Node(keypoolrefill=RpcRefused("keypoolrefill", -4, "disk full"), walletpassphrase=AssertionError("asked"))
    with pytest.raises(RpcRefused, match="disk full"):
        keys(node).watch(2_000)
