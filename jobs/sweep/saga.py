"""Sweep: what lies on one index goes to the hot wallet, its gas first where it needs some.

The money moves by payments like all other money; this saga only chooses when to make which. It ends when the payment
is settled. A reorganisation after that brings the payment back by itself, and its holdings with it; until it is settled
again nothing else is planned for that index.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from typing import Any

from sqlalchemy import Row, select, update

from jobs import alarms, holdings, tasks
from jobs.assets import contract_of, native
from jobs.backup import quarantine
from jobs.payment import make as payment_make
from jobs.saga import SECOND, Outcome, Saga, Step
from jobs.services import Services, require_healthy
from jobs.sweep import rows as sweep_rows
from jobs.sweep import rules as sweep_rules
from jobs.sweep.rules import Price
from ledger import pauses, policy
from ledger.db import Tx
from ledger.policy import AssetPolicy
from ledger.schema import payment, sweep
from wallets.protocol import HOT, SweepTerms

#: Payments wake their sweep; this is only how long a lost wake-up may cost.
WATCH_US = 60 * SECOND
PAUSED_US = 60 * SECOND
AGAIN_US = 60 * SECOND
#: Payments of one sweep that may come to nothing before it is given up until it is planned anew.
TRIES_MAX = 3
#: Why trying again soon would only cost gas.
HOPELESS = ("reverted", "address_refused", "not_as_promised")


class State(StrEnum):
    PLANNED = "planned"  #: chosen as worth its fee; no payment is made yet
    FUNDING = "funding"  #: the hot wallet sends the index the gas that its sweep needs
    SWEEPING = "sweeping"  #: a payment to the hot wallet is under way
    SWEPT = "swept"  #: that payment is settled
    ABANDONED = "abandoned"  #: not worth it any more, or it cannot be done; planned anew when that changes


class StillWaiting(Outcome):
    """Nothing to do yet."""


class GasFirst(Outcome):
    """The index lacks gas: a payment brings it."""


class Started(Outcome):
    """The payment that collects is made."""


class Swept(Outcome):
    """The payment is settled."""


class Again(Outcome):
    """Its payment came to nothing, for a reason that passes."""


class Abandoned(Outcome):
    """Left where it is."""


@dataclass(frozen=True)
class _Facts:
    held: int
    held_coin: int
    rules: AssetPolicy  #: of the asset
    coin_rules: AssetPolicy
    coin: str
    token: str | None
    paused: str | None
    room: int
    busy: bool
    dead: int
    address: str


def start(row: Row[Any], services: Services) -> Outcome:
    """PLANNED: look once more whether it is worth it, then make the payment, or the one for its gas."""
    if row.payment_id is not None:
        return Started(due_us=WATCH_US)  # planned with others as one batch
    facts = services.database.read(partial(_facts, row=row))
    waits = _waits(facts)
    if waits is not None:
        return waits
    if facts.dead >= TRIES_MAX:
        return _abandoned("tried_too_often", row)
    wallet = services.wallet(row.chain)
    market = wallet.fee_market(facts.coin_rules.payment_blocks_target, facts.coin_rules.payment_rate_fallback)
    offer = sweep_rules.price(market.rate, facts.coin_rules)
    if offer is None:
        return StillWaiting(due_us=WATCH_US, reason="fees_too_high", detail=f"the market asks {market.rate}")
    terms = wallet.sweep_terms(facts.token)
    terms = replace(terms, weight=terms.weight * (1 + facts.dead))  # it may need more than most do
    return _coin(facts, terms, offer, row) if facts.token is None else _token(facts, terms, offer, row)


def _waits(facts: _Facts) -> StillWaiting | None:
    if facts.paused is not None:
        return StillWaiting(due_us=PAUSED_US, reason="paused", detail=facts.paused[:512])
    if facts.busy:
        return StillWaiting(due_us=WATCH_US, reason="index_busy", detail="another payment of this index is under way")
    if facts.room == 0:
        return StillWaiting(due_us=5 * SECOND, reason="wallet_busy")
    return None


def _coin(facts: _Facts, terms: SweepTerms, offer: Price, row: Row[Any]) -> Outcome:
    verdict = sweep_rules.coin_verdict(facts.held, terms.weight, offer, facts.rules)
    if verdict is not None:
        return _abandoned(verdict, row)
    return _started(row, sweep_rules.coin_units(facts.held, terms.weight, offer), terms, offer)


def _token(facts: _Facts, terms: SweepTerms, offer: Price, row: Row[Any]) -> Outcome:
    verdict = sweep_rules.token_verdict(facts.held, facts.rules)
    if verdict is not None:
        return _abandoned(verdict, row)
    missing = sweep_rules.gas_missing(facts.held_coin, terms.weight, offer)
    if missing == 0:
        return _started(row, facts.held, terms, offer)
    item = payment_make.Item(facts.address, missing, target_idx=row.idx)
    plan = payment_make.Plan(row.chain, facts.coin, "gas", [item], offer.rate, offer.hot_ceiling)
    return GasFirst(due_us=WATCH_US, effect=partial(_make, plan=plan, column="gas_payment_id"))


def _started(row: Row[Any], units: int, terms: SweepTerms, offer: Price) -> Started:
    item = payment_make.Item(terms.hot_address, units, source_idx=row.idx, target_idx=HOT)
    plan = payment_make.Plan(row.chain, row.asset, "sweep", [item], offer.rate, offer.ceiling)
    return Started(values={"units": units}, due_us=WATCH_US, effect=partial(_make, plan=plan, column="payment_id"))


def _make(tx: Tx, row: Row[Any], plan: payment_make.Plan, column: str) -> None:
    payment_id = payment_make.make(tx, plan)
    tx.execute(update(sweep).where(sweep.c.id == row.id).values({column: payment_id}))


def _facts(tx: Tx, row: Row[Any]) -> _Facts:
    require_healthy(tx, row.chain)
    coin = native(tx, row.chain)
    return _Facts(
        held=holdings.at(tx, row.chain, row.asset, row.idx),
        held_coin=holdings.at(tx, row.chain, coin, row.idx),
        rules=policy.of(tx, row.asset),
        coin_rules=policy.of(tx, coin),
        coin=coin,
        token=contract_of(tx, row.asset),
        paused=pauses.reason(tx, row.asset, "sweeps") or pauses.reason(tx, coin, "sweeps"),
        room=payment_make.room(tx, row.chain),
        busy=bool(sweep_rows.paying(tx, row.chain, row.idx)),
        dead=sweep_rows.dead_since(tx, row),
        address=quarantine.address_at(tx, row.chain, row.idx),
    )


def fund(row: Row[Any], services: Services) -> Outcome:
    """FUNDING: once the gas is settled on the index, go on as if just planned: the price may have risen meanwhile."""
    paid = services.database.read(lambda tx: _payment(tx, row.gas_payment_id))
    if paid.state in ("settled", "final"):
        return start(row, services)
    if paid.state == "dead":
        return _came_to_nothing(row, paid)
    return StillWaiting(due_us=WATCH_US, reason=None if paid.state != "review" else "payment_in_review")


def collect(row: Row[Any], services: Services) -> Outcome:
    """SWEEPING: until the payment is settled, or came to nothing."""
    paid = services.database.read(lambda tx: _payment(tx, row.payment_id))
    if paid.state in ("settled", "final"):
        return Swept(values={"live": None}, due_us=None, effect=_swept)
    if paid.state == "dead":
        return _came_to_nothing(row, paid)
    return StillWaiting(due_us=WATCH_US, reason=None if paid.state != "review" else "payment_in_review")


def _came_to_nothing(row: Row[Any], paid: Row[Any]) -> Outcome:
    reason = paid.declined or paid.status_reason or "payment_dead"
    if paid.batched or reason in HOPELESS:
        return _abandoned(reason, row)
    values = {"payment_id": None, "gas_payment_id": None}
    return Again(values=values, due_us=AGAIN_US, reason=reason, detail=paid.status_detail)


def _abandoned(reason: str, row: Row[Any]) -> Abandoned:
    effect = partial(_alarm, reason) if reason in HOPELESS or reason == "tried_too_often" else None
    return Abandoned(values={"live": None}, due_us=None, reason=reason, effect=effect)


def _alarm(reason: str, tx: Tx, row: Row[Any]) -> None:
    detail = f"{row.asset} on index {row.idx} cannot be collected: {reason} ({row.public_id})"
    alarms.raise_(tx, "sweep_failed", f"sweep:{row.asset}", detail)


def _swept(tx: Tx, row: Row[Any]) -> None:
    alarms.clear(tx, f"sweep:{row.asset}")
    tasks.wake(tx, f"sweep:{row.chain}")  # another asset of the index may have waited for this one


def _payment(tx: Tx, payment_id: int) -> Row[Any]:
    return tx.one(select(payment).where(payment.c.id == payment_id))


SWEEP = Saga(
    "sweep",
    sweep,
    start=State.PLANNED,
    final=frozenset({State.SWEPT, State.ABANDONED}),
    steps={
        State.PLANNED: Step(
            start,
            {
                StillWaiting: State.PLANNED,
                GasFirst: State.FUNDING,
                Started: State.SWEEPING,
                Abandoned: State.ABANDONED,
            },
        ),
        State.FUNDING: Step(
            fund,
            {
                StillWaiting: State.FUNDING,
                GasFirst: State.FUNDING,
                Started: State.SWEEPING,
                Again: State.PLANNED,
                Abandoned: State.ABANDONED,
            },
        ),
        State.SWEEPING: Step(
            collect,
            {
                StillWaiting: State.SWEEPING,
                Swept: State.SWEPT,
                Again: State.PLANNED,
                Abandoned: State.ABANDONED,
            },
        ),
    },
)
