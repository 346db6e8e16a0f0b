"""What is worth collecting: pure arithmetic in atomic units, no database and no node."""

from __future__ import annotations

from dataclasses import dataclass

from ledger.policy import AssetPolicy

#: A sweep may come to cost so many times the market of the moment when it was planned. The rest stays on the index as
#: dust, so that a wide margin would be left lying everywhere.
MARGIN = 2
_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Price:
    """What a sweep offers now, and the most that it may ever come to, in the chain's rates.

    `hot_ceiling` is for what the hot wallet itself signs and pays: others queue behind that (an EVM chain takes its
    transactions in the order of their nonces), so that it must be able to rise as high as they can.
    """

    rate: int
    ceiling: int
    hot_ceiling: int


def price(market_rate: int, rules: AssetPolicy) -> Price | None:
    """None while the market is above what policy allows: sweeps can wait, and do."""
    if market_rate > rules.payment_rate_max:
        return None
    return Price(market_rate, min(MARGIN * market_rate, rules.payment_rate_max), rules.payment_rate_max)


def coin_verdict(held_units: int, weight: int, offer: Price, rules: AssetPolicy) -> str | None:
    """Why the chain's own coin stays where it is, or None when moving it is worth its fee."""
    moves = coin_units(held_units, weight, offer)
    if moves < max(1, rules.sweep_minimum_units):
        return "below_minimum"
    if weight * offer.rate * _MILLION > rules.sweep_cost_ppm_max * moves:
        return "fee_too_high"
    return None


def coin_units(held_units: int, weight: int, offer: Price) -> int:
    """What can move of the coin: all but the most that the fee may come to."""
    return held_units - weight * offer.ceiling


def token_verdict(held_units: int, rules: AssetPolicy) -> str | None:
    """Why a token stays where it is, or None. Without rates its minimum alone says what is worth the gas."""
    return "below_minimum" if held_units < max(1, rules.sweep_minimum_units) else None


def gas_missing(held_coin_units: int, weight: int, offer: Price) -> int:
    """What an index lacks of the coin before it can pay for sweeping a token; 0 when it has enough."""
    return max(0, weight * offer.ceiling - held_coin_units)
