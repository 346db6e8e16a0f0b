"""What a payment does to the ledger and to its withdrawals; every posting under a key that can stand once.

intent: treasury -> in flight (what leaves, and the fee ceiling in the chain's own coin; house money). settlement: held
-> in flight, held -> service fees (or cold treasury -> in flight), the network's fee -> network fees, the rest of the
ceiling back to the treasury. Money that stays ours on chain (sweeps, gas, splits) moves no book but that of the fee;
what each index holds moves with it. A settlement undone by a reorganisation is reversed posting by posting and its
holds reopen as a next generation.

A token's own postings stand in a transfer of their own, under the key of the coin's with `:token` behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, bindparam, func, select, update

from jobs import alarms, holdings, withdrawal
from jobs.payment.contents import OUTWARD
from jobs.sweep import rows as sweep_rows
from ledger import holds, postings
from ledger.accounts import house
from ledger.db import Tx
from ledger.errors import LedgerBroken
from ledger.postings import Leg
from ledger.schema import alarm, candidate, ledger_account, payment, payment_item, transfer
from ledger.schema import withdrawal as withdrawals
from wallets.protocol import HOT

#: Why a payment is let go that is in the chain and paid nobody.
REVERTED = "reverted"
#: Reverted payments of one withdrawal after which a person must look.
REVERTS_MAX = 3

#: Alarms of a payment that are over when it is paid, or let go; and one that may outlast it (`close_refusals`).
CONTESTED, STILL_ALIVE, NOT_SEEN = "payment_contested", "payment_still_alive", "not_seen"
REFUSED = "signer_refused"


_MEMBERS = select(payment_item.c.withdrawal_id).where(
    payment_item.c.payment_id == bindparam("payment"), payment_item.c.live == 1
)


def members(tx: Tx, payment_id: int) -> list[Row[Any]]:
    """The payment's live withdrawals, locked in id order."""
    ids = [row.withdrawal_id for row in tx.all(_MEMBERS, {"payment": payment_id})]
    return withdrawal.lock_all(tx, [i for i in ids if i is not None])


def project(tx: Tx, payment_id: int, state: str, *, reason: str | None = None, **values: Any) -> None:
    """Show the payment's progress on its withdrawals; those already there are left alone."""
    behind = [
        row
        for row in members(tx, payment_id)
        if row.state != state or row.status_reason != reason or any(getattr(row, k) != v for k, v in values.items())
    ]
    withdrawal.move_all(tx, behind, state, reason=reason, **values)


def contest(tx: Tx, row: Row[Any], detail: str, reason: str) -> None:
    """A person must look at the payment: the alarm, and its withdrawals in review."""
    alarms.clear(tx, f"payment:{row.id}", NOT_SEEN)  # it was: something else has taken its place
    alarms.raise_(tx, CONTESTED, f"payment:{row.id}", detail)
    project(tx, row.id, "review", reason=reason)


def unbacked(tx: Tx, rows: Sequence[Row[Any]]) -> int | None:
    """A withdrawal for which no hold of amount and fee is open, or None: what was given back is never paid."""
    keys = {row.id: withdrawal.hold_key(row.id, row.holds) for row in rows}
    held = holds.open_units(tx, list(keys.values()))
    return next((row.id for row in rows if held.get(keys[row.id]) != row.units + row.fee_units), None)


def post_intent(tx: Tx, row: Row[Any]) -> None:
    """House money leaves the treasury for the time that the payment is on its way."""
    fee = Leg(house("in_flight"), house("treasury_hot"), row.fee_max_units)
    out = [Leg(house("in_flight"), house("treasury_hot"), row.units)] if row.purpose in OUTWARD else []
    _post(tx, row, intent_key(row.id), "payment_intent", [fee], out)


def intent_stands(tx: Tx, payment_id: int) -> bool:
    """Whether the intent to send was ever committed: from then on a node may have the bytes."""
    return tx.value(select(transfer.c.id).where(transfer.c.transfer_key == intent_key(payment_id))) is not None


def settle(tx: Tx, row: Row[Any], confirmed: Row[Any], fee_units: int) -> None:
    """Book the payment as paid by this candidate: each hold is settled once, whichever candidate confirmed.

    `fee_units` is what the network took.
    """
    rows = members(tx, row.id)
    rest = row.fee_max_units - fee_units
    if rest < 0 or (row.purpose == "withdrawal" and sum(member.units for member in rows) != row.units):
        raise LedgerBroken(f"payment {row.id}: the confirmed transaction is not what was committed")
    in_flight = house("in_flight")
    of_hold = {member.id: _settled_legs(member) for member in rows}
    out = [leg for group in of_hold.values() for leg in group]
    if row.purpose == "cold":
        out = [Leg(house("treasury_cold"), in_flight, row.units)]
    network = [Leg(house("network_fees"), in_flight, fee_units), Leg(house("treasury_hot"), in_flight, rest)]
    key = f"payment:{row.id}:settle:{row.settlements + 1}"
    transfer_id = _post(tx, row, key, "payment_settlement", network, out)
    if transfer_id is None:
        return
    alarms.clear(tx, f"payment:{row.id}", CONTESTED, STILL_ALIVE, NOT_SEEN, REFUSED)
    close_refusals(tx)
    move_holdings(tx, row, fee_units, undo=False)
    sweep_rows.wake(tx, row)
    keys = {member.id: withdrawal.hold_key(member.id, member.holds) for member in rows}
    if rows:
        holds.settle_all(tx, {keys[row_id]: own for row_id, own in of_hold.items()}, transfer_id)
        withdrawal.move_all(tx, rows, "completed", txid=confirmed.txid)


def _settled_legs(member: Row[Any]) -> list[Leg]:
    held = (member.account_id, "held")
    legs = [Leg(held, house("in_flight"), member.units), Leg(held, house("service_fees"), member.fee_units)]
    return [leg for leg in legs if leg.units]


def unsettle(tx: Tx, row: Row[Any], reason: str) -> None:
    """Undo the standing settlement after a reorganisation: exact reversal, and the holds open again."""
    key = f"payment:{row.id}:unsettle:{row.settlements}"
    _reverse(tx, row, f"payment:{row.id}:settle:{row.settlements}", key)
    move_holdings(tx, row, row.fee_units, undo=True)
    sweep_rows.wake(tx, row)
    for member in members(tx, row.id):
        generation = member.holds + 1
        units = member.units + member.fee_units
        standing = _member_key(row, key)
        holds.reopen(tx, withdrawal.hold_key(member.id, generation), member.account_id, member.asset, units, standing)
        withdrawal.move(tx, member, "broadcast", reason=reason, holds=generation)


def undo_intent(tx: Tx, row: Row[Any]) -> None:
    """Bring the house money back from in flight, for a payment that pays nobody any more: proven dead, or reverted by
    the chain for good, which took its fee all the same."""
    if not intent_stands(tx, row.id):
        return
    _reverse(tx, row, intent_key(row.id), f"payment:{row.id}:intent-undone")
    if row.declined == REVERTED and row.fee_units:
        fee = Leg(house("network_fees"), house("treasury_hot"), row.fee_units)
        key = f"payment:{row.id}:fee-of-nothing"
        if postings.post(tx, key, "payment_failed", row.fee_asset, [fee], ("payment", row.id)) is not None:
            _move_fee(tx, row, _items(tx, row.id), -row.fee_units)


def intent_key(payment_id: int) -> str:
    return f"payment:{payment_id}:intent"


def _post(tx: Tx, row: Row[Any], key: str, kind: str, coin: list[Leg], asset: list[Leg]) -> int | None:
    """Post the legs in the chain's coin and those in the payment's asset; the id of the transfer with the latter."""
    ref = ("payment", row.id)
    if row.asset == row.fee_asset:
        return postings.post(tx, key, kind, row.asset, asset + coin, ref)
    own = postings.post(tx, _member_key(row, key), kind, row.asset, asset, ref) if asset else None
    fee = postings.post(tx, key, kind, row.fee_asset, coin, ref)
    return own if asset else fee


def _member_key(row: Row[Any], key: str) -> str:
    """The transfer in which a payment's customers are booked."""
    return key if row.asset == row.fee_asset else f"{key}:token"


def _reverse(tx: Tx, row: Row[Any], standing_key: str, key: str) -> None:
    _reverse_one(tx, row, row.fee_asset, standing_key, key)
    if row.asset != row.fee_asset and row.purpose in OUTWARD:
        _reverse_one(tx, row, row.asset, f"{standing_key}:token", f"{key}:token")


def _reverse_one(tx: Tx, row: Row[Any], asset: str, standing_key: str, key: str) -> None:
    standing = postings.legs_of(tx, standing_key)
    owners = _owners(tx, {side for debit, credit, _ in standing for side in (debit, credit)})
    legs = [Leg(owners[credit], owners[debit], units) for debit, credit, units in standing]
    postings.post(tx, key, "payment_reversal", asset, legs, ("payment", row.id))


def _owners(tx: Tx, ids: set[int]) -> dict[int, tuple[int, str]]:
    a = ledger_account.c
    rows = tx.all(select(a.id, a.account_id, a.kind).where(a.id.in_(sorted(ids))))
    return {row.id: (row.account_id, row.kind) for row in rows}


def move_holdings(tx: Tx, row: Row[Any], fee_units: int, *, undo: bool) -> None:
    """What a payment moves between indices: from its sources, to its own targets, and the fee from who signs."""
    sign = -1 if undo else 1
    items = _items(tx, row.id)
    for item in items:
        if item.source_idx is not None:
            holdings.add(tx, row.chain, row.asset, item.source_idx, -sign * item.units)
        if item.target_idx is not None and item.target_idx != HOT:
            holdings.add(tx, row.chain, row.asset, item.target_idx, sign * item.units)
    _move_fee(tx, row, items, -sign * fee_units)


def _move_fee(tx: Tx, row: Row[Any], items: Sequence[Row[Any]], units: int) -> None:
    payer = next((item.source_idx for item in items if item.source_idx is not None), None)
    if payer is not None and not row.batched:
        holdings.add(tx, row.chain, row.fee_asset, payer, units)


def _items(tx: Tx, payment_id: int) -> Sequence[Row[Any]]:
    i = payment_item.c
    return tx.all(select(payment_item).where(i.payment_id == payment_id).order_by(i.id))


_OF_PAYMENT = candidate.c.payment_id == bindparam("payment")
_CANDIDATES = select(candidate).where(_OF_PAYMENT).order_by(candidate.c.number.desc())


def candidates(tx: Tx, payment_id: int) -> Sequence[Row[Any]]:
    """All signed versions of a payment, the newest first. Any of them may confirm."""
    return tx.all(_CANDIDATES, {"payment": payment_id})


def let_go(tx: Tx, row: Row[Any], *, refund: bool, reason: str | None, not_before: int, aside: bool = False) -> None:
    """End the payment's hold on its withdrawals: back to the queue, or (`refund`) failed with the money returned. Those
    in review stay there, unless an operator chose otherwise; with `aside`, whatever was chosen."""
    sweep_rows.wake(tx, row)
    rows = members(tx, row.id)
    later = _too_much(rows, reason)
    for member in rows:
        tx.execute(
            update(payment_item)
            .where(payment_item.c.payment_id == row.id, payment_item.c.withdrawal_id == member.id)
            .values(live=None)
        )
        if member.state == "review" and (aside or row.resolution is None):
            continue  # the signer found this one wanting: it stays with a person, its money held
        if reason == REVERTED and row.resolution is None and _reverts(tx, member.id) >= REVERTS_MAX:
            withdrawal.move(tx, member, "review", reason=reason, detail="the chain reverted it again and again")
        elif refund:
            withdrawal.give_back(tx, member, "failed", reason or "payment_dead")
        elif member.id not in later:
            withdrawal.move(tx, member, "queued", payment_id=None, txid=None, not_before=tx.now)
        else:
            detail = row.status_detail if row.status_reason == reason else None
            free = {"payment_id": None, "txid": None, "not_before": not_before}
            withdrawal.move(tx, member, "queued", reason=reason, detail=detail, **free)
    alarms.clear(tx, f"payment:{row.id}", CONTESTED, STILL_ALIVE, NOT_SEEN)
    close_refusals(tx)


def close_refusals(tx: Tx) -> None:
    """Close what was raised of payments that the signer refused and that were let go, where nothing waits for that any
    more. Called where something that may have waited has come to its end."""
    a = alarm.c
    for row in tx.all(select(a.subject).where(a.name == REFUSED, a.open == 1)):
        if _is_over(tx, int(row.subject.partition(":")[2])):
            alarms.clear(tx, row.subject, REFUSED)


def _is_over(tx: Tx, payment_id: int) -> bool:
    p, i, w = payment.c, payment_item.c, withdrawals.c
    row = tx.one(select(p.id, p.state, p.asset, p.purpose).where(p.id == payment_id))
    if row.state != "dead":
        return False
    if row.purpose != "withdrawal":  # our own money is tried again by another payment
        again = (p.id > row.id) & (p.asset == row.asset) & (p.purpose == row.purpose)
        return tx.value(select(p.id).where(again, p.state.in_(("settled", "final"))).limit(1)) is not None
    waits = (w.state == "review") | ((w.state == "queued") & (w.status_reason == "outflow_cap"))
    members = select(w.id).join(payment_item, i.withdrawal_id == w.id).where(i.payment_id == row.id)
    return tx.value(members.where(waits).limit(1)) is None


def _reverts(tx: Tx, withdrawal_id: int) -> int:
    i, p = payment_item.c, payment.c
    query = select(func.count()).select_from(payment_item).join(payment, p.id == i.payment_id)
    return int(tx.value(query.where(i.withdrawal_id == withdrawal_id, p.declined == REVERTED)) or 0)


def _too_much(rows: Sequence[Row[Any]], reason: str | None) -> set[int]:
    """Who steps aside. Of those that were too much together only the largest do, so that the others may fit: one for
    want of coins, half for the signer's cap, where every try is a payment of its own."""
    count = {"insufficient_hot_funds": 1, "hot_funds_locked": 1, "outflow_cap": (len(rows) + 1) // 2}.get(
        reason or "", len(rows)
    )
    return {member.id for member in sorted(rows, key=lambda member: -member.units)[:count]}
