"""Large deposits need a second node's word (FAULTS D12, D13): the same block at the same height, and the payment in it.

A node that lies, or was cut off from all others, would otherwise have whatever it shows credited. The lesser number of
confirmations counts. An installation that names no second node asks none.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from sqlalchemy import Row

from jobs import alarms
from jobs.deposit.state import SURPLUS_PREFIX
from jobs.saga import Effect
from jobs.services import Services
from ledger.db import Tx
from ledger.errors import NodeUnavailable
from ledger.policy import FINAL_DEPTH, AssetPolicy

#: Why a deposit waits: in its `status_reason`, and the alarm's name while the nodes disagree.
REASON = "second_node"
ALARM = "nodes_disagree"


def doubt(services: Services, row: Row[Any], rules: AssetPolicy, needed: int) -> tuple[str, Effect | None] | None:
    """Why a deposit that our node calls deep must wait, and what to write with it; None when it need not."""
    witness = services.witnesses.get(row.chain)
    if witness is None or row.units <= rules.deposit_witness_above_units or row.output_key.startswith(SURPLUS_PREFIX):
        return None
    try:
        depth = witness.depth(row.txid, row.height, row.block_hash)
    except NodeUnavailable as error:
        raise NodeUnavailable(f"the second node: {error.detail}") from None
    if depth == 0:
        detail = "the second node has another block there, or none, or not this payment in it"
        return detail, partial(_disagree, f"{row.public_id} in block {row.height}: {detail}")
    wanted = 1 if needed >= FINAL_DEPTH else needed  # what is final, our node says; the other must have the block
    return None if depth >= wanted else (f"the second node has seen {depth} of {needed} confirmations", None)


def over(tx: Tx, row: Row[Any]) -> None:
    """It is booked, or left its block: nothing is in doubt any more. An outage since may have changed its reason."""
    alarms.clear(tx, f"deposit:{row.id}", ALARM)


def _disagree(detail: str, tx: Tx, row: Row[Any]) -> None:
    alarms.raise_(tx, ALARM, f"deposit:{row.id}", detail)
