"""What `coffer status` reads: queues, chains, money, and everything that stands still."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from redis.exceptions import RedisError
from sqlalchemy import func, select

from jobs import bootstrap, queues, treasury
from jobs.assets import chains_in_use
from jobs.explain import amount
from jobs.saga import SECOND
from jobs.views import maybe_when, when
from ledger import balances
from ledger.db import Tx
from ledger.schema import (
    OWED_KINDS,
    alarm,
    asset,
    balance,
    chain,
    deposit,
    escrow,
    halt,
    lease,
    ledger_account,
    pause,
    payment,
    sweep,
    task,
    withdrawal,
)
from settings import Settings

View = dict[str, Any]

#: A row that is due for longer has no worker, or one that is busy.
LATE_US = 30 * SECOND


def of(tx: Tx) -> View:
    """The whole overview in one reading."""
    return {
        "queues": list(_queues(tx)),
        "scheduler": _scheduler(tx),
        "chains": list(_chains(tx)),
        "money": list(_money(tx)),
        "stuck": list(_stuck(tx)),
        "halts": [dict(row._mapping) | {"at": when(row.at)} for row in tx.all(select(halt).order_by(halt.c.at))],
        "pauses": [dict(row._mapping) | {"at": when(row.at)} for row in tx.all(select(pause))],
        "alarms": alarms(tx),
    }


def alarms(tx: Tx) -> list[View]:
    """The open alarms, the oldest first."""
    rows = tx.all(select(alarm).where(alarm.c.open == 1).order_by(alarm.c.first_at))
    return [
        {
            "name": row.name,
            "subject": row.subject,
            "detail": row.detail,
            "count": row.count,
            "first_at": when(row.first_at),
            "last_at": when(row.last_at),
        }
        for row in rows
    ]


def waiting_in_redis(settings: Settings) -> dict[str, int] | None:
    """Wake-ups by queue; None when Redis is absent or does not answer."""
    if settings.redis_url is None:
        return None
    redis = queues.connect(settings.redis_url.get_secret_value())
    try:
        return {name: queues.queue(name, redis).count for name in queues.QUEUES}
    except RedisError:
        return None
    finally:
        redis.close()


def _queues(tx: Tx) -> Iterable[View]:
    found = {name: {"queue": name, "due": 0, "late": 0, "failing": 0} for name in queues.QUEUES}
    for saga in bootstrap.sagas().values():
        t = saga.table.c
        column = t[saga.queue_column()]
        for name, condition in (
            ("due", t.due_at <= tx.now),
            ("late", (t.due_at <= tx.now - LATE_US) & (t.lease_until <= tx.now)),
            ("failing", t.attempts > 0),
        ):
            for row in tx.all(select(column, func.count().label("n")).where(condition).group_by(column)):
                if row[0] in found:
                    found[row[0]][name] += row.n
    return found.values()


def _scheduler(tx: Tx) -> View:
    row = tx.first(select(lease).where(lease.c.name == "scheduler"))
    alive = row is not None and row.until > tx.now
    return {"active": row.owner if row is not None and alive else None}


def _chains(tx: Tx) -> Iterable[View]:
    for row in tx.all(select(chain).where(chain.c.name.in_(chains_in_use(tx)))):
        yield {
            "chain": row.name,
            "height": row.tip_height,
            "final": row.final_height,
            "health": row.health_reason or ("ok" if row.health_at is not None else "never seen"),
            "detail": row.health_detail,
            "scanned_at": maybe_when(row.scanned_at),
            "fee_rate": row.fee_rate,
        }


def _money(tx: Tx) -> Iterable[View]:
    """House accounts by their own sign: the treasury as what it holds, and where."""
    lies = {found.asset: found for found in treasury.by_asset(tx)}
    for row in tx.all(select(asset).order_by(asset.c.code)):
        house, where = balances.of_house(tx, row.code), lies[row.code]
        reports = tx.value(select(task.c.progress).where(task.c.name == f"reconcile:{row.chain}")) or {}
        report = reports.get(row.code, {})
        units = {
            "owed": sum(_owed(tx, row.code)),
            "hot": where.hot,
            "on_indices": where.on_indices,
            "cold": where.cold,
            "in_flight": where.in_flight,
            "suspense": house["suspense"],
            "dust": house["dust"],
            "unexplained": int(report.get("unexplained_units", 0)),
        }
        yield (
            {"asset": row.code}
            | {name: amount(tx, value, row.code) for name, value in units.items()}
            | {"reconciled_at_height": report.get("height")}
        )


def _owed(tx: Tx, code: str) -> list[int]:
    a = ledger_account.c
    query = select(balance.c.units).join(ledger_account, a.id == balance.c.ledger_account_id)
    rows = tx.all(query.where(a.asset == code, a.kind.in_(OWED_KINDS)))
    return [row.units for row in rows]


def _stuck(tx: Tx) -> Iterable[View]:
    """What waits for a person, or fails again and again."""
    suspense = select(ledger_account.c.id).where(ledger_account.c.kind == "suspense")
    undecided = (deposit.c.state == "held") & deposit.c.credited_to.in_(suspense)
    operators = (escrow.c.state == "disputed") & (escrow.c.arbiter == "operator")
    for kind, table, condition in (
        ("withdrawal", withdrawal, withdrawal.c.state.in_(("review", "pending_approval"))),
        ("withdrawal", withdrawal, (withdrawal.c.state == "queued") & withdrawal.c.status_reason.is_not(None)),
        ("payment", payment, (payment.c.state == "review") | (payment.c.attempts >= 3)),
        ("deposit", deposit, undecided | (deposit.c.attempts >= 3)),
        ("sweep", sweep, sweep.c.attempts >= 3),
        ("escrow", escrow, operators | (escrow.c.attempts >= 3)),
    ):
        for row in tx.all(select(table).where(condition).order_by(table.c.id).limit(50)):
            shown = {"kind": kind, "id": row.public_id, "state": row.state, "reason": row.status_reason}
            yield shown | {"amount": amount(tx, row.units, row.asset), "since": when(row.updated_at)}
