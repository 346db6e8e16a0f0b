"""What a swap costs: never in the requester's favour, never off by more than one atomic unit, the same both ways."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.swap.pricing import PPM, Deal, NetworkFee, Terms, by_buy, by_sell, rate_of, sell_most

#: BTC, XMR, ETH and a token of six decimals.
DECIMALS = st.sampled_from((8, 12, 18, 6))
#: From a coin of a thousandth of a cent to one of ten million, with as many digits as exchanges give.
PRICES = st.decimals(min_value="0.00001", max_value="10000000", places=12)
UNITS = st.integers(1, 10**24)
FEES = st.builds(NetworkFee, st.integers(0, 10**16), st.integers(0, 100_000))
TERMS = st.builds(
    Terms,
    st.builds(rate_of, PRICES, PRICES),
    DECIMALS,
    DECIMALS,
    st.integers(0, 200_000),
    st.integers(0, 200_000),
    FEES,
)


def fair(terms: Terms, sell_units: int) -> Fraction:
    """What the inventory may give at most: the rate less the spread, exact."""
    rate = Fraction(terms.rate) * Fraction(10) ** (terms.buy_decimals - terms.sell_decimals)
    return sell_units * rate * (1 - Fraction(terms.spread_ppm, PPM))


@given(TERMS, UNITS)
def test_a_sold_amount_gives_what_is_fair_less_a_part_of_one_unit(terms: Terms, units: int) -> None:
    deal = by_sell(terms, units)
    assert deal.sell_units == units
    if deal.buy_units:
        assert 0 <= fair(terms, units) - deal.out_units < 1


@given(TERMS, UNITS)
def test_a_bought_amount_costs_what_is_fair_and_a_part_of_one_unit(terms: Terms, units: int) -> None:
    deal = by_buy(terms, units)
    assert deal.buy_units == units
    assert deal.out_units <= fair(terms, deal.sell_units)
    needed = deal.out_units - deal.rounding_units
    assert fair(terms, deal.sell_units - 1) < needed, "one sold unit less would have done"
    assert 0 <= deal.rounding_units < max(fair(terms, 1), 1), "more than one sold unit buys"


@given(TERMS, UNITS)
def test_what_a_sale_buys_costs_that_sale_or_less_and_buys_the_same_again(terms: Terms, units: int) -> None:
    bought = by_sell(terms, units).buy_units
    if bought:
        named = by_buy(terms, bought)
        assert named.sell_units <= units
        assert by_sell(terms, named.sell_units).buy_units == bought


@given(TERMS, UNITS)
def test_selling_what_a_purchase_costs_buys_no_less(terms: Terms, units: int) -> None:
    deal = by_buy(terms, units)
    again = by_sell(terms, deal.sell_units)
    assert again.buy_units >= units
    assert again.out_units == deal.out_units
    assert by_sell(terms, deal.sell_units - 1).buy_units < units


@given(TERMS, UNITS)
def test_fees_are_rounded_up(terms: Terms, units: int) -> None:
    for deal in (by_sell(terms, units), by_buy(terms, units)):
        if deal.buy_units:
            charged = deal.out_units - (deal.rounding_units if deal.buy_units == units else 0)
            assert deal.service_fee_units >= Fraction(charged * terms.fee_ppm, PPM)
            assert deal.network_fee_units == terms.network.of(deal.buy_units)
            assert min(deal.service_fee_units, deal.network_fee_units, deal.rounding_units) >= 0


@given(TERMS, UNITS, UNITS)
def test_more_sold_never_buys_less(terms: Terms, one: int, other: int) -> None:
    less, more = sorted((one, other))
    assert by_sell(terms, less).buy_units <= by_sell(terms, more).buy_units


@given(PRICES, PRICES, DECIMALS, DECIMALS, UNITS)
def test_there_and_back_never_gains_even_without_spread_and_fees(
    one: Decimal, other: Decimal, first: int, second: int, units: int
) -> None:
    there = by_sell(Terms(rate_of(one, other), first, second, 0, 0), units)
    back = by_sell(Terms(rate_of(other, one), second, first, 0, 0), there.buy_units)
    assert back.buy_units <= units


@given(TERMS, UNITS)
def test_the_most_that_can_be_sold_keeps_its_bound_and_one_unit_more_does_not(terms: Terms, bound: int) -> None:
    by_bought = sell_most(terms, buy_units=bound)
    assert by_sell(terms, by_bought).buy_units <= bound < by_sell(terms, by_bought + 1).buy_units
    by_inventory = sell_most(terms, out_units=bound)
    assert leaving(terms, by_inventory) <= bound < leaving(terms, by_inventory + 1)


def leaving(terms: Terms, sell_units: int) -> int:
    exact = fair(terms, sell_units)
    return exact.numerator // exact.denominator


def test_a_plain_case_by_hand() -> None:
    # 1 ETH at 3000 for BTC at 60000: 0.05 BTC, less 0.5 % spread, less 0.25 % fee, less the payout's 2000 satoshi.
    terms = Terms(rate_of(Decimal(3000), Decimal(60000)), 18, 8, 5_000, 2_500, NetworkFee(2_000))
    assert by_sell(terms, 10**18) == Deal(10**18, 4_975_000 - 12_438 - 2_000, 12_438, 2_000, 0)


def test_what_one_sold_unit_buys_too_much_is_rounding() -> None:
    # One satoshi buys 200 gwei at this rate, so a purchase of 1 wei leaves nearly all of it over.
    terms = Terms(rate_of(Decimal(60000), Decimal(3000)), 8, 18, 0, 0)
    assert by_buy(terms, 1) == Deal(1, 1, 0, 0, 2 * 10**11 - 1)


def test_fees_may_eat_all_of_it() -> None:
    terms = Terms(Decimal(1), 8, 8, 0, 0, NetworkFee(2_000))
    assert by_sell(terms, 2_000).buy_units == 0
    assert by_sell(terms, 2_001).buy_units == 1


@pytest.mark.parametrize("price", ["0", "-1", "NaN", "Infinity"])
def test_a_price_that_is_no_price_prices_nothing(price: str) -> None:
    for pair in ((price, "1"), ("1", price)):
        with pytest.raises(ValueError, match="above zero"):
            rate_of(Decimal(pair[0]), Decimal(pair[1]))


def test_a_rate_is_cut_off_downwards() -> None:
    assert rate_of(Decimal(2), Decimal(3)) == Decimal("0." + "6" * 30)
    assert str(rate_of(Decimal(150), Decimal(60000))) == "0.0025"
