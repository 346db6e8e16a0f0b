"""The terms of a withdrawal: whom it may pay, what it costs, and what limits it keeps to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from jobs.assets import contract_of
from jobs.services import Services, chain_row
from ledger.db import Tx
from ledger.errors import InsufficientFunds, InvalidAddress, InvalidAmount, LimitExceeded
from ledger.money import Asset, format_units
from ledger.policy import AssetPolicy
from ledger.schema import address, payment
from ledger.schema import asset as asset_table


@dataclass(frozen=True, slots=True)
class Order:
    """What a caller asks for. `units` None means all that is available, fee included."""

    account_id: int
    asset: str
    units: int | None
    address: str
    reference: str
    fee_from: str = "balance"  #: who bears the fee: `balance` on top, `amount` out of the amount
    metadata: dict[str, Any] | None = None
    fee_units: int | None = None  #: the fee that was promised elsewhere, as in a quote; None: by the policy of now


@dataclass(frozen=True, slots=True)
class Preview:
    """What the order would do now, in atomic units."""

    units: int
    fee_units: int
    total_units: int
    approvals_needed: int
    address: str


def payee_of(tx: Tx, order: Order, asset: Asset, services: Services) -> str:
    """The canonical address that is paid. Raises `InvalidAddress` for one of another network, for one of ours (handed
    out, hot or cold), and for a contract that would keep what it gets."""
    payee = services.address_book(asset.chain).parse(order.address)
    given = select(address.c.id).where(address.c.chain == asset.chain, address.c.address == payee)
    house = (chain_row(tx, asset.chain).account_public_key, services.cold_addresses.get(asset.chain))
    if payee in house or tx.value(given) is not None:
        raise InvalidAddress(
            "/address", "is an address of this installation; use a transfer between accounts", "address_own"
        )
    if _is_contract_of_ours(tx, asset.chain, payee):
        raise InvalidAddress("/address", "is a contract that this installation uses: what it is sent is lost")
    return payee


def _is_contract_of_ours(tx: Tx, chain: str, payee: str) -> bool:
    a, p = asset_table.c, payment.c
    token = select(a.code).where(a.chain == chain, a.contract == payee)
    made = select(p.id).where(p.chain == chain, p.purpose == "call", p.created == payee)
    return any(tx.value(query.limit(1)) is not None for query in (token, made))


def priced(tx: Tx, order: Order, asset: Asset, rules: AssetPolicy, available: int, services: Services) -> Preview:
    """What the order would pay and cost, of this much that is available.

    Raises `InsufficientFunds`, `InvalidAmount`, `InvalidAddress`, `LimitExceeded`.
    """
    payee = payee_of(tx, order, asset, services)
    if order.units is None:
        fee = _fee_of_total(tx, order, available, asset, rules, services)
        units, total = available - fee, available
        if units <= 0:
            raise InsufficientFunds("the available balance does not cover the fee", missing_units=fee - available + 1)
    elif order.fee_from == "amount":
        fee = _charged(tx, order, order.units, asset, rules, services)
        units, total = order.units - fee, order.units
        if units <= 0:
            raise InvalidAmount(
                "/amount", f"does not cover the fee of {format_units(fee, asset.decimals)} {asset.code}"
            )
    else:
        fee = _charged(tx, order, order.units, asset, rules, services)
        units, total = order.units, order.units + fee
    if units < rules.withdrawal_minimum_units:
        least = format_units(rules.withdrawal_minimum_units, asset.decimals)
        raise InvalidAmount("/amount", f"the payee must receive at least {least} {asset.code}", "amount_below_minimum")
    if units > rules.withdrawal_maximum_units:
        most = format_units(rules.withdrawal_maximum_units, asset.decimals)
        raise LimitExceeded(f"a withdrawal may pay at most {most} {asset.code}")
    if total > available:
        raise InsufficientFunds("the available balance does not cover amount and fee", missing_units=total - available)
    needed = rules.withdrawal_approvals if units > rules.withdrawal_approval_above_units else 0
    return Preview(units, fee, total, needed, payee)


def _charged(tx: Tx, order: Order, units: int, asset: Asset, rules: AssetPolicy, services: Services) -> int:
    return fee_of(tx, units, asset, rules, services) if order.fee_units is None else order.fee_units


def fee_of(tx: Tx, units: int, asset: Asset, rules: AssetPolicy, services: Services) -> int:
    """What a withdrawal of so much is charged at this moment."""
    if rules.withdrawal_fee_kind == "percent":
        return max(rules.withdrawal_fee_units, -(-units * rules.withdrawal_fee_ppm // 1_000_000))
    if rules.withdrawal_fee_kind == "estimate" and contract_of(tx, asset.code) is None:  # a token's is in another coin
        rate = chain_row(tx, asset.chain).fee_rate or rules.payment_rate_fallback
        return max(rules.withdrawal_fee_units, services.address_book(asset.chain).typical_fee(rate))
    return rules.withdrawal_fee_units


def _fee_of_total(tx: Tx, order: Order, total: int, asset: Asset, rules: AssetPolicy, services: Services) -> int:
    """The fee when `total` is all there is: the largest payable amount has fee(amount) + amount <= total."""
    if order.fee_units is not None or rules.withdrawal_fee_kind != "percent":
        return _charged(tx, order, total, asset, rules, services)
    units = total * 1_000_000 // (1_000_000 + rules.withdrawal_fee_ppm)
    return max(rules.withdrawal_fee_units, total - units)
