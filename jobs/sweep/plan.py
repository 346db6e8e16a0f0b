"""Decides what is collected: the planner's task, and the list of all that lies on indices and why.

Only credited money is moved, and only while nothing else is under way on its index: what is coming in is waited for, so
that one sweep takes both, unless it is less than is credited to anybody. Tokens go before the coin, whose remains pay
for their gas.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, insert, select

from jobs import holdings
from jobs.assets import native, on_chain
from jobs.payment import make as payment_make
from jobs.payment.build import ALONE
from jobs.saga import SECOND
from jobs.services import Services, chain_row, require_healthy
from jobs.sweep import clear as sweep_clear
from jobs.sweep import rows as sweep_rows
from jobs.sweep import rules as sweep_rules
from jobs.sweep.rules import Price
from jobs.sweep.saga import HOPELESS, State
from jobs.tasks import Ran
from ledger import history, pauses, policy
from ledger.db import Tx
from ledger.ids import new_id
from ledger.policy import AssetPolicy
from ledger.schema import address, sweep, task
from wallets.protocol import HOT, SweepTerms

#: New sweeps of one run; the next run, which follows soon, goes on.
PLAN_MAX = 200
#: How long an index is left alone after a sweep of it was given up, by whether time can help.
REST_US = 50 * 60 * SECOND
HOPELESS_REST_US = 24 * 3_600 * SECOND


@dataclass(frozen=True, slots=True)
class Place:
    """What the books expect of one asset on one index, and why it stays; `reason` None: it is to be collected."""

    asset: str
    idx: int
    units: int
    reason: str | None
    sweep: str | None = None  #: public id of the sweep under way
    batch: bool = False


def task_step(row: Row[Any], services: Services) -> Ran:
    """Task step for `sweep:<chain>`."""
    chain = row.name.partition(":")[2]
    if not services.address_book(chain).apart:
        return Ran()

    def read(tx: Tx) -> tuple[AssetPolicy, list[Row[Any]]]:
        require_healthy(tx, chain)
        return policy.of(tx, native(tx, chain)), on_chain(tx, chain)

    rules, assets = services.database.read(read)
    wallet = services.wallet(chain)
    market = wallet.fee_market(rules.payment_blocks_target, rules.payment_rate_fallback)
    terms = {found.code: wallet.sweep_terms(found.contract) for found in assets}
    offer = sweep_rules.price(market.rate, rules)
    kept = {"weights": {code: found.weight for code, found in terms.items()}}
    if offer is None:
        return Ran(values={"progress": kept}, reason="fees_too_high", detail=f"the market asks {market.rate}")
    return Ran(values={"progress": kept}, effect=lambda tx, _: _plan(tx, chain, terms, offer))


def listing(tx: Tx, chain: str) -> list[Place]:
    """All that the books expect on indices of a chain, and what becomes of it: dust is listed too.

    Fees are those of the chain's last reading; without one, the minimum alone decides.
    """
    progress: Mapping[str, Any] = tx.value(select(task.c.progress).where(task.c.name == f"sweep:{chain}")) or {}
    weights = {code: int(weight) for code, weight in progress.get("weights", {}).items()}
    offer = sweep_rules.price(chain_row(tx, chain).fee_rate or 0, policy.of(tx, native(tx, chain)))
    if offer is None:
        return [
            Place(each.asset, each.idx, each.units, "fees_too_high") for each in _survey(tx, chain, {}, Price(0, 0, 0))
        ]
    return _survey(tx, chain, weights, offer)


def _plan(tx: Tx, chain: str, terms: Mapping[str, SweepTerms], offer: Price) -> None:
    places = _survey(tx, chain, {code: found.weight for code, found in terms.items()}, offer)
    chosen = [place for place in places if place.reason is None][:PLAN_MAX]
    for place in chosen:
        if not (place.batch and terms[place.asset].batch_max):
            _insert(tx, chain, place, None)
    for code, found in terms.items():
        together = [place for place in chosen if place.batch and place.asset == code and found.batch_max]
        for start in range(0, len(together), max(1, found.batch_max)):
            if payment_make.room(tx, chain):
                _batch(tx, chain, together[start : start + found.batch_max], found, offer)
    at_once = max(found.batch_max for found in terms.values())
    if at_once:
        sweep_clear.plan(tx, chain, at_once, offer)


def _batch(tx: Tx, chain: str, places: Sequence[Place], terms: SweepTerms, offer: Price) -> None:
    """One payment of the hot wallet for many indices; their sweeps wait for it together."""
    items = [payment_make.Item(terms.hot_address, p.units, source_idx=p.idx, target_idx=HOT) for p in places]
    plan = payment_make.Plan(chain, places[0].asset, "sweep", items, offer.rate, offer.hot_ceiling, batched=True)
    payment_id = payment_make.make(tx, plan)
    for place in places:
        _insert(tx, chain, place, payment_id)


def _insert(tx: Tx, chain: str, place: Place, payment_id: int | None) -> None:
    values: dict[str, Any] = {"public_id": new_id("sw"), "chain": chain, "asset": place.asset, "idx": place.idx}
    values |= {"live": 1, "units": place.units, "payment_id": payment_id, "state": str(State.PLANNED)}
    clock = {"due_at": tx.now, "created_at": tx.now, "updated_at": tx.now}
    row_id = tx.insert(insert(sweep).values(values | clock))
    history.note(tx, "sweep", row_id, None, str(State.PLANNED))
    tx.wake("sweep", row_id)


@dataclass
class _Taken:
    """What keeps indices from being collected now."""

    paying: set[int]
    awaited: set[int]
    suspect: set[tuple[str, int]]
    live: dict[tuple[str, int], str]  #: public id of the sweep under way
    sweeping: set[int]  #: the indices of those, whatever asset
    resting: dict[tuple[str, int], str]  #: why it was given up not long ago
    alone: set[tuple[str, int]]  #: whose last batch was refused, and nobody knows for whose sake

    @classmethod
    def read(cls, tx: Tx, chain: str) -> _Taken:
        s = sweep.c
        live = tx.all(select(s.asset, s.idx, s.public_id).where(s.chain == chain, s.live == 1))
        resting, alone = _given_up(tx, chain)
        return cls(
            sweep_rows.paying(tx, chain),
            sweep_rows.awaited(tx, chain),
            sweep_rows.suspect(tx, chain),
            {(row.asset, row.idx): row.public_id for row in live},
            {row.idx for row in live},
            resting,
            alone,
        )

    def reason(self, asset: str, idx: int) -> str | None:
        if idx in self.sweeping:
            return "sweep_under_way"
        if idx in self.paying:
            return "payment_under_way"
        if idx in self.awaited:
            return "deposit_confirming"
        if (asset, idx) in self.suspect:
            return "deposit_held"
        return self.resting.get((asset, idx))


def _given_up(tx: Tx, chain: str) -> tuple[dict[tuple[str, int], str], set[tuple[str, int]]]:
    """(what is left alone for a while and why, what is tried one by one because its batch was refused)."""
    s = sweep.c
    given_up = (s.chain == chain) & (s.state == str(State.ABANDONED)) & (s.updated_at > tx.now - HOPELESS_REST_US)
    rows = tx.all(select(s.asset, s.idx, s.status_reason, s.updated_at).where(given_up).order_by(s.id))
    last = {(row.asset, row.idx): row for row in rows}
    alone = {place for place, row in last.items() if row.status_reason == ALONE}
    resting = {
        place: row.status_reason
        for place, row in last.items()
        if place not in alone and (row.status_reason in HOPELESS or row.updated_at > tx.now - REST_US)
    }
    return resting, alone


def _survey(tx: Tx, chain: str, weights: Mapping[str, int], offer: Price) -> list[Place]:
    """Every holding with its verdict, tokens before the coin. At most one asset of an index is to be collected."""
    coin, taken = native(tx, chain), _Taken.read(tx, chain)
    found: list[Place] = []
    chosen: set[int] = set()
    with_coin = {row.idx for row in holdings.present(tx, chain, coin)}
    for code in [row.code for row in reversed(on_chain(tx, chain))]:
        rules, paused = policy.of(tx, code), pauses.reason(tx, code, "sweeps")
        batchable = _token_addresses(tx, chain, coin) - with_coin if rules.sweep_batched and code != coin else set()
        for row in holdings.present(tx, chain, code):
            reason = _verdict(row.units, code == coin, weights.get(code, 0), offer, rules)
            reason = reason or taken.reason(code, row.idx) or ("paused" if paused is not None else None)
            if reason is None and row.idx in chosen:
                reason = "after_another_asset"
            if reason is None:
                chosen.add(row.idx)
            batch = row.idx in batchable and (code, row.idx) not in taken.alone
            found.append(Place(code, row.idx, row.units, reason, taken.live.get((code, row.idx)), batch))
    return found


def _verdict(units: int, is_coin: bool, weight: int, offer: Price, rules: AssetPolicy) -> str | None:
    if is_coin:
        return sweep_rules.coin_verdict(units, weight, offer, rules)
    return sweep_rules.token_verdict(units, rules)


def _token_addresses(tx: Tx, chain: str, coin: str) -> set[int]:
    """Indices that were handed out for a token. Code on one that was handed out for the coin, or may have been so in a
    life that a restore has lost, would turn away a plain transfer of it (NODES 4.5)."""
    a = address.c
    return {row.idx for row in tx.all(select(a.idx).where(a.chain == chain, a.asset != coin))}
