"""Operators' acts on escrows: an arbiter's word, and a decision about what came wrongly. Each is audited."""

from __future__ import annotations

from sqlalchemy import Row

from jobs.caller import Caller
from jobs.escrow import ending as escrow_ending
from jobs.escrow import funding as escrow_funding
from jobs.resolve.by_hand import by_id
from ledger import audit
from ledger.db import Tx
from ledger.money import Asset, format_units, parse_amount
from ledger.schema import asset, escrow


def resolve_escrow(tx: Tx, public_id: str, vendor_amount: str, actor: str) -> tuple[str, str]:
    """Split a disputed escrow: so much to the vendor, the rest to the buyer; both parts of the price as text.

    `vendor_amount` may be `0` or `all`.
    """
    row = by_id(tx, escrow, public_id)
    coin = _coin(tx, row)
    left = row.units - row.released_units - row.refunded_units
    units = {"0": 0, "all": left}.get(vendor_amount)
    if units is None:
        units = parse_amount(vendor_amount, coin, "/vendor")
    escrow_ending.resolve(tx, _operator(row, actor), row.id, units)
    shares = format_units(units, coin.decimals), format_units(left - units, coin.decimals)
    audit.record(tx, actor, "escrow.resolve", public_id, {"vendor": shares[0], "buyer": shares[1]})
    return shares


def decide_escrow(tx: Tx, public_id: str, decision: str, actor: str) -> str:
    """`accept` or `return` what waits for a decision; the escrow's state afterwards."""
    row = by_id(tx, escrow, public_id)
    shown = escrow_funding.decide(tx, _operator(row, actor), row.id, decision)
    audit.record(tx, actor, f"escrow.{decision}", public_id, {"status": shown["status"]})
    return str(shown["status"])


def _operator(row: Row[tuple[object, ...]], actor: str) -> Caller:
    return Caller(row.project_id, None, actor, actor)


def _coin(tx: Tx, row: Row[tuple[object, ...]]) -> Asset:
    found = tx.one(asset.select().where(asset.c.code == row.asset))
    return Asset(found.code, found.chain, found.decimals)
