"""Withdrawals up to the point where they join a payment: request, approval, cancellation.

The hold of amount and fee stands in the request's own transaction; nothing here calls a node. From the moment a
withdrawal has a payment, `jobs.payment.saga` moves it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BindParameter, Row, bindparam, insert, or_, select, update

from jobs import debts, references, tasks, views
from jobs.assets import asset_of
from jobs.caller import Caller
from jobs.escrow import frozen_parts
from jobs.row_mac import RowMac
from jobs.services import Services
from jobs.withdrawal_terms import Order, Preview, priced
from ledger import accounts, balances, halts, history, holds, pauses, policy
from ledger.db import Tx
from ledger.errors import (
    AccountFrozen,
    InvalidInput,
    LimitExceeded,
    NotFound,
    StateConflict,
)
from ledger.ids import new_id
from ledger.money import Asset, format_units
from ledger.policy import AssetPolicy
from ledger.schema import account, approval, swap, withdrawal
from ledger.types import total

DAY_US = 86_400 * 1_000_000

#: States in which the money has not come back and so counts against the daily limit.
_COUNTED = ("pending_approval", "queued", "signed", "broadcast", "confirming", "completed", "review")

#: Why a withdrawal is in review that may have been paid in a life which a restore has lost.
PAID_BEFORE = ("restored", "order_signed_before", "signed_before", "inputs_spent")

#: A withdrawal in one of these states can be taken back unless it has joined a payment.
UNSENT = ("pending_approval", "queued")

#: States that nothing leads out of, but for a reorganisation.
ENDED = ("completed", "failed", "rejected", "cancelled")


@dataclass(frozen=True, slots=True)
class Requested:
    """A stored withdrawal, and the resource as its event shows it."""

    id: int
    shown: dict[str, Any]


def preview(tx: Tx, caller: Caller, order: Order, services: Services) -> Preview:
    """What `request` would do at this moment. Writes nothing; raises what `request` would raise."""
    asset, rules = _checked(tx, caller, order)
    available = balances.get(tx, (order.account_id, "available"), asset.code)
    return priced(tx, order, asset, rules, available, services)


def request(tx: Tx, caller: Caller, order: Order, services: Services) -> Requested:
    """Store a withdrawal and hold its amount and fee. One transaction, no node.

    Raises `InvalidInput` (with a pointer), `InsufficientFunds`, `LimitExceeded`, `AccountFrozen`, `AssetPaused`,
    `ReferenceExists`, `NotFound`.
    """
    mac = services.require_mac()
    with references.told_first(tx, withdrawal, caller.project_id, order.reference):
        asset, rules = _checked(tx, caller, order)
        wanted = _within_limits(tx, order, asset, rules, services)
        state = "pending_approval" if wanted.approvals_needed else "queued"
        withdrawal_id = _insert(tx, caller, order, asset, wanted, state, mac)
    held = ("withdrawal", withdrawal_id)
    holds.place(tx, hold_key(withdrawal_id, 1), order.account_id, asset.code, wanted.total_units, held)
    history.note(tx, "withdrawal", withdrawal_id, None, state, actor=caller.name)
    shown = _announce(tx, withdrawal_id, caller.project_id, state)
    if state == "queued":
        tasks.wake(tx, f"batch:{asset.chain}")
    return Requested(withdrawal_id, shown)


def _within_limits(tx: Tx, order: Order, asset: Asset, rules: AssetPolicy, services: Services) -> Preview:
    """What it costs, counted behind the lock of its balance."""
    owner = (order.account_id, "available")
    row_id = accounts.find(tx, [owner, (order.account_id, "held")], asset.code)[owner]
    available = accounts.lock_balances(tx, [row_id])[row_id]
    wanted = priced(tx, order, asset, rules, available, services)
    _check_daily(tx, order, asset, rules, wanted)
    return wanted


def cancel(tx: Tx, caller: Caller, withdrawal_id: int) -> None:
    """Give the money back, while the withdrawal is in no payment. Raises `StateConflict` when it is too late."""
    row = _locked(tx, caller, withdrawal_id)
    check_unsent(tx, row)
    give_back(tx, row, "cancelled", "cancelled_by_customer", caller.name)


def is_unsent(row: Row[Any]) -> bool:
    """Whether it waits and has joined no payment."""
    return row.state in UNSENT and row.payment_id is None


def check_unsent(tx: Tx, row: Row[Any]) -> None:
    """Raises `StateConflict` unless this locked withdrawal can be cancelled: it waits in no payment, and cannot have
    been paid by what this database does not know."""
    if not is_unsent(row):
        raise StateConflict("it has joined a payment or has ended; it can no longer be cancelled", status=row.state)
    halts.check_sure(tx, row.chain)


def take_back(tx: Tx, row: Row[Any]) -> bool:
    """Cancel a locked withdrawal because a deposit has left the chain; False when it could not be cancelled by
    anybody: what it holds stays held."""
    if not is_unsent(row) or halts.reason(tx, row.chain, halts.UNSURE) is not None:
        return False
    give_back(tx, row, "cancelled", "funding_reversed")
    return True


def reject(tx: Tx, caller: Caller, withdrawal_id: int, reason: str) -> None:
    """Refuse a withdrawal that waits for approval; the money goes back."""
    row = _locked(tx, caller, withdrawal_id)
    if row.state != "pending_approval":
        raise StateConflict("it does not wait for approval", status=row.state)
    halts.check_sure(tx, row.chain)
    give_back(tx, row, "rejected", reason[:64] or "rejected", caller.name)


def approve(tx: Tx, caller: Caller, withdrawal_id: int, services: Services) -> None:
    """Add one person's approval; the last one needed queues the withdrawal.

    Raises `StateConflict` for a second approval by the same person, or by the person who asked for it.
    """
    row = _locked(tx, caller, withdrawal_id)
    if row.state != "pending_approval":
        raise StateConflict("it does not wait for approval", status=row.state)
    if caller.holder == _requested_by(tx, row):
        raise StateConflict("the person who asked for it cannot approve it", status=row.state)
    given = {r.holder for r in tx.all(select(approval.c.holder).where(approval.c.withdrawal_id == row.id))}
    if caller.holder in given:
        raise StateConflict("this person has approved it before; another one is needed", status=row.state)
    values = {"withdrawal_id": row.id, "holder": caller.holder, "created_at": tx.now}
    tx.execute(insert(approval).values(values | {"mac": services.require_mac().approval(row.mac, caller.holder)}))
    if len(given) + 1 >= row.approvals_needed:
        move(tx, row, "queued", actor=caller.name)
        tasks.wake(tx, f"batch:{row.chain}")
    else:
        tx.execute(
            update(withdrawal).where(withdrawal.c.id == row.id).values(version=row.version + 1, updated_at=tx.now)
        )
        history.note(tx, "withdrawal", row.id, row.state, row.state, "approved", caller.name)


def give_back(tx: Tx, row: Row[Any], state: str, reason: str, actor: str | None = None) -> None:
    """End a withdrawal whose money stays here: void its hold. `row` is locked by the caller's transaction."""
    holds.void(tx, hold_key(row.id, row.holds), ("withdrawal", row.id))
    move(tx, row, state, reason=reason, actor=actor)
    debts.collect(tx, row.account_id, row.asset, f"withdrawal:{row.id}:{state}")
    frozen_parts.follow(tx, ("withdrawal", row.id), [(row.account_id, row.units + row.fee_units)])


def move(tx: Tx, row: Row[Any], state: str, **changes: Any) -> None:
    """As `move_all`, for one."""
    move_all(tx, [row], state, **changes)


def move_all(
    tx: Tx,
    rows: Sequence[Row[Any]],
    state: str,
    *,
    reason: str | None = None,
    detail: str | None = None,
    actor: str | None = None,
    **values: Any,
) -> None:
    """Write the new state of withdrawals with history and events. Compares and sets: `rows` must still be current."""
    w = withdrawal.c
    now = {"state": state, "status_reason": reason, "status_detail": detail, "updated_at": tx.now}
    for version in sorted({row.version for row in rows}):
        ids = [row.id for row in rows if row.version == version]
        current = w.id.in_(ids) & (w.version == version)
        written = tx.execute(update(withdrawal).where(current).values(now | values | {"version": version + 1}))
        if written.rowcount != len(ids):
            raise StateConflict("a withdrawal changed at the same time", status=rows[0].state)
    noted = [(row.id, row.state) for row in rows if state != row.state or reason != row.status_reason]
    if noted:
        history.note_all(tx, "withdrawal", noted, state, reason, actor)
    if state in ENDED:
        _wake_swaps(tx, [row.id for row in rows])
    projects = {row.id: row.project_id for row in rows if state != row.state}
    if projects:
        shown = views.withdrawals(tx, list(projects))
        told = [(project, view["id"], view) for project, view in zip(projects.values(), shown, strict=True)]
        history.emit_all(tx, f"withdrawal.{state}", told)


def _wake_swaps(tx: Tx, ids: Sequence[int]) -> None:
    """Swaps whose payout or refund these are look at them soon."""
    s = swap.c
    waits = s.due_at.is_not(None) & or_(s.withdrawal_id.in_(ids), s.refund_withdrawal_id.in_(ids))
    tx.execute(update(swap).where(waits).values(due_at=tx.now, wakes=s.wakes + 1))


def hold_key(withdrawal_id: int, generation: int) -> str:
    """The unique key of a withdrawal's hold; a settlement undone by a reorganisation opens the next generation."""
    return f"withdrawal:{withdrawal_id}#{generation}"


def _announce(tx: Tx, withdrawal_id: int, project_id: int, state: str) -> dict[str, Any]:
    data = views.withdrawal(tx, withdrawal_id)
    history.emit(tx, project_id, f"withdrawal.{state}", data["id"], data)
    return data


def _checked(tx: Tx, caller: Caller, order: Order) -> tuple[Asset, AssetPolicy]:
    owner = account.c
    query = select(owner.frozen_reason).where(owner.id == order.account_id, owner.project_id == caller.project_id)
    found = tx.first(query.where(owner.kind != "house"))
    if found is None:
        raise NotFound("no such account")
    asset = asset_of(tx, order.asset)
    if asset is None:
        raise InvalidInput("/asset", f"{order.asset} is not an asset of this installation", "asset_unknown")
    if order.fee_from not in ("balance", "amount"):
        raise InvalidInput("/fee_from", "must be balance or amount")
    if found.frozen_reason is not None:
        raise AccountFrozen(f"the account is frozen: {found.frozen_reason}")
    pauses.check(tx, asset.code, "withdrawals")
    return asset, policy.of(tx, asset.code)


def _insert(tx: Tx, caller: Caller, order: Order, asset: Asset, wanted: Preview, state: str, mac: RowMac) -> int:
    values = {
        "public_id": new_id("wd"),
        "project_id": caller.project_id,
        "account_id": order.account_id,
        "asset": asset.code,
        "chain": asset.chain,
        "units": wanted.units,
        "fee_units": wanted.fee_units,
        "address": wanted.address,
        "reference": order.reference,
        "approvals_needed": wanted.approvals_needed,
        "created_by": caller.key_id,
    }
    rest = {
        "fee_from": order.fee_from,
        "metadata": order.metadata,
        "holds": 1,
        "version": 1,
        "state": state,
        "mac": mac.withdrawal(values),
    }
    moments = {"not_before": tx.now, "created_at": tx.now, "updated_at": tx.now}
    return tx.insert(insert(withdrawal).values(values | rest | moments))


def _check_daily(tx: Tx, order: Order, asset: Asset, rules: AssetPolicy, wanted: Preview) -> None:
    w = withdrawal.c
    recent = select(total(w.units)).where(
        w.account_id == order.account_id, w.asset == asset.code, w.created_at > tx.now - DAY_US
    )
    used = int(tx.value(recent.where(w.state.in_(_COUNTED))) or 0)
    if used + wanted.units > rules.withdrawal_daily_units:
        left = format_units(max(0, rules.withdrawal_daily_units - used), asset.decimals)
        raise LimitExceeded(f"the account may withdraw {left} {asset.code} more within 24 hours")


def _locked(tx: Tx, caller: Caller, withdrawal_id: int) -> Row[Any]:
    w = withdrawal.c
    query = select(withdrawal).where(w.id == withdrawal_id, w.project_id == caller.project_id)
    row = tx.first(query.with_for_update())
    if row is None:
        raise NotFound("no such withdrawal")
    return row


def _requested_by(tx: Tx, row: Row[Any]) -> str | None:
    from ledger.schema import api_key

    holder = tx.value(select(api_key.c.holder).where(api_key.c.id == row.created_by))
    return None if holder is None else str(holder)


_IDS: BindParameter[Any] = bindparam("ids", expanding=True)
_LOCK = select(withdrawal).where(withdrawal.c.id.in_(_IDS)).order_by(withdrawal.c.id).with_for_update()


def lock_all(tx: Tx, ids: Sequence[int]) -> list[Row[Any]]:
    """These withdrawals, locked in id order."""
    return list(tx.all(_LOCK, {"ids": sorted(ids)}))
