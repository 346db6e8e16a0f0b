"""Assets: what can be owned here, and whether it moves now."""

from __future__ import annotations

from pydantic import Field
from sqlalchemy import select

from api.answers import Answer, ok
from api.call import Call
from api.endpoints import Resource
from api.shapes import Money
from api.validation import Shown
from jobs import views
from ledger import pauses, policy
from ledger.db import Tx
from ledger.schema import asset

resource = Resource("assets", __name__, "What can be owned")


class Flows(Shown):
    deposits: bool
    withdrawals: bool
    transfers: bool
    escrows: bool
    swaps: bool


class Asset(Shown):
    code: str
    chain: str
    decimals: int
    contract: str | None
    enabled: bool
    flows: Flows = Field(description="False while an operator, or a failed check of books or keys, has stopped it")
    deposit_minimum: Money = Field(description="Less is not credited")
    withdrawal_minimum: Money
    withdrawal_maximum: Money
    withdrawal_approval_above: Money
    swap_minimum: Money = Field(description="The least that is sold or bought in a swap")
    swap_maximum: Money


class AssetList(Shown):
    data: list[Asset]


@resource.read("/assets", AssetList, scope=None, etag=True)
def list_assets(call: Call, tx: Tx) -> Answer:
    """List assets with their limits."""
    return ok({"data": [_render(tx, row) for row in tx.all(select(asset).order_by(asset.c.code))]})


def _render(tx: Tx, row) -> dict:
    rules = policy.of(tx, row.code)
    limits = {
        "deposit_minimum": rules.deposit_minimum_units,
        "withdrawal_minimum": rules.withdrawal_minimum_units,
        "withdrawal_maximum": rules.withdrawal_maximum_units,
        "withdrawal_approval_above": rules.withdrawal_approval_above_units,
        "swap_minimum": rules.swap_minimum_units,
        "swap_maximum": rules.swap_maximum_units,
    }
    return {
        "code": row.code,
        "chain": row.chain,
        "decimals": row.decimals,
        "contract": row.contract,
        "enabled": bool(row.enabled),
        "flows": {flow: pauses.reason(tx, row.code, flow) is None for flow in Flows.model_fields},
    } | {name: views.money(units, row.code, row.decimals) for name, units in limits.items()}
