"""What a payment does to the ledger and to its withdrawals; every posting under a key that can stand once.

intent: treasury -> in flight (outputs and the fee ceiling, house money). settlement: held -> in flight, held -> service
fees, the network's fee -> network fees, the rest of the ceiling back to the treasury. A settlement undone by a
reorganisation is reversed posting by posting and its holds reopen as a next generation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, select, update

from jobs import withdrawal
from ledger import holds, postings
from ledger.accounts import house
from ledger.db import Tx
from ledger.errors import LedgerBroken
from ledger.postings import Leg
from ledger.schema import candidate, ledger_account, payment_item, transfer


def members(tx: Tx, payment_id: int) -> list[Row[Any]]:
    """The payment's live withdrawals, locked in id order."""
    i = payment_item.c
    ids = [r.withdrawal_id for r in tx.all(select(i.withdrawal_id).where(i.payment_id == payment_id, i.live == 1))]
    return withdrawal.lock_all(tx, [i for i in ids if i is not None])


def project(tx: Tx, payment_id: int, state: str, *, reason: str | None = None, **values: Any) -> None:
    """Show the payment's progress on its withdrawals; those already there are left alone."""
    behind = [
        row
        for row in members(tx, payment_id)
        if row.state != state or row.status_reason != reason or any(getattr(row, k) != v for k, v in values.items())
    ]
    withdrawal.move_all(tx, behind, state, reason=reason, **values)


def unbacked(tx: Tx, rows: Sequence[Row[Any]]) -> int | None:
    """A withdrawal for which no hold of amount and fee is open, or None: what was given back is never paid."""
    keys = {row.id: withdrawal.hold_key(row.id, row.holds) for row in rows}
    held = holds.open_units(tx, list(keys.values()))
    return next((row.id for row in rows if held.get(keys[row.id]) != row.units + row.fee_units), None)


def post_intent(tx: Tx, row: Row[Any]) -> None:
    """House money leaves the treasury for the time that the payment is on its way."""
    leg = Leg(house("in_flight"), house("treasury_hot"), row.units + row.fee_max_units)
    postings.post(tx, intent_key(row.id), "payment_intent", row.asset, [leg], ("payment", row.id))


def intent_stands(tx: Tx, payment_id: int) -> bool:
    """Whether the intent to send was ever committed: from then on a node may have the bytes."""
    return tx.value(select(transfer.c.id).where(transfer.c.transfer_key == intent_key(payment_id))) is not None


def settle(tx: Tx, row: Row[Any], confirmed: Row[Any]) -> None:
    """Book the payment as paid by this candidate: each hold is settled once, whichever candidate confirmed."""
    number = row.settlements + 1
    rows = members(tx, row.id)
    in_flight, legs_of_hold = house("in_flight"), {}
    for member in rows:
        held = (member.account_id, "held")
        legs_of_hold[member.id] = [
            Leg(held, in_flight, member.units),
            Leg(held, house("service_fees"), member.fee_units),
        ]
    rest = row.fee_max_units - confirmed.fee_units
    if rest < 0 or sum(member.units for member in rows) != row.units:
        raise LedgerBroken(f"payment {row.id}: the confirmed transaction is not what was committed")
    network = [
        Leg(house("network_fees"), in_flight, confirmed.fee_units),
        Leg(house("treasury_hot"), in_flight, rest),
    ]
    legs = [leg for group in legs_of_hold.values() for leg in group] + network
    key = f"payment:{row.id}:settle:{number}"
    transfer_id = postings.post(tx, key, "payment_settlement", row.asset, legs, ("payment", row.id))
    if transfer_id is None:
        return
    keys = {member.id: withdrawal.hold_key(member.id, member.holds) for member in rows}
    holds.settle_all(tx, {keys[row_id]: own for row_id, own in legs_of_hold.items()}, transfer_id)
    withdrawal.move_all(tx, rows, "completed", txid=confirmed.txid)


def unsettle(tx: Tx, row: Row[Any], reason: str) -> None:
    """Undo the standing settlement after a reorganisation: exact reversal, and the holds open again."""
    key = f"payment:{row.id}:unsettle:{row.settlements}"
    _reverse(tx, f"payment:{row.id}:settle:{row.settlements}", key, row)
    for member in members(tx, row.id):
        generation = member.holds + 1
        units = member.units + member.fee_units
        holds.reopen(tx, withdrawal.hold_key(member.id, generation), member.account_id, member.asset, units, key)
        withdrawal.move(tx, member, "broadcast", reason=reason, holds=generation)


def undo_intent(tx: Tx, row: Row[Any]) -> None:
    """Bring the house money back from in flight; only for a payment that is proven dead."""
    if intent_stands(tx, row.id):
        _reverse(tx, intent_key(row.id), f"payment:{row.id}:intent-undone", row)


def intent_key(payment_id: int) -> str:
    return f"payment:{payment_id}:intent"


def _reverse(tx: Tx, standing_key: str, key: str, row: Row[Any]) -> None:
    standing = postings.legs_of(tx, standing_key)
    owners = _owners(tx, {side for debit, credit, _ in standing for side in (debit, credit)})
    legs = [Leg(owners[credit], owners[debit], units) for debit, credit, units in standing]
    postings.post(tx, key, "payment_reversal", row.asset, legs, ("payment", row.id))


def _owners(tx: Tx, ids: set[int]) -> dict[int, tuple[int, str]]:
    a = ledger_account.c
    rows = tx.all(select(a.id, a.account_id, a.kind).where(a.id.in_(sorted(ids))))
    return {row.id: (row.account_id, row.kind) for row in rows}


def candidates(tx: Tx, payment_id: int) -> Sequence[Row[Any]]:
    """All signed versions of a payment, the newest first. Any of them may confirm."""
    query = select(candidate).where(candidate.c.payment_id == payment_id)
    return tx.all(query.order_by(candidate.c.number.desc()))


def let_go(tx: Tx, row: Row[Any], *, refund: bool, reason: str | None, not_before: int) -> None:
    """End the payment's hold on its withdrawals: back to the queue, or (`refund`) failed with the money returned."""
    rows = members(tx, row.id)
    later = _too_much(rows, reason)
    for member in rows:
        tx.execute(
            update(payment_item)
            .where(payment_item.c.payment_id == row.id, payment_item.c.withdrawal_id == member.id)
            .values(live=None)
        )
        if member.state == "review" and row.resolution is None:
            continue  # the signer found this one wanting: it stays with a person, its money held
        if refund:
            withdrawal.give_back(tx, member, "failed", reason or "payment_dead")
        elif member.id not in later:
            withdrawal.move(tx, member, "queued", payment_id=None, txid=None, not_before=tx.now)
        else:
            withdrawal.move(tx, member, "queued", reason=reason, payment_id=None, txid=None, not_before=not_before)


def _too_much(rows: Sequence[Row[Any]], reason: str | None) -> set[int]:
    """Who steps aside. Of those that were too much together only the largest do, so that the others may fit: one for
    want of coins, half for the signer's cap, where every try is a payment of its own."""
    count = {"insufficient_hot_funds": 1, "outflow_cap": (len(rows) + 1) // 2}.get(reason or "", len(rows))
    return {member.id for member in sorted(rows, key=lambda member: -member.units)[:count]}
