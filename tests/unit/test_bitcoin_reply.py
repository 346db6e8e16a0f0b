"""Replies of the node are read strictly: what is missing or of another type raises."""

from __future__ import annotations

from decimal import Decimal

import pytest

from ledger.errors import NodeProtocolError
from wallets.bitcoin.reply import Record, btc_of, records_of, units_of


@pytest.mark.parametrize(
    ("value", "units"),
    [
        (Decimal("0.00000001"), 1),
        (Decimal("0E-8"), 0),
        (Decimal("20999999.12345678"), 2_099_999_912_345_678),
        (Decimal("-0.5"), -50_000_000),
        (3, 300_000_000),
    ],
)
def test_amounts_become_exact_satoshi(value: object, units: int) -> None:
    assert units_of(value, "x") == units


@pytest.mark.parametrize("value", [None, True, "1", 0.1, Decimal("0.000000001"), Decimal("NaN"), Decimal("Infinity")])
def test_what_is_no_exact_amount_raises(value: object) -> None:
    with pytest.raises(NodeProtocolError, match=r"^x is not"):
        units_of(value, "x")


@pytest.mark.parametrize("units", [0, 1, 99_999_999, 100_000_000, 2_100_000_000_000_000])
def test_amounts_are_sent_as_exact_text(units: int) -> None:
    assert units_of(Decimal(btc_of(units)), "x") == units
    assert "E" not in btc_of(units)


@pytest.mark.parametrize(
    ("read", "fields"),
    [
        (lambda r: r.text("a"), [{}, {"a": 1}, {"a": None}]),
        (lambda r: r.integer("a"), [{}, {"a": "1"}, {"a": True}, {"a": Decimal("1.0")}]),
        (lambda r: r.integers("a"), [{}, {"a": 1}, {"a": [True]}]),
        (lambda r: r.boolean("a"), [{}, {"a": 1}, {"a": None}]),
        (lambda r: r.units("a"), [{}, {"a": "1"}]),
        (lambda r: r.record("a"), [{}, {"a": []}]),
        (lambda r: r.records("a"), [{}, {"a": {}}, {"a": [1]}]),
        (lambda r: r.texts("a"), [{}, {"a": "x"}, {"a": [1]}]),
        (lambda r: r.record_or_none("a"), [{}, {"a": True}, {"a": None}]),
    ],
)
def test_a_missing_or_mistyped_field_raises_and_is_named(read, fields) -> None:  # type: ignore[no-untyped-def]
    for reply in fields:
        with pytest.raises(NodeProtocolError, match=r"call"):
            read(Record(reply, "call"))


def test_an_answer_that_is_no_object_raises() -> None:
    for answer in (None, [], "x", 1):
        with pytest.raises(NodeProtocolError):
            Record(answer, "call")
    with pytest.raises(NodeProtocolError):
        records_of({}, "call")
