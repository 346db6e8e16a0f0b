"""What is worth collecting."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jobs.sweep import rules as sweep_rules
from jobs.sweep.rules import Price
from ledger.policy import AssetPolicy

GWEI = 10**9
RULES = AssetPolicy(payment_rate_max=100 * GWEI, sweep_minimum_units=5 * 10**15, sweep_cost_ppm_max=50_000)
OFFER = Price(20 * GWEI, 40 * GWEI, 100 * GWEI)
GAS = 21_000


@pytest.mark.parametrize(
    ("market", "expected"),
    [
        (20 * GWEI, Price(20 * GWEI, 40 * GWEI, 100 * GWEI)),
        (60 * GWEI, Price(60 * GWEI, 100 * GWEI, 100 * GWEI)),  # the policy's ceiling holds
        (100 * GWEI, Price(100 * GWEI, 100 * GWEI, 100 * GWEI)),
        (100 * GWEI + 1, None),  # sweeps wait
    ],
)
def test_a_sweep_offers_the_market_and_may_come_to_twice_that(market: int, expected: Price | None) -> None:
    assert sweep_rules.price(market, RULES) == expected


def test_all_but_the_most_that_the_fee_may_come_to_moves() -> None:
    assert sweep_rules.coin_units(10**18, GAS, OFFER) == 10**18 - GAS * 40 * GWEI


def test_the_minimum_counts_what_moves_and_not_what_lies() -> None:
    least = RULES.sweep_minimum_units + GAS * OFFER.ceiling
    cheap = replace(RULES, sweep_cost_ppm_max=1_000_000)
    assert sweep_rules.coin_verdict(least, GAS, OFFER, cheap) is None
    assert sweep_rules.coin_verdict(least - 1, GAS, OFFER, cheap) == "below_minimum"
    assert sweep_rules.coin_verdict(GAS, GAS, OFFER, replace(cheap, sweep_minimum_units=0)) == "below_minimum"


def test_the_fee_may_be_only_a_part_of_what_moves() -> None:
    fee = GAS * OFFER.rate
    moves = fee * 20  # 50000 millionths are a twentieth
    rules = replace(RULES, sweep_minimum_units=0)
    assert sweep_rules.coin_verdict(moves + GAS * OFFER.ceiling, GAS, OFFER, rules) is None
    assert sweep_rules.coin_verdict(moves + GAS * OFFER.ceiling - 1, GAS, OFFER, rules) == "fee_too_high"


def test_a_tokens_minimum_alone_says_what_is_worth_the_gas() -> None:
    rules = replace(RULES, sweep_minimum_units=10)
    assert [sweep_rules.token_verdict(units, rules) for units in (9, 10)] == ["below_minimum", None]
    assert sweep_rules.token_verdict(0, replace(rules, sweep_minimum_units=0)) == "below_minimum"


def test_gas_is_topped_up_to_the_ceiling_and_no_further() -> None:
    needed = 65_000 * OFFER.ceiling
    assert sweep_rules.gas_missing(0, 65_000, OFFER) == needed
    assert sweep_rules.gas_missing(needed - 1, 65_000, OFFER) == 1
    assert sweep_rules.gas_missing(needed, 65_000, OFFER) == 0
    assert sweep_rules.gas_missing(2 * needed, 65_000, OFFER) == 0
