"""What several sources' words come to: a price of those that agree, or no price and the reason."""

from __future__ import annotations

from decimal import Decimal

import pytest

from exchanges.protocol import Ticker
from jobs.rates import judge as rates_judge
from jobs.rates.judge import Verdict, Word, inverse, judge, shown_in

NOW = 1_700_000_000_000_000
SECOND = 1_000_000


def word(
    price: str | None, source: str = "a", ask: str | None = None, age_s: int = 0, factor: str | None = "1"
) -> Word:
    bid = None if price is None else Decimal(price)
    ticker = Ticker(bid, bid if ask is None else Decimal(ask), NOW - age_s * SECOND)
    return Word(source, "BTC/USD", ticker, NOW, None if factor is None else Decimal(factor))


def whys(verdict: Verdict) -> list[str | None]:
    return [each["why"] for each in verdict.sources]


def test_two_that_agree_give_the_mean() -> None:
    verdict = judge([word("100"), word("101")], NOW, 2)
    assert (verdict.price, verdict.problem, verdict.spread_ppm) == (Decimal("100.5"), None, 9951)


def test_the_middle_of_bid_and_ask_counts() -> None:
    assert judge([word("99", ask="101"), word("100")], NOW, 2).price == Decimal(100)


def test_an_outlier_among_three_is_left_out() -> None:
    verdict = judge([word("100"), word("1000"), word("100.5")], NOW, 2)
    assert (verdict.price, whys(verdict)) == (Decimal("100.25"), [None, "outlier", None])


@pytest.mark.parametrize("jump", ["1000", "10", "101.6"])
def test_of_two_that_differ_neither_is_believed(jump: str) -> None:
    verdict = judge([word("100"), word(jump)], NOW, 2)
    assert (verdict.price, verdict.problem) == (None, "divergent")
    assert "100" in str(verdict.detail)


def test_two_camps_give_no_price() -> None:
    verdict = judge([word("100"), word("100"), word("120"), word("120")], NOW, 2)
    assert (verdict.price, verdict.problem) == (None, "divergent")


def test_three_that_all_differ_give_no_price() -> None:
    assert judge([word("100"), word("102"), word("104")], NOW, 2).problem == "divergent"


def test_the_limit_is_one_and_a_half_percent() -> None:
    assert judge([word("100"), word("101.5")], NOW, 2).price is not None
    assert judge([word("99.2"), word("100.8")], NOW, 2).problem == "divergent"


@pytest.mark.parametrize(
    "bad",
    [None, "0", "-1", "NaN", "Infinity", "-Infinity", "sNaN", "1E+40", "1E-40", "9e999999", "-9e999999", "1e-999999"],
)
def test_a_number_that_cannot_be_a_price_is_never_used(bad: str | None) -> None:
    verdict = judge([word(bad), word("100"), word("100")], NOW, 2)
    assert (verdict.price, whys(verdict)) == (Decimal(100), ["bad_number", None, None])
    assert judge([word(bad), word("100")], NOW, 2).problem == "unavailable"
    assert judge([word(bad)], NOW, 1).price is None


def test_a_crossed_or_very_wide_book_is_no_market() -> None:
    verdict = judge([word("101", ask="100"), word("100", ask="106"), word("100")], NOW, 1)
    assert whys(verdict) == ["crossed", "wide", None]


def test_old_words_are_left_out() -> None:
    verdict = judge([word("100", age_s=60), word("101", age_s=59), word("101", age_s=3)], NOW, 2)
    assert (verdict.price, whys(verdict)) == (Decimal(101), ["stale", None, None])
    assert verdict.quoted_at == NOW - 59 * SECOND


def test_when_only_age_is_wrong_it_is_stale() -> None:
    assert judge([word("100", age_s=61), word("100", age_s=2)], NOW, 2).problem == "stale"
    assert judge([word("100", age_s=61), word(None)], NOW, 2).problem == "unavailable"


def test_a_word_from_the_future_is_left_out() -> None:
    assert whys(judge([word("100", age_s=-31), word("100", age_s=-29)], NOW, 1)) == ["ahead", None]


@pytest.mark.parametrize(("micros", "why"), [(NOW * 1_000, "ahead"), (-1, "stale"), (10**30, "ahead")])
def test_a_moment_that_cannot_be_one_is_not_kept(micros: int, why: str) -> None:
    """Microseconds where milliseconds are expected are a year that nobody can write."""
    wrong = Word("a", "BTC/USD", Ticker(Decimal(100), Decimal(100), micros), NOW)
    verdict = judge([wrong, word("100")], NOW, 1)
    assert (verdict.price, whys(verdict)) == (Decimal(100), [why, None])
    assert [each["at"] for each in verdict.sources] == [None, NOW]


def test_nobody_to_ask_is_unavailable() -> None:
    assert judge([], NOW, 2).problem == "unavailable"
    assert judge([Word("a", why="no_answer"), Word("b")], NOW, 2).problem == "unavailable"


def test_another_currency_is_converted_and_without_its_worth_not_used() -> None:
    verdict = judge([word("100", factor="0.999"), word("100"), word("100", factor=None)], NOW, 2)
    assert (verdict.price, whys(verdict)) == (Decimal("99.95"), [None, None, "no_conversion"])


def test_prices_keep_all_their_digits() -> None:
    verdict = judge([word("0.000000123456789012"), word("0.000000123456789012")], NOW, 2)
    assert str(verdict.price) == "1.23456789012E-7"
    assert verdict.sources[0]["price"] == "0.000000123456789012"


def test_a_pair_the_other_way_round() -> None:
    turned = inverse(Ticker(Decimal(100), Decimal(125), None))
    assert (turned.bid, turned.ask) == (Decimal("0.008"), Decimal("0.01"))
    assert inverse(Ticker(Decimal(0), Decimal("NaN"), None)) == Ticker(None, None, None)


@pytest.mark.parametrize("bad", ["9e999999", "9e-999999", "1E-40", "Infinity", "sNaN"])
def test_what_can_be_no_number_is_none_the_other_way_round_either(bad: str) -> None:
    turned = inverse(Ticker(Decimal(bad), Decimal(100), None))
    assert turned == Ticker(Decimal("0.01"), None, None)
    assert whys(judge([Word("a", "USD/JPY", turned, NOW)], NOW, 1)) == ["bad_number"]


def test_other_currencies_are_shown_only_when_both_prices_are_there() -> None:
    dollars, euro = judge([word("108"), word("108")], NOW, 2), judge([word("1.08", age_s=5)], NOW, 1)
    shown = shown_in(dollars, euro)
    assert (shown.price, shown.quoted_at) == (Decimal(100), NOW - 5 * SECOND)
    nothing = judge([], NOW, 1)
    assert shown_in(dollars, nothing).problem == shown_in(nothing, euro).problem == "unavailable"


def test_the_median() -> None:
    assert rates_judge.median([Decimal(3), Decimal(1), Decimal(2)]) == 2
    assert rates_judge.median([Decimal(4), Decimal(1), Decimal(2), Decimal(3)]) == Decimal("2.5")
