"""A signer that does something else than it was told is found out before its bytes are stored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ledger.errors import NodeProtocolError
from wallets.ethereum.keys import EthereumKeys, SignedBytes
from wallets.ethereum.signing import signed_bytes
from wallets.ethereum.transaction import Delegation, Draft, plan, read_payload
from wallets.protocol import HOT, Call, Output, Spend

KEYS = EthereumKeys(b"\x01" * 32)
TOKEN = KEYS.address(77)
SWEEPER = KEYS.address(78)
PAYEE = KEYS.address(79)
COIN = Spend((Output(PAYEE, 5),))


def draft(spend: Spend = COIN, **more: Any) -> Draft:
    what = plan(spend, KEYS, SWEEPER)
    return Draft(1, KEYS.address(what.index), 7, what, 50_000, 3 * 10**9, 10**9, **more)


def batch() -> Draft:
    spend = Spend((Output(KEYS.address(0), 5),), TOKEN, sources=(3,), targets=(HOT,), batched=True)
    return draft(spend, delegations=(Delegation(3, KEYS.address(3), SWEEPER.lower(), 0),))


class Liar:
    """Keys that change what they were given to sign."""

    def __init__(self, change: Callable[[dict[str, Any]], dict[str, Any]], index: int | None = None) -> None:
        self._change = change
        self._index = index

    def sign_transaction(self, index: int, transaction: dict[str, Any]) -> SignedBytes:
        return KEYS.sign_transaction(index if self._index is None else self._index, self._change(transaction))

    def __getattr__(self, name: str) -> Any:
        return getattr(KEYS, name)


@pytest.mark.parametrize(
    "spend",
    [
        COIN,
        Spend((Output(PAYEE, 5),), TOKEN),
        Spend((Output(KEYS.address(0), 5),), sources=(4,), targets=(HOT,)),
        Spend((), call=Call(None, "0x6001")),
        Spend((), call=Call(TOKEN, "0x6001")),
    ],
)
def test_what_is_signed_is_read_back_and_signed_again_the_same(spend: Spend) -> None:
    made = draft(spend)
    assert read_payload(made.payload()) == made
    assert signed_bytes(made, KEYS) == signed_bytes(made, KEYS)


def test_a_batch_is_signed_with_its_authorizations() -> None:
    assert signed_bytes(batch(), KEYS).raw.startswith("0x04")
    assert read_payload(batch().payload()) == batch()


@pytest.mark.parametrize(
    "change",
    [
        {"value": 6},
        {"to": KEYS.address(80)},
        {"to": ""},
        {"data": "0x00"},
        {"nonce": 8},
        {"chainId": 10},
        {"gas": 50_001},
        {"maxFeePerGas": 10**10},
        {"maxPriorityFeePerGas": 1},
        {"accessList": [{"address": TOKEN, "storageKeys": []}]},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_signer_that_changes_a_field_is_found_out(change: dict[str, Any]) -> None:
    with pytest.raises(NodeProtocolError):
        signed_bytes(draft(), Liar(lambda given: given | change))


def test_a_signer_with_another_key_is_found_out() -> None:
    with pytest.raises(NodeProtocolError):
        signed_bytes(draft(), Liar(lambda given: given, index=1))


def test_a_signer_that_adds_drops_or_changes_an_authorization_is_found_out() -> None:
    def to(delegate: str, nonce: int = 0) -> Any:
        return KEYS.sign_authorization(3, 1, delegate, nonce)

    for authorizations in ([to(PAYEE)], [to(SWEEPER, 1)], [to(SWEEPER), to(PAYEE, 1)]):
        with pytest.raises(NodeProtocolError):
            signed_bytes(batch(), Liar(lambda given, a=authorizations: given | {"authorizationList": a}))
    with pytest.raises(NodeProtocolError):
        signed_bytes(draft(), Liar(lambda given: given | {"type": 4, "authorizationList": [to(PAYEE)]}))


def test_an_authorization_by_another_index_is_found_out() -> None:
    other = KEYS.sign_authorization(5, 1, SWEEPER, 0)
    with pytest.raises(NodeProtocolError):
        signed_bytes(batch(), Liar(lambda given: given | {"authorizationList": [other]}))

    class Confused(Liar):
        def sign_authorization(self, index: int, chain_id: int, delegate: str, nonce: int) -> Any:
            return KEYS.sign_authorization(5, chain_id, delegate, nonce)

    with pytest.raises(NodeProtocolError, match="another address"):
        signed_bytes(batch(), Confused(lambda given: given))


def test_bytes_with_another_hash_or_none_at_all_are_found_out() -> None:
    class Renamed(Liar):
        def sign_transaction(self, index: int, transaction: dict[str, Any]) -> SignedBytes:
            return replace(KEYS.sign_transaction(index, transaction), **self._change({}))

    for change in ({"hash": "0x" + "ab" * 32}, {"raw": "0x"}, {"raw": "0x02"}, {"raw": "0x02c0"}):
        with pytest.raises(NodeProtocolError):
            signed_bytes(draft(), Renamed(lambda _, c=change: c))


@pytest.mark.parametrize(
    "spend",
    [
        Spend(()),
        Spend((Output(PAYEE, 5), Output(PAYEE, 5))),
        Spend((Output(PAYEE, 5),), sources=(1, 2)),
        Spend((Output(PAYEE, 5),), call=Call(TOKEN, "0x")),
        Spend((), TOKEN, call=Call(TOKEN, "0x")),
        Spend((), sources=(1,), call=Call(TOKEN, "0x")),
        Spend((Output(PAYEE, 5),), targets=(1, 2)),
        Spend((Output(KEYS.address(0), 5),), sources=(3,), targets=(HOT,), batched=True),
        Spend((Output(KEYS.address(0), 5),), TOKEN, targets=(HOT,), batched=True),
        Spend((Output(KEYS.address(0), 5),), TOKEN, sources=(0,), targets=(HOT,), batched=True),
        Spend((Output(KEYS.address(0), 5),) * 2, TOKEN, sources=(3, 3), targets=(HOT, HOT), batched=True),
        Spend((Output(KEYS.address(3), 5),), TOKEN, sources=(4,), targets=(3,), batched=True),
        Spend((Output(PAYEE, 5),), TOKEN, sources=(4,), batched=True),
        Spend((), sources=(4,), call=Call(TOKEN, "0x"), batched=True),
    ],
)
def test_what_one_transaction_cannot_do_is_refused(spend: Spend) -> None:
    with pytest.raises(ValueError, match=r"."):
        plan(spend, KEYS, SWEEPER)
