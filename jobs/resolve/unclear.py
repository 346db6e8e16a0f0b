"""Payments that are in the chain for good and did something else than they say: a token that said false and moved
nothing, or that took a part for itself. A person decides; the choice must fit what the wallet holds now, so that the
books come out exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Row, select, update

from jobs import holdings
from jobs.assets import contract_of
from jobs.payment import books as payment_books
from jobs.payment.contents import OUTWARD
from jobs.reconcile import chain as reconcile
from jobs.resolve.by_hand import write
from jobs.services import Services
from jobs.sweep import rows as sweep_rows
from ledger import audit, history
from ledger.db import Tx
from ledger.errors import StateConflict
from ledger.schema import payment, payment_item, resource
from wallets.protocol import TxStatus


@dataclass(frozen=True)
class Evidence:
    """What the chain shows of such a payment: of money that was to leave, how much is still here; of money that was to
    be collected, what each index holds now."""

    here_units: int = 0
    at_index: Mapping[int, int] = field(default_factory=dict)


def evidence(services: Services, row: Row[Any]) -> Evidence:
    """Ask the node. Raises `NodeUnavailable`, `NodeNotReady`."""
    if row.purpose in OUTWARD:
        report = reconcile.of_asset(services, row.asset, row.chain)
        return Evidence(here_units=report.doubtful_units + report.unexplained_units)
    token, indices = services.database.read(lambda tx: (contract_of(tx, row.asset), _sources(tx, row)))
    return Evidence(at_index=services.wallet(row.chain).balance(token, indices).at_index)


def check_nothing_left(row: Row[Any], seen: Evidence) -> None:
    """Raises `StateConflict` unless all of it is still here, so that paying again or giving back is right."""
    if row.purpose not in OUTWARD:
        raise StateConflict("it moved own money: say --paid to book what the chain shows", status=row.state)
    if seen.here_units != row.units:
        raise StateConflict(_mismatch(row, seen), status=row.state)


def settle(tx: Tx, row: Row[Any], confirmed: Row[Any], status: TxStatus, seen: Evidence, actor: str) -> None:
    """Book it as paid, for good: only when all of it has left; own money by what each index holds now. Audited."""
    fee = confirmed.fee_units if status.fee_units is None else status.fee_units
    if row.purpose in OUTWARD and seen.here_units != 0:
        raise StateConflict(_mismatch(row, seen), status=row.state)
    payment_books.settle(tx, row, confirmed, fee)
    if row.purpose not in OUTWARD:
        _book_as_seen(tx, row, seen)
    values = {"state": "final", "status_reason": "paid_by_operator", "due_at": None, "txid": confirmed.txid}
    values |= {"settled_candidate": confirmed.number, "settlements": row.settlements + 1, "fee_units": fee}
    write(tx, payment, row, values | {"height": status.height})
    tx.execute(update(resource).where(resource.c.payment_id == row.id).values(live=None))
    history.note(tx, "payment", row.id, row.state, "final", "paid_by_operator", actor)
    told = {"txid": confirmed.txid, "fee_units": str(fee), "here_units": str(seen.here_units)}
    audit.record(tx, actor, "payment.paid", row.public_id, told)


def _mismatch(row: Row[Any], seen: Evidence) -> str:
    here, gone = seen.here_units, row.units - seen.here_units
    if here == 0:
        return "all of it has left the wallet: paying or giving it back would cost it twice; --paid fits"
    if gone == 0:
        return "nothing of it has left the wallet, so it is not paid: --retry or --refund fit"
    return (
        f"of its {row.units} units {gone} have left the wallet and {here} are here, or something else is unexplained: "
        "no choice books that. Pause the asset and look at `coffer reconcile` first"
    )


def _book_as_seen(tx: Tx, row: Row[Any], seen: Evidence) -> None:
    """The holdings of its indices as the chain has them, whatever it was to move."""
    sources = _sources(tx, row)
    if sweep_rows.arriving(tx, row.chain) & set(sources):
        raise StateConflict("money is arriving on one of its indices: wait until it is credited", status=row.state)
    for index in sources:
        held = holdings.at(tx, row.chain, row.asset, index)
        holdings.add(tx, row.chain, row.asset, index, seen.at_index.get(index, 0) - held)


def _sources(tx: Tx, row: Row[Any]) -> list[int]:
    i = payment_item.c
    query = select(i.source_idx).where(i.payment_id == row.id, i.source_idx.is_not(None)).order_by(i.id)
    return [found.source_idx for found in tx.all(query)]
