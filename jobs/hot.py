"""The hot wallet: too little raises an alarm, too much moves to cold, outputs are split ahead of use, gaps are filled.

Each of these looks at one asset and decides from the rows and the wallet's word; the payments do the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import Row, select

from jobs import alarms
from jobs.assets import native, on_chain
from jobs.payment import make as payment_make
from jobs.payment import promised, resources
from jobs.payment.make import Item
from jobs.saga import SECOND
from jobs.services import Services, require_healthy
from jobs.sweep.rows import ENDED
from jobs.tasks import Ran
from ledger import halts, pauses, policy
from ledger.db import Tx
from ledger.errors import TokenUnreadable
from ledger.policy import AssetPolicy
from ledger.schema import deposit, payment, withdrawal
from wallets.protocol import HOT, ChainBalance, ChainWallet

#: How long nothing is tried again after a payment of this kind came to nothing.
REST_US = 10 * 60 * SECOND

_Act = Callable[[Tx], None]


@dataclass(frozen=True)
class Facts:
    """One asset as rows tell it."""

    code: str
    contract: str | None
    rules: AssetPolicy
    queued: int  #: units of withdrawals that wait to be paid
    arriving: int  #: units on chain that are credited to nobody yet
    promised: int  #: units that payments take and no block has taken yet, where the balance does not know of it
    may_cold: bool
    may_split: bool
    may_fill: bool  #: nothing is being built that would fill a gap by itself
    pays_gas: bool  #: tokens of its chain cannot move without it


def task_step(row: Row[Any], services: Services) -> Ran:
    """Task step for `hot:<chain>`."""
    chain = row.name.partition(":")[2]
    coin, assets = services.database.read(lambda tx: _facts(tx, chain))
    acts: list[_Act] = []
    for facts in assets:
        with suppress(TokenUnreadable):  # the brake tells of it; what the others need does not wait for it
            acts += _asset(services, chain, facts, coin)
        if facts.may_fill:
            acts += _fill(services, chain, facts, coin)

    def effect(tx: Tx, _: Row[Any]) -> None:
        for act in acts:
            act(tx)

    return Ran(effect=effect)


def _facts(tx: Tx, chain: str) -> tuple[AssetPolicy, list[Facts]]:
    require_healthy(tx, chain)
    rows = on_chain(tx, chain)
    found = [_fact(tx, chain, row.code, row.contract, tokens=len(rows) > 1) for row in rows]
    return policy.of(tx, native(tx, chain)), found


def _fact(tx: Tx, chain: str, code: str, contract: str | None, *, tokens: bool) -> Facts:
    w, d = withdrawal.c, deposit.c
    waiting = (w.chain == chain) & (w.asset == code) & w.state.in_(("pending_approval", "queued", "review"))
    coming = (d.chain == chain) & (d.asset == code) & (d.credited == 0) & (d.seen == "confirmed")
    return Facts(
        code,
        contract,
        policy.of(tx, code),
        sum(row.units for row in tx.all(select(w.units).where(waiting))),
        sum(row.units for row in tx.all(select(d.units).where(coming))),
        promised.units(tx, chain).get(code, 0),
        pauses.reason(tx, code, "withdrawals") is None and _free(tx, chain, code, "cold"),
        pauses.reason(tx, code, "sweeps") is None and _free(tx, chain, code, "split"),
        contract is None and halts.reason(tx, chain) is None and _idle(tx, chain) and _free(tx, chain, code, "fill"),
        tokens and contract is None,
    )


def _free(tx: Tx, chain: str, code: str, purpose: str) -> bool:
    """Whether a payment of this kind may be made: none is under way, and none has just come to nothing."""
    p = payment.c
    query = select(p.state, p.updated_at).where(p.chain == chain, p.asset == code, p.purpose == purpose)
    last = tx.first(query.order_by(p.id.desc()).limit(1))
    if last is None or last.state in ("settled", "final"):
        return True
    return last.state in ENDED and last.updated_at < tx.now - REST_US


def _asset(services: Services, chain: str, facts: Facts, coin: AssetPolicy) -> list[_Act]:
    wallet, rules = services.wallet(chain), facts.rules
    balance = wallet.balance(facts.contract)
    plans: list[payment_make.Plan] = []
    cold = services.cold_addresses.get(chain)
    if cold is not None and facts.may_cold:
        units = to_cold(facts, balance.spendable_units, apart=services.address_book(chain).apart)
        if units:
            rate = _rate(wallet, coin)
            plans.append(payment_make.Plan(chain, facts.code, "cold", [Item(cold, units)], rate, coin.payment_rate_max))
    if facts.contract is None and rules.hot_outputs and facts.may_split:
        outputs = wallet.split(rules.hot_outputs, rules.payment_rate_max)
        items = [Item(output.address, output.units, target_idx=HOT) for output in outputs]
        if items:
            rate = _rate(wallet, coin)
            plans.append(payment_make.Plan(chain, facts.code, "split", items, rate, rules.payment_rate_max))
    return [partial(_judge_low, facts=facts, balance=balance), *(partial(_make, plan) for plan in plans)]


def _fill(services: Services, chain: str, facts: Facts, coin: AssetPolicy) -> list[_Act]:
    """A nonce that a payment left when it was let go holds up all that were signed after it (FAULTS E11)."""
    wallet = services.wallet(chain)
    outputs = wallet.fill(services.database.read(lambda tx: resources.live(tx, chain)))
    if not outputs:
        return []
    items = [Item(output.address, output.units, target_idx=HOT) for output in outputs]
    plan = payment_make.Plan(chain, facts.code, "fill", items, _rate(wallet, coin), coin.payment_rate_max)
    return [lambda tx: _make(plan, tx) if _idle(tx, chain) else None]


def _idle(tx: Tx, chain: str) -> bool:
    """Whether no payment of the hot wallet is choosing its resources; what an index signs itself fills no gap here."""
    p = payment.c
    hot = (p.purpose != "sweep") | (p.batched == 1)
    return tx.value(select(p.id).where(p.chain == chain, p.state == "building", hot).limit(1)) is None


def _rate(wallet: ChainWallet, coin: AssetPolicy) -> int:
    market = wallet.fee_market(coin.payment_blocks_target, coin.payment_rate_fallback)
    return min(market.rate, coin.payment_rate_max)


def to_cold(facts: Facts, spendable_units: int, *, apart: bool) -> int:
    """What may leave for the cold address: what is above the part to keep, once the ceiling is passed. Withdrawals that
    wait are counted as gone already, and so is what is not credited yet where it lies in the hot wallet itself."""
    rules = facts.rules
    if rules.hot_ceiling_units == 0:
        return 0
    free = spendable_units - facts.queued - facts.promised - (0 if apart else facts.arriving)
    if free <= rules.hot_ceiling_units:
        return 0
    units = free - (min(rules.hot_keep_units, rules.hot_ceiling_units) or rules.hot_ceiling_units)
    return units if units >= max(1, rules.withdrawal_minimum_units) else 0  # a fee is not spent on crumbs


def _judge_low(tx: Tx, facts: Facts, balance: ChainBalance) -> None:
    subject, least = f"hot_low:{facts.code}", facts.rules.hot_low_units
    if balance.spendable_units >= least:
        alarms.clear(tx, subject)
        return
    also = f", {balance.locked_units} more are locked" if balance.locked_units else ""
    detail = f"{facts.code}: {balance.spendable_units} units can be spent{also}; the alarm is set at {least}"
    alarms.raise_(tx, "gas_low" if facts.pays_gas else "hot_low", subject, detail)


def _make(plan: payment_make.Plan, tx: Tx) -> None:
    if payment_make.room(tx, plan.chain):
        payment_make.make(tx, plan)
