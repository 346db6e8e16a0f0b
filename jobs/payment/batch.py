"""Forms payments: withdrawals that are due together leave together.

First come, first served; two to one address go into separate payments; one that the hot wallet cannot bear now steps
aside with its reason and lets the others pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Row, exists, select, update

from jobs import alarms, withdrawal
from jobs.assets import contract_of
from jobs.payment import make as payment_make
from jobs.payment import promised, waiting
from jobs.payment.build import ALONE
from jobs.saga import SECOND
from jobs.services import Services, require_healthy
from jobs.tasks import Ran
from ledger import pauses, policy
from ledger.db import Tx
from ledger.errors import TokenUnreadable
from ledger.policy import AssetPolicy
from ledger.schema import account, asset, frozen_part
from ledger.schema import withdrawal as table
from wallets.protocol import ChainBalance

#: Queued withdrawals looked at in one run; more wait for the next, which follows at once.
LOOK_MAX = 1_000
#: Its money came from a deposit that has left the chain (`jobs.trace.dependants`).
_KEPT_STILL = exists().where(
    frozen_part.c.place == "withdrawal", frozen_part.c.place_id == table.c.id, frozen_part.c.live == 1
)
#: The word for what waits because its token's contract tells no balance.
UNREADABLE = "token_unreadable"
SHORT = "the hot wallet cannot pay this now; it waits for deposits or a refill"
#: How long a withdrawal that the hot wallet cannot pay steps aside.
ASIDE_US = 20 * SECOND


@dataclass
class Group:
    """The withdrawals of one payment to be."""

    rows: list[Row[Any]] = field(default_factory=list)
    addresses: set[str] = field(default_factory=set)

    def admits(self, row: Row[Any], most: int) -> bool:
        if not self.rows:
            return True
        alone = row.status_reason == ALONE or self.rows[0].status_reason == ALONE
        return not alone and len(self.rows) < most and row.address not in self.addresses

    def add(self, row: Row[Any]) -> None:
        self.rows.append(row)
        self.addresses.add(row.address)


@dataclass(frozen=True)
class Plan:
    """What one run decided for one asset: payments to make, withdrawals to set aside, when to look again."""

    asset: str
    rate: int
    rate_max: int
    groups: Sequence[Group] = ()
    aside: Sequence[Row[Any]] = ()
    again_us: int | None = None
    wait: tuple[str, str] = ("insufficient_hot_funds", SHORT)  #: why those aside wait, as a word and for people


def batch(row: Row[Any], services: Services) -> Ran:
    """Task step: read the queue, ask the node what it can spend, and propose payments."""
    chain = row.name.partition(":")[2]
    queued = services.database.read(lambda tx: _queued(tx, chain))
    plans = [_plan(services, chain, code, rows, rules, now) for code, rows, rules, now in queued]
    waits = [plan.again_us for plan in plans if plan.again_us is not None]
    return Ran(effect=lambda tx, _: _write(tx, chain, plans), due_us=min(waits) if waits else None)


def _queued(tx: Tx, chain: str) -> list[tuple[str, list[Row[Any]], AssetPolicy, int]]:
    w = table.c
    found = []
    for code in [r.code for r in tx.all(select(asset.c.code).where(asset.c.chain == chain))]:  # disabled ones too
        waiting = (w.chain == chain) & (w.asset == code) & (w.state == "queued") & w.payment_id.is_(None)
        query = select(table).join(account, account.c.id == w.account_id)
        free = account.c.frozen_reason.is_(None) & (w.not_before <= tx.now) & ~_KEPT_STILL
        rows = list(tx.all(query.where(waiting & free).order_by(w.id).limit(LOOK_MAX)))
        if rows and pauses.reason(tx, code, "withdrawals") is None:
            require_healthy(tx, chain)
            found.append((code, rows, policy.of(tx, code), tx.now))
    return found


def _plan(services: Services, chain: str, code: str, rows: list[Row[Any]], rules: AssetPolicy, now: int) -> Plan:
    window_us = rules.payment_window_ms * 1_000
    oldest_us = now - rows[0].created_at
    if len(rows) < rules.payment_outputs and oldest_us < window_us:
        return Plan(code, 0, 0, again_us=window_us - oldest_us)  # company may still come
    wallet = services.wallet(chain)
    market = wallet.fee_market(rules.payment_blocks_target, rules.payment_rate_fallback)
    rate = min(market.rate, rules.payment_rate_max)

    def read(tx: Tx) -> tuple[str | None, int, int]:
        out = promised.units(tx, chain).get(code, 0)
        return contract_of(tx, code), payment_make.room(tx, chain, customers=True), out

    token, room, out = services.database.read(read)
    if room == 0:
        return Plan(code, 0, 0, again_us=2 * SECOND)
    outputs_max = min(rules.payment_outputs, wallet.payees_max)
    try:
        balance = wallet.balance(token)
    except TokenUnreadable as error:  # other assets of the chain must not wait for this one
        return Plan(code, 0, 0, aside=rows, wait=(UNREADABLE, error.detail))
    # The fee of a token comes out of other money; that of a coin out of the same.
    groups, aside = group(rows, outputs_max, balance.spendable_units - out + (token is not None))
    again_us = 0 if len(rows) == LOOK_MAX and len(groups) <= room else 2 * SECOND if len(groups) > room else None
    return Plan(code, rate, rules.payment_rate_max, groups[:room], aside, again_us, _wait(aside, balance, rows))


def _wait(aside: Sequence[Row[Any]], balance: ChainBalance, rows: Sequence[Row[Any]]) -> tuple[str, str]:
    """Too little, or enough that must not be spent yet: customers and operators must know which."""
    if not aside or balance.unlocks_in_blocks is None:
        return "insufficient_hot_funds", SHORT
    if sum(row.units for row in rows) >= balance.spendable_units + balance.locked_units:
        return "insufficient_hot_funds", SHORT
    detail = f"the hot wallet holds enough, of which a part unlocks in about {balance.unlocks_in_blocks} blocks"
    return "hot_funds_locked", detail


def group(rows: Sequence[Row[Any]], outputs_max: int, spendable_units: int) -> tuple[list[Group], list[Row[Any]]]:
    """Sort withdrawals, oldest first, into payments of distinct addresses; what does not fit the hot money steps aside.

    The network fee comes out of the same money, so a payment must leave something over; the exact test is the node's.
    """
    groups: list[Group] = []
    aside: list[Row[Any]] = []
    left = spendable_units
    for row in rows:
        if row.units >= left:
            aside.append(row)
            continue
        left -= row.units
        home = next((g for g in groups if g.admits(row, outputs_max)), None)
        if home is None:
            home = Group()
            groups.append(home)
        home.add(row)
    return groups, aside


def _write(tx: Tx, chain: str, plans: Sequence[Plan]) -> None:
    for plan in plans:
        for members in plan.groups:
            _make_payment(tx, chain, plan, [row.id for row in members.rows])
        _set_aside(tx, chain, plan)
    waiting.mark(tx, chain)


def _make_payment(tx: Tx, chain: str, plan: Plan, ids: Sequence[int]) -> None:
    free = [row for row in withdrawal.lock_all(tx, ids) if row.state == "queued" and row.payment_id is None]
    if not free or pauses.reason(tx, plan.asset, "withdrawals") is not None:
        return  # cancelled or paused since the queue was read
    items = [payment_make.Item(row.address, row.units, withdrawal_id=row.id) for row in free]
    made = payment_make.Plan(chain, plan.asset, "withdrawal", items, plan.rate, plan.rate_max)
    payment_id = payment_make.make(tx, made)
    changed = {"payment_id": payment_id, "status_reason": None, "status_detail": None, "updated_at": tx.now}
    joined = table.c.id.in_([row.id for row in free])
    tx.execute(update(table).where(joined).values(changed | {"version": table.c.version + 1}))


def _set_aside(tx: Tx, chain: str, plan: Plan) -> None:
    rows = [row for row in withdrawal.lock_all(tx, [r.id for r in plan.aside]) if row.state == "queued"]
    for row in rows:
        if row.payment_id is None:
            reason, detail = plan.wait
            withdrawal.move(tx, row, "queued", reason=reason, detail=detail, not_before=tx.now + ASIDE_US)
    subject = f"hot:{plan.asset}"
    if rows:
        alarms.raise_(tx, plan.wait[0], subject, f"{len(rows)} withdrawals of {plan.asset} wait: {plan.wait[1]}")
    elif plan.groups:
        alarms.clear(tx, subject)
