"""What the hot wallet has promised and the chain has not taken yet, where a chain knows balances instead of coins.

A coin that a payment spends is bound to it and out of the way. A balance stays what it was until the payment is in a
block: what is promised must be taken off, or the next payment is made with the same money and reverts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Row, select

from jobs.assets import contract_of
from jobs.services import Services
from ledger.db import Tx
from ledger.errors import InsufficientHotFunds
from ledger.schema import payment, payment_item
from wallets.protocol import HOT, Proposal, Spend

#: A payment has chosen its resources, and may be in no block yet.
_UNDERWAY = ("reserved", "signed", "broadcast", "confirming", "bumping", "review")


def units(tx: Tx, chain: str, besides: int | None = None) -> Mapping[str, int]:
    """By asset, what payments (but for the one `besides`) take from the hot wallet in no block yet; nothing where
    their proposals name coins."""
    p = payment.c
    query = select(payment).where(p.chain == chain, p.state.in_(_UNDERWAY), p.height.is_(None))
    found: Counter[str] = Counter()
    for row in tx.all(query):
        if row.id != besides and row.proposal is not None and not row.proposal["spends"]:
            found += _taken(tx, row)
    return found


def _taken(tx: Tx, row: Row[Any]) -> Counter[str]:
    i = payment_item.c
    items = tx.all(select(i.source_idx, i.target_idx, i.units).where(i.payment_id == row.id))
    out = sum(item.units for item in items if item.source_idx is None and item.target_idx != HOT)
    taken = Counter({row.asset: out})
    if row.batched or all(item.source_idx is None for item in items):
        taken[row.fee_asset] += row.fee_units
    return taken


def check(services: Services, row: Row[Any], spend: Spend, proposal: Proposal) -> None:
    """Raises `InsufficientHotFunds` when the hot wallet has promised what this proposal takes to others."""
    if proposal.spends or (spend.sources and not spend.batched):
        return
    needed = Counter({row.fee_asset: proposal.fee_units})
    if not spend.sources:
        needed[row.asset] += sum(output.units for output in spend.outputs)

    def read(tx: Tx) -> tuple[Mapping[str, int], dict[str, str | None]]:
        return units(tx, row.chain, besides=row.id), {code: contract_of(tx, code) for code in needed}

    promised, contracts = services.database.read(read)  # before the balances: what is mined meanwhile counts twice
    for code, asked in needed.items():
        held = services.wallet(row.chain).balance(contracts[code]).spendable_units
        if promised.get(code, 0) and held < promised[code] + asked:
            detail = f"of {held} units of {code}, {promised[code]} are on their way to others and {asked} are asked"
            raise InsufficientHotFunds(detail)
