"""Policy: what operators may change while Coffer runs, as versioned and audited rows with sane bounds.

Each field of `AssetPolicy` has a default here and may be overridden per asset by a row. Amounts are atomic units.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from sqlalchemy import bindparam, func, insert, select

from ledger import audit
from ledger.db import Tx
from ledger.errors import InvalidInput
from ledger.money import UNITS_BOUND
from ledger.schema import asset as asset_table
from ledger.schema import policy

#: Depth at which a deposit or payment is no longer looked at again (SPEC decision 9).
FINAL_DEPTH = 100


@dataclass(frozen=True, slots=True)
class AssetPolicy:
    """One asset's rules. Tuples of tiers are (up to this many units, confirmations), the last one open-ended."""

    deposit_minimum_units: int = 1_000
    deposit_tiers: tuple[tuple[int, int], ...] = ((1_000_000, 1), (100_000_000, 3), (UNITS_BOUND, 6))
    deposit_confirmations_floor: int = 0  #: raise all deposits at once in an emergency
    deposit_witness_above_units: int = 0  #: above this much the second node, where there is one, must have seen it

    withdrawal_minimum_units: int = 1_000
    withdrawal_maximum_units: int = 100 * 10**8
    withdrawal_daily_units: int = 1_000 * 10**8  #: per account, rolling 24 hours, fees not counted
    withdrawal_approval_above_units: int = 10 * 10**8
    withdrawal_approvals: int = 2  #: different people
    withdrawal_fee_kind: str = "flat"  #: `flat`, `percent` or `estimate` (the node's, at the moment of the request)
    withdrawal_fee_units: int = 2_000  #: flat: the fee; percent and estimate: the least fee
    withdrawal_fee_ppm: int = 0  #: percent: parts per million of the amount, rounded up
    withdrawal_confirmations: int = 2

    payment_window_ms: int = 1_000  #: how long a withdrawal waits for company
    payment_outputs: int = 100
    payment_rate_fallback: int = 5_000  #: sat per 1000 vB when the node cannot tell
    payment_rate_max: int = 200_000  #: the ceiling for any payment, bumps included
    payment_blocks_target: int = 6
    payment_bump_after_seconds: int = 3_600
    payment_resend_seconds: int = 20

    address_watch_ahead: int = 2_000

    hot_low_units: int = 0  #: below this much spendable hot money an alarm is raised
    hot_ceiling_units: int = 0  #: above this much the rest moves to the cold address; 0: nothing moves
    hot_keep_units: int = 0  #: what stays hot after such a move
    hot_outputs: int = 0  #: separately spendable outputs to keep ahead of payouts, where change must wait
    sweep_minimum_units: int = 0  #: what lies on an index is left there below this
    sweep_cost_ppm_max: int = 50_000  #: of the chain's own coin: the fee may be at most this part of what it moves
    sweep_batched: int = 0  #: 1: tokens are collected many at a time, by delegation (EIP-7702)

    swap_minimum_units: int = 10_000  #: the least that is sold or bought in a swap, and the most
    swap_maximum_units: int = 10 * 10**8
    swap_spread_ppm: int = 5_000  #: of a pair the larger of the two counts
    swap_fee_ppm: int = 2_500  #: service fee, of what is bought
    swap_tolerance_ppm: int = 5_000  #: how far a deposit may miss the quoted amount and still get the quoted rate
    swap_open_max: int = 3  #: swaps of one account that wait for their deposit
    inventory_low_units: int = 0  #: below this much free inventory an alarm is raised
    inventory_high_units: int = 0  #: above this much, too: the house holds more of it than it wants; 0: never

    def confirmations(self, units: int) -> int:
        """How many confirmations a deposit of this amount needs."""
        needed = next((n for up_to, n in self.deposit_tiers if units <= up_to), self.deposit_tiers[-1][1])
        return max(needed, self.deposit_confirmations_floor)


_GWEI = 10**9
_PICO = 10**12

#: Units above are satoshi; here piconero.
_MONERO = AssetPolicy(
    deposit_minimum_units=_PICO // 1_000,
    deposit_tiers=((_PICO, 12), (100 * _PICO, 20), (UNITS_BOUND, 30)),  # 18 blocks were once undone
    withdrawal_minimum_units=_PICO // 1_000,
    withdrawal_maximum_units=1_000 * _PICO,
    withdrawal_daily_units=10_000 * _PICO,
    withdrawal_approval_above_units=100 * _PICO,
    withdrawal_fee_units=_PICO // 2_000,
    withdrawal_confirmations=10,
    payment_outputs=15,
    payment_rate_fallback=20_000,  # piconero per byte
    payment_rate_max=5_000_000,
    address_watch_ahead=500,
    hot_outputs=16,
    sweep_minimum_units=_PICO // 100,
    swap_minimum_units=_PICO // 100,
    swap_maximum_units=1_000 * _PICO,
)

#: Here wei, and wei per gas.
_ETHEREUM = AssetPolicy(
    deposit_minimum_units=10**15,
    deposit_tiers=((10**18, 12), (UNITS_BOUND, FINAL_DEPTH)),  # the last tier waits for `finalized`
    withdrawal_minimum_units=10**15,
    withdrawal_maximum_units=1_000 * 10**18,
    withdrawal_daily_units=10_000 * 10**18,
    withdrawal_approval_above_units=100 * 10**18,
    withdrawal_fee_units=10**15,
    withdrawal_confirmations=12,
    payment_window_ms=0,  # nobody shares a transaction: company is not waited for
    payment_outputs=1,
    payment_rate_fallback=20 * _GWEI,
    payment_rate_max=500 * _GWEI,
    payment_bump_after_seconds=300,
    hot_low_units=10**17,
    sweep_minimum_units=5 * 10**15,
    swap_minimum_units=5 * 10**15,
    swap_maximum_units=100 * 10**18,
)

#: What differs from the defaults per asset. A token has Ethereum's rules and amounts of its own, from `token_rules`.
DEFAULTS: dict[str, AssetPolicy] = {"BTC": AssetPolicy(), "XMR": _MONERO, "ETH": _ETHEREUM}


def token_rules(decimals: int) -> dict[str, int]:
    """The amounts that a new token starts with, in its atomic units; operators set them as they see fit."""
    one = 10**decimals
    return {
        "deposit_minimum_units": one,
        "withdrawal_minimum_units": one,
        "withdrawal_maximum_units": 100_000 * one,
        "withdrawal_daily_units": 1_000_000 * one,
        "withdrawal_approval_above_units": 10_000 * one,
        "withdrawal_fee_units": one,  # flat until rates exist: it pays for gas
        "sweep_minimum_units": 10 * one,
        "swap_minimum_units": 5 * one,
        "swap_maximum_units": 100_000 * one,
        "hot_low_units": 0,
    }


#: (least, most) for whole numbers. An order outside is a typing error, not a policy.
_BOUNDS: dict[str, tuple[int, int]] = {
    "deposit_confirmations_floor": (0, FINAL_DEPTH),
    "withdrawal_approvals": (1, 10),
    "withdrawal_fee_ppm": (0, 100_000),
    "withdrawal_confirmations": (1, FINAL_DEPTH),
    "payment_window_ms": (0, 600_000),
    "payment_outputs": (1, 500),
    "payment_rate_fallback": (1_000, 10**13),
    "payment_rate_max": (1_000, 10**13),
    "payment_blocks_target": (1, 1008),
    "payment_bump_after_seconds": (10, 7 * 86_400),
    "payment_resend_seconds": (2, 3_600),
    "address_watch_ahead": (100, 500_000),
    "hot_outputs": (0, 200),
    "sweep_cost_ppm_max": (0, 1_000_000),
    "sweep_batched": (0, 1),
    "swap_spread_ppm": (0, 200_000),
    "swap_fee_ppm": (0, 200_000),
    "swap_tolerance_ppm": (0, 100_000),
    "swap_open_max": (1, 1_000),
}


_NEWEST = select(policy.c.name, policy.c.value).where(
    policy.c.id.in_(select(func.max(policy.c.id)).where(policy.c.asset == bindparam("asset")).group_by(policy.c.name))
)


def of(tx: Tx, asset: str) -> AssetPolicy:
    """The rules in force for an asset."""
    rows = tx.all(_NEWEST, {"asset": asset})
    known = {f.name for f in fields(AssetPolicy)}
    values = {row.name: _plain(row.name, row.value) for row in rows if row.name in known and row.value is not None}
    return replace(defaults(asset), **values)


def defaults(asset: str) -> AssetPolicy:
    """The rules of an asset for which no row says anything; one with no defaults of its own is a token."""
    return DEFAULTS.get(asset, _ETHEREUM)


def change(tx: Tx, asset: str, name: str, value: Any, actor: str) -> AssetPolicy:
    """Set one rule (None: back to the default) after checking it; audited. Raises `InvalidInput`."""
    if name not in {f.name for f in fields(AssetPolicy)}:
        raise InvalidInput("/name", f"{name} is not a policy; see `coffer policy list`")
    if value is not None:
        _check(name, value)
    if (name, value) == ("withdrawal_fee_kind", "estimate") and _is_token(tx, asset):
        raise InvalidInput("/value", "a token's network fee is paid in another coin: flat or percent")
    tx.execute(insert(policy).values(asset=asset, name=name, value=value, actor=actor, at=tx.now))
    audit.record(tx, actor, "policy", f"{asset}/{name}", {"value": value})
    return of(tx, asset)


def _is_token(tx: Tx, code: str) -> bool:
    return tx.value(select(asset_table.c.contract).where(asset_table.c.code == code)) is not None


def _plain(name: str, value: Any) -> Any:
    return tuple((int(u), int(n)) for u, n in value) if name == "deposit_tiers" else value


def _check(name: str, value: Any) -> None:
    pointer = f"/{name}"
    if name == "deposit_tiers":
        _check_tiers(pointer, value)
    elif name == "withdrawal_fee_kind":
        if value not in ("flat", "percent", "estimate"):
            raise InvalidInput(pointer, "must be flat, percent or estimate")
    else:
        least, most = _BOUNDS.get(name, (0, UNITS_BOUND - 1))
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise InvalidInput(pointer, f"must be a whole number from {least} to {most}")


def _check_tiers(pointer: str, value: Any) -> None:
    try:
        tiers = [(int(u), int(n)) for u, n in value]
    except (TypeError, ValueError):
        raise InvalidInput(pointer, "must be a list of [up_to_units, confirmations]") from None
    if not tiers or [u for u, _ in tiers] != sorted({u for u, _ in tiers}) or tiers[-1][0] < UNITS_BOUND:
        raise InvalidInput(pointer, f"amounts must rise and the last must be {UNITS_BOUND}")
    if any(not 1 <= n <= FINAL_DEPTH for _, n in tiers):
        raise InvalidInput(pointer, f"confirmations go from 1 to {FINAL_DEPTH}")
