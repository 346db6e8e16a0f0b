"""Amounts at the edge: exact, or refused with the rule that they break."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ledger.errors import InvalidAmount
from ledger.money import BTC, UNITS_BOUND, Asset, format_units, parse_amount

ETH = Asset("ETH", "ethereum", 18)
WHOLE = Asset("POINT", "none", 0)

WRONG_TYPES = [1, 0, -1, 1.5, 0.1, float("nan"), float("inf"), True, False, None, [], ["1"], {}, b"1", Decimal("1")]

MALFORMED = [
    "", " ", ".", "-", "+", "1.", ".5", "-1", "+1", "--1", "-0", "1e8", "1E8", "1e-9", "0x10", "0b1", "1,5", "1.000,5",
    "1 000", "1_000", " 1", "1 ", "1\n", "\n1", "1\t", "1\x00", "\ufeff1", "1..2", "1.2.3", "00", "01", "00.5", "NaN",
    "nan", "Infinity", "-Infinity", "inf", "None", "null", "true", "١", "１", "１.５", "1.５", "²", "½", "Ⅷ", "1．5",
    "\u20601", "1\u200b", "٠.١", "0٫5", "1BTC", "$1", "1/2", "9" * 40, "1" + "0" * 80, "0." + "1" * 40,
]  # fmt: skip


@pytest.mark.parametrize("value", WRONG_TYPES, ids=repr)
def test_only_strings_are_amounts(value: object) -> None:
    with pytest.raises(InvalidAmount) as refused:
        parse_amount(value, BTC)
    assert (refused.value.code, refused.value.pointer) == ("amount_invalid", "/amount")


@pytest.mark.parametrize("text", MALFORMED, ids=ascii)
def test_malformed_strings_are_refused(text: str) -> None:
    for asset in (BTC, ETH, WHOLE):
        with pytest.raises(InvalidAmount):
            parse_amount(text, asset)


@pytest.mark.parametrize("text", ["0", "0.0", "0.00000000"])
def test_zero_is_no_amount(text: str) -> None:
    with pytest.raises(InvalidAmount, match="greater than zero"):
        parse_amount(text, BTC)


@pytest.mark.parametrize(
    ("text", "asset"), [("0.000000001", BTC), ("1.000000000", BTC), ("1.0", WHOLE), ("0." + "1" * 19, ETH)]
)
def test_more_digits_than_the_asset_has_are_never_rounded(text: str, asset: Asset) -> None:
    with pytest.raises(InvalidAmount) as refused:
        parse_amount(text, asset)
    assert refused.value.code == "amount_precision_exceeded"


@pytest.mark.parametrize(
    ("text", "units"),
    [("0.00000001", 1), ("1", 10**8), ("1.5", 150_000_000), ("20999999.99999999", 2_099_999_999_999_999)],
)
def test_a_plain_decimal_is_its_atomic_units(text: str, units: int) -> None:
    assert parse_amount(text, BTC) == units


def test_more_than_can_exist_is_refused() -> None:
    assert parse_amount("21000000", BTC) == 21_000_000 * 10**8
    with pytest.raises(InvalidAmount, match="more BTC than can exist"):
        parse_amount("21000000.00000001", BTC)
    assert parse_amount("99999999999999999999.999999999999999999", ETH) == UNITS_BOUND - 1
    with pytest.raises(InvalidAmount, match="more ETH than can exist"):
        parse_amount("100000000000000000000", ETH)


def test_the_error_names_the_field() -> None:
    with pytest.raises(InvalidAmount) as refused:
        parse_amount("1e8", BTC, "/withdrawals/3/amount")
    assert refused.value.pointer == "/withdrawals/3/amount"


@given(st.integers(1, UNITS_BOUND - 1), st.integers(0, 38))
def test_what_is_shown_reads_back_as_the_same_units(units: int, decimals: int) -> None:
    shown = format_units(units, decimals)
    assert parse_amount(shown, Asset("X", "x", decimals)) == units
    assert Fraction(shown) * 10**decimals == units
    assert len(shown.partition(".")[2]) == decimals


@given(st.integers(-(UNITS_BOUND - 1), UNITS_BOUND - 1), st.integers(0, 38))
def test_a_negative_sum_is_shown_with_its_sign(units: int, decimals: int) -> None:
    assert format_units(-units, decimals).lstrip("-") == format_units(units, decimals).lstrip("-")
    assert format_units(units, decimals).startswith("-") == (units < 0)


@given(st.text(max_size=60))
@example("0.12345678")
def test_any_text_is_exact_or_refused(text: str) -> None:
    try:
        units = parse_amount(text, BTC)
    except InvalidAmount:
        return
    assert text.isascii()
    assert Fraction(text) * 10**8 == units
    assert 0 < units <= BTC.supply_max_units


@given(st.from_regex(r"[0-9]{1,45}(\.[0-9]{1,45})?", fullmatch=True))
def test_any_number_is_exact_or_refused(text: str) -> None:
    try:
        units = parse_amount(text, ETH)
    except InvalidAmount:
        whole, _, fraction = text.partition(".")
        value = Decimal(text)
        canonical = whole == "0" or not whole.startswith("0")
        assert not canonical or len(fraction) > 18 or value == 0 or value >= 10**20
        return
    assert Fraction(text) * 10**18 == units
