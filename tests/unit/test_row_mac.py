"""The MAC over what a withdrawal pays: every fixed field counts, and no two lists of fields read alike."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.row_mac import _FIELDS, RowMac

MAC = RowMac(b"k" * 32)
ROW: dict[str, Any] = {
    "public_id": "wd_1", "project_id": 2, "account_id": 3, "asset": "BTC", "chain": "bitcoin", "units": 100_000,
    "fee_units": 2_000, "address": "bcrt1q", "reference": "order-1", "approvals_needed": 0,
    "created_by": 4,
}  # fmt: skip


def test_all_that_the_database_freezes_is_bound() -> None:
    assert set(_FIELDS) == set(ROW)


@pytest.mark.parametrize("name", sorted(ROW))
def test_changing_any_field_changes_the_mac(name: str) -> None:
    changed = ROW | {name: f"{ROW[name]}1" if isinstance(ROW[name], str) else ROW[name] + 1}
    assert MAC.withdrawal(changed) != MAC.withdrawal(ROW)


def test_a_mapping_and_a_row_have_the_same_mac() -> None:
    assert MAC.withdrawal(ROW) == MAC.withdrawal(SimpleNamespace(**ROW))


def test_text_cannot_move_from_one_field_to_the_next() -> None:
    left = ROW | {"address": "abc", "reference": "def"}
    right = ROW | {"address": "abc\nreference=def", "reference": ""}
    assert MAC.withdrawal(left) != MAC.withdrawal(right)
    assert MAC.approval("aa", "bb") != MAC.approval("aab", "b")


def test_an_approval_is_never_a_withdrawals_mac() -> None:
    mac = MAC.withdrawal(ROW)
    assert MAC.approval(mac, "ann") != mac
    assert MAC.approval(mac, "ann") != MAC.approval(mac, "bob")
    assert MAC.approval(mac, "ann") != MAC.approval(MAC.withdrawal(ROW | {"units": 1}), "ann")


_parts = st.lists(st.text(max_size=12), min_size=1, max_size=5)


@given(_parts, _parts)
def test_different_lists_have_different_macs(left: list[str], right: list[str]) -> None:
    assert (MAC._over(*left) == MAC._over(*right)) == (left == right)


@given(st.text(st.characters(codec="utf-8"), max_size=30), st.integers(0, 30), st.integers(0, 30))
def test_cutting_one_text_at_two_places_gives_two_macs(text: str, one: int, two: int) -> None:
    left, right = (text[:one], text[one:]), (text[:two], text[two:])
    assert (MAC._over(*left) == MAC._over(*right)) == (left == right)


def test_another_key_gives_another_mac() -> None:
    assert RowMac(b"j" * 32).withdrawal(ROW) != MAC.withdrawal(ROW)


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        RowMac(b"k" * 31)


def test_comparison_takes_any_text() -> None:
    mac = MAC.withdrawal(ROW)
    assert MAC.same(mac, MAC.withdrawal(ROW))
    for other in ("", "é", mac.upper(), mac[:-1], mac + "0"):
        assert not MAC.same(other, mac)


CALL = {"chain": "ethereum", "to": "0xc0de", "data": "0x6000", "note": "Sweeper"}


@pytest.mark.parametrize("changed", [{"chain": "other"}, {"to": None}, {"to": "0xc0df"}, {"data": "0x6001"}], ids=str)
def test_a_call_is_bound_to_its_payment_its_contract_and_its_data(changed: dict[str, Any]) -> None:
    assert MAC.call("pay_1", CALL | changed) != MAC.call("pay_1", CALL)
    assert MAC.call("pay_2", CALL) != MAC.call("pay_1", CALL)


def test_what_a_call_is_named_for_people_is_not_bound() -> None:
    assert MAC.call("pay_1", CALL | {"note": "other"}) == MAC.call("pay_1", CALL)
