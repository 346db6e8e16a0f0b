"""Money: whole atomic units in code, exact decimal strings at the edges.

An amount is an `int` of atomic units beside an `Asset`; it is never a float and never a bare JSON number.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ledger.errors import InvalidAmount

#: Exclusive bound of every amount and balance: what NUMERIC(38, 0) holds.
UNITS_BOUND = 10**38

_DECIMAL = re.compile(r"(0|[1-9][0-9]{0,38})(?:\.([0-9]{1,38}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Asset:
    """What can be owned: `code` is public (`BTC`), `decimals` the digits after the point,
    `supply_max_units` an upper bound that no honest amount can pass."""

    code: str
    chain: str
    decimals: int
    supply_max_units: int = UNITS_BOUND - 1


BTC = Asset("BTC", "bitcoin", 8, 21_000_000 * 10**8)
XMR = Asset("XMR", "monero", 12, 10**9 * 10**12)  # no last coin, and far fewer than this for a thousand years
ETH = Asset("ETH", "ethereum", 18, 10**9 * 10**18)


def parse_amount(text: object, asset: Asset, pointer: str = "/amount") -> int:
    """Atomic units of a plain decimal string such as `"0.00012345"`.

    Raises `InvalidAmount` naming the rule for anything else: a JSON number, a sign, an exponent, other digits
    than ASCII, more decimals than the asset has (never rounded), zero, or more than can exist.
    """
    if not isinstance(text, str):
        raise InvalidAmount(pointer, 'must be a decimal string such as "0.5", not a JSON number or other type')
    match = _DECIMAL.fullmatch(text)
    if match is None:
        raise InvalidAmount(pointer, "must be plain ASCII digits with at most one point; no sign, exponent or spaces")
    whole, fraction = match.group(1), match.group(2) or ""
    if len(fraction) > asset.decimals:
        raise InvalidAmount(
            pointer,
            f"{asset.code} has {asset.decimals} decimals; amounts are never rounded",
            "amount_precision_exceeded",
        )
    units: int = int(whole) * 10**asset.decimals + int(fraction.ljust(asset.decimals, "0") or "0")
    if units == 0:
        raise InvalidAmount(pointer, "must be greater than zero")
    if units > asset.supply_max_units:
        raise InvalidAmount(pointer, f"is more {asset.code} than can exist")
    return units


def format_units(units: int, decimals: int) -> str:
    """The plain decimal string of `units`, all decimals shown: `12345` with 8 is `"0.00012345"`."""
    sign, digits = ("-", -units) if units < 0 else ("", units)
    if decimals == 0:
        return f"{sign}{digits}"
    whole, fraction = divmod(digits, 10**decimals)
    return f"{sign}{whole}.{fraction:0{decimals}d}"
