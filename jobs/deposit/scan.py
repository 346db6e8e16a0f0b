"""Reads the chain into rows: what came in, where it stands, and where the tip is. Decides nothing.

One run commits its observations and its cursor together. `listsinceblock` and its kind do not tell of every deposit
that goes (NODES 0.3), so each deposit that is not final is asked for by name as well.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Row, bindparam, insert, or_, select, update

from jobs import alarms, tasks, views
from jobs.assets import codes_by_contract, native
from jobs.deposit.state import OPEN_STATES, SURPLUS_PREFIX
from jobs.reconcile import outgoing
from jobs.reconcile.outgoing import Stranger
from jobs.runtime import nudge
from jobs.saga import Saga
from jobs.services import Services, chain_row
from jobs.tasks import Ran
from ledger import history, policy
from ledger.db import Tx
from ledger.errors import WrongNetwork
from ledger.ids import new_id
from ledger.policy import FINAL_DEPTH
from ledger.schema import address, asset, chain, deposit
from wallets.protocol import ChainWallet, DepositPage, DepositStatus, FeeMarket, NodeHealth, SeenDeposit, Tip

#: New deposits written in one run; when a block brings more, the cursor stays and the next run goes on.
NEW_MAX = 200

#: In `deposit.suspect`: the node tells of another amount than it told first.
CHANGED = "amount_changed"
#: The alarm of a deposit that nothing takes back by itself any more, and that the chain has taken back.
MOVED = "final_deposit_moved"


@dataclass(frozen=True)
class Observation:
    """What one look at the node brought."""

    page: DepositPage
    again: Mapping[str, SeenDeposit]  #: open deposits asked for by name, by key
    market: FeeMarket
    open_rows: Mapping[str, Row[Any]]
    strangers: Sequence[Stranger] = ()  #: what left, and no payment here made


def scan(row: Row[Any], services: Services, sagas: Mapping[str, Saga]) -> Ran:
    """Task step for `scan:<chain>`."""
    name = row.name.partition(":")[2]
    wallet = services.wallet(name)
    health = _health(wallet)
    if not health.ok:
        return Ran(effect=lambda tx, _: _unhealthy(tx, name, health), reason=health.reason, detail=health.detail[:512])
    known, open_rows = services.database.read(lambda tx: (chain_row(tx, name), _open_deposits(tx, name)))
    page = wallet.deposits_since(known.scan_cursor)
    if known.tip_height is not None and page.tip.height < known.tip_height:
        # A reorganisation never shortens a chain; a node that lost its last blocks in a crash does (NODES 0.14).
        lost = NodeHealth(False, "syncing", f"at block {page.tip.height}; the chain was {known.tip_height} long before")
        return Ran(effect=lambda tx, _: _unhealthy(tx, name, lost), reason=lost.reason, detail=lost.detail)
    listed = {seen.key for seen in page.deposits}
    moved = known.tip_hash != page.tip.hash
    asked = [_as_seen(r) for key, r in open_rows.items() if key not in listed and (moved or r.seen != "confirmed")]
    again = wallet.look_up_deposits(asked) if asked else {}
    rules = services.database.read(lambda tx: policy.of(tx, native(tx, name)))
    market = wallet.fee_market(rules.payment_blocks_target, rules.payment_rate_fallback)
    found = Observation(page, again, market, open_rows, outgoing.strangers(services, name, page))
    more = _more(services, name, found)
    # Until the first reading has come to the tip, what these keys had sent before this database knew them is history.
    caught_up = known.scan_cursor is not None and (row.progress or {}).get("caught_up", True)

    def effect(tx: Tx, _: Row[Any]) -> None:
        _record(tx, name, found, sagas)
        outgoing.note(tx, name, found.strangers, before=not caught_up)

    kept = {"progress": {"caught_up": caught_up or not page.more}}
    return Ran(values=kept, effect=effect, due_us=0 if more or page.more else None)


def _more(services: Services, name: str, found: Observation) -> bool:
    """Whether there are more new deposits than one run writes."""
    unknown = [seen.key for seen in _fresh(found.page, found.open_rows)]
    if len(unknown) <= NEW_MAX:
        return False
    known = services.database.read(lambda tx: _known(tx, name, unknown))
    return len(unknown) - len(known) > NEW_MAX


def _fresh(page: DepositPage, known: Collection[str]) -> list[SeenDeposit]:
    """Deposits to be written: not what came and went between two looks, nor outputs of nothing. Nobody pays for many
    of either, so that they must not count towards what one run takes."""
    real = [seen for seen in page.deposits if seen.status is not DepositStatus.GONE and seen.units > 0]
    return [seen for seen in real if seen.key not in known]


def _health(wallet: ChainWallet) -> NodeHealth:
    """A node that was exchanged for one of another chain stops everything that asks for a healthy one."""
    try:
        return wallet.health()
    except WrongNetwork as error:
        return NodeHealth(False, "wrong_network", error.detail)


def _unhealthy(tx: Tx, name: str, health: NodeHealth) -> None:
    values = {"health_reason": health.reason, "health_detail": health.detail[:512], "health_at": tx.now}
    tx.execute(update(chain).where(chain.c.name == name).values(values))
    alarms.raise_(tx, "node_not_ready", f"chain:{name}", f"{health.reason}: {health.detail}")


_LIVE = (
    deposit.c.state.in_(OPEN_STATES) & deposit.c.due_at.is_not(None) & ~deposit.c.output_key.startswith(SURPLUS_PREFIX)
)
_OPEN = (
    select(deposit, asset.c.contract)
    .join(asset, asset.c.code == deposit.c.asset)
    .where(deposit.c.chain == bindparam("chain"), _LIVE)
)


def _open_deposits(tx: Tx, name: str) -> dict[str, Row[Any]]:
    return {row.output_key: row for row in tx.all(_OPEN, {"chain": name})}


def _as_seen(row: Row[Any]) -> SeenDeposit:
    """With all that was told of it when it was found: a chain that tells part of that only then leaves it as it was."""
    return SeenDeposit(
        key=row.output_key,
        txid=row.txid,
        address=row.address,
        units=row.units,
        status=DepositStatus(row.seen),
        height=row.height,
        block_hash=row.block_hash,
        coinbase=bool(row.coinbase),
        spendable_depth=row.spendable_depth,
        token=row.contract,
        locked=bool(row.locked),
        suspect=row.suspect or "",
    )


def _record(tx: Tx, name: str, found: Observation, sagas: Mapping[str, Saga]) -> None:
    before = chain_row(tx, name)
    known = _known(tx, name, [seen.key for seen in found.page.deposits]) | dict(found.open_rows)
    fresh = _fresh(found.page, known)
    codes = codes_by_contract(tx, name)
    for seen in fresh[:NEW_MAX]:
        _insert(tx, name, codes[seen.token], seen, sagas["deposit"])
    for seen in [*found.page.deposits, *found.again.values()]:
        if seen.key in known:
            _update(tx, known[seen.key], seen, sagas["deposit"])
    _write_chain(tx, before, found, complete=len(fresh) <= NEW_MAX)
    if before.tip_hash != found.page.tip.hash:
        _wake_by_tip(tx, name, found.page.tip, found.page.final_height, sagas)


def _known(tx: Tx, name: str, keys: Sequence[str]) -> dict[str, Row[Any]]:
    d = deposit.c
    rows: dict[str, Row[Any]] = {}
    for start in range(0, len(keys), 500):
        part = keys[start : start + 500]
        rows |= {row.output_key: row for row in tx.all(select(deposit).where(d.chain == name, d.output_key.in_(part)))}
    return rows


def _insert(tx: Tx, name: str, code: str, seen: SeenDeposit, saga: Saga) -> None:
    home = tx.first(select(address).where(address.c.chain == name, address.c.address == seen.address))
    values: dict[str, Any] = {"public_id": new_id("dp"), "chain": name, "asset": code, "output_key": seen.key}
    values |= {"txid": seen.txid, "address": seen.address, "units": seen.units, "coinbase": int(seen.coinbase)}
    values |= {"spendable_depth": seen.spendable_depth, "state": "detected", **_sight(seen)}
    if home is not None:
        late = home.expires_at is not None and home.expires_at < tx.now
        values |= {
            "address_id": home.id,
            "account_id": home.account_id,
            "project_id": home.project_id,
            "late": int(late),
        }
    clock = {"due_at": tx.now, "created_at": tx.now, "updated_at": tx.now}
    deposit_id = tx.insert(insert(deposit).values(values | clock))
    history.note(tx, saga.kind, deposit_id, None, "detected")
    data = views.deposit(tx, deposit_id)
    history.emit(tx, values.get("project_id"), "deposit.detected", data["id"], data)
    tx.wake(saga.kind, deposit_id)


def _sight(seen: SeenDeposit) -> dict[str, Any]:
    return {
        "seen": str(seen.status),
        "seen_reason": seen.reason or None,
        "locked": int(seen.locked),
        "suspect": seen.suspect or None,
        "height": seen.height,
        "block_hash": seen.block_hash,
    }


def _told(row: Row[Any], seen: SeenDeposit) -> SeenDeposit:
    """What a look says of a row, which keeps the amount that was told first. Of two Monero outputs under one key the
    second brings what it adds to the first, once that is mined, and in the pool both were told in full (FAULTS F7).
    Nobody is credited with such a one; one that was is taken back first. Whoever sends it must not stop the scan."""
    if seen.units == row.units:
        return seen
    if row.credited and row.suspect is None:
        return replace(seen, status=DepositStatus.GONE, height=None, block_hash=None, reason=CHANGED)
    return replace(seen, suspect=CHANGED)


def _update(tx: Tx, row: Row[Any], seen: SeenDeposit, saga: Saga) -> None:
    seen = _told(row, seen)
    sight = _sight(seen)
    if all(getattr(row, name) == value for name, value in sight.items()):
        return
    tx.execute(update(deposit).where(deposit.c.id == row.id).values(sight | {"updated_at": tx.now}))
    if row.state in OPEN_STATES:
        nudge(tx, saga, deposit.c.id == row.id)
        tx.wake(saga.kind, row.id)
    elif seen.status is DepositStatus.CONFIRMED:
        alarms.clear(tx, f"deposit:{row.id}", MOVED)
    else:
        alarms.raise_(tx, MOVED, f"deposit:{row.id}", f"{row.public_id} is final, and is {seen.status} now")


def _write_chain(tx: Tx, before: Row[Any], found: Observation, *, complete: bool) -> None:
    tip = found.page.tip
    values: dict[str, Any] = {"tip_height": tip.height, "tip_hash": tip.hash, "scanned_at": tx.now, "health_at": tx.now}
    values |= {"health_reason": None, "health_detail": None}
    values |= {"fee_rate": found.market.rate, "fee_source": found.market.source}
    if found.page.final_height is not None:  # a node that cannot say it for once takes no chain's word away
        values["final_height"] = found.page.final_height
    if complete:
        values["scan_cursor"] = found.page.cursor
    tx.execute(update(chain).where(chain.c.name == before.name).values(values))
    alarms.clear(tx, f"chain:{before.name}", "node_not_ready")


def _wake_by_tip(tx: Tx, name: str, tip: Tip, final_height: int | None, sagas: Mapping[str, Saga]) -> None:
    """A new block: everything that it can have moved is due now, and books and chain are compared once that is done."""
    tasks.wake(tx, f"reconcile:{name}")
    d = deposit.c
    buried_height = tip.height + 1 - FINAL_DEPTH if final_height is None else final_height
    ripe = or_(d.height <= tip.height + 1 - d.confirmations_needed, d.height <= buried_height)
    waiting = (d.chain == name) & (d.state == "confirming") & or_(d.confirmations_needed.is_(None), ripe)
    buried = (d.chain == name) & d.state.in_(("credited", "held", "ignored")) & (d.height <= buried_height)
    for condition in (waiting, buried & d.due_at.is_not(None)):
        ids = [row.id for row in tx.all(select(d.id).where(condition))]
        if ids:
            nudge(tx, sagas["deposit"], d.id.in_(ids))
            for row_id in ids:
                tx.wake("deposit", row_id)
    p = sagas["payment"].table.c
    live = (p.chain == name) & p.state.in_(("confirming", "settled", "broadcast", "bumping"))
    for row_id in [row.id for row in tx.all(select(p.id).where(live))]:
        nudge(tx, sagas["payment"], p.id == row_id)
        tx.wake("payment", row_id)
