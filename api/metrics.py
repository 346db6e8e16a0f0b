"""/metrics for Prometheus: how requests fare, and how the sagas stand in the database.

Under gunicorn the counters of all processes meet in `PROMETHEUS_MULTIPROC_DIR` (set by `api.gunicorn_conf`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from sqlalchemy import func, select

from jobs.assets import chains_in_use
from jobs.rates import usable as rates
from ledger.db import Database, Tx
from ledger.errors import DatabaseError
from ledger.schema import (
    alarm,
    chain,
    deposit,
    escrow,
    event,
    halt,
    hedge,
    pause,
    payment,
    swap,
    sweep,
    task,
    webhook_delivery,
    webhook_endpoint,
    withdrawal,
)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)

#: States that somebody still has to move; finished rows are too many to count.
_OPEN = {
    deposit: ("detected", "confirming", "held"),
    withdrawal: ("pending_approval", "queued", "signed", "broadcast", "confirming", "review"),
    sweep: ("planned", "funding", "sweeping"),
    payment: ("building", "reserved", "signed", "broadcast", "confirming", "bumping", "releasing", "review"),
    escrow: ("awaiting_funds", "funded", "disputed"),
    swap: ("awaiting_deposit", "executed", "paying_out", "refunding"),
    hedge: ("planned", "placed", "review"),
}

#: Whose rows workers take up by themselves when they are due.
_SWEPT = (deposit, payment, sweep, escrow, swap, hedge, webhook_delivery, task)


class Metrics:
    """One for each app. `seen` counts a request, `text` renders everything."""

    def __init__(self, database: Database) -> None:
        self._registry = CollectorRegistry()
        labels = ("route", "method", "status")
        self._requests = Counter("coffer_http_requests", "Requests", labels, registry=self._registry)
        self._seconds = Histogram(
            "coffer_http_request_seconds",
            "Time to answer",
            ("route", "method"),
            registry=self._registry,
            buckets=_BUCKETS,
        )
        self._database = database

    def seen(self, route: str, method: str, status: int, seconds: float) -> None:
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route, method).observe(seconds)

    def text(self) -> bytes:
        registry = self._registry
        if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry) + generate_latest(_Stored(self._database))  # type: ignore[arg-type]


class _Stored:
    """What the database tells, read at the moment of the scrape."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def collect(self) -> Iterator[GaugeMetricFamily]:
        up = GaugeMetricFamily("coffer_database_up", "1 while the database answers")
        try:
            found = self._database.read(
                lambda tx: [*_states(tx), *_queues(tx), *_chains(tx), *_reconciliation(tx), *_rates(tx), *_rest(tx)]
            )
        except DatabaseError:
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        yield from found


def _states(tx: Tx) -> Iterator[GaugeMetricFamily]:
    gauge = GaugeMetricFamily("coffer_saga_rows", "Rows that are not finished", labels=["kind", "asset", "state"])
    for table, states in _OPEN.items():
        c: Any = table.c
        of = c.sell_asset if table is swap else c.asset
        query = select(of, c.state, func.count()).where(c.state.in_(states)).group_by(of, c.state)
        for asset, state, count in tx.all(query):
            gauge.add_metric([table.name, asset, state], count)
    yield gauge


def _queues(tx: Tx) -> Iterator[GaugeMetricFamily]:
    age = GaugeMetricFamily("coffer_due_age_seconds", "How long the longest waiting row is overdue", labels=["kind"])
    for table in _SWEPT:
        oldest = tx.value(select(func.min(table.c.due_at)).where(table.c.lease_until < tx.now))
        age.add_metric([table.name], 0 if oldest is None else max(0, tx.now - oldest) / 1e6)
    waiting = select(func.min(withdrawal.c.created_at)).where(withdrawal.c.state == "queued")
    oldest = tx.value(waiting.where(withdrawal.c.payment_id.is_(None)))
    age.add_metric(["withdrawal"], 0 if oldest is None else max(0, tx.now - oldest) / 1e6)
    late = GaugeMetricFamily(
        "coffer_queue_late_seconds", "By how much a queue's periodic work is late", labels=["queue"]
    )
    free = select(task.c.queue, func.min(task.c.due_at)).where(task.c.lease_until < tx.now).group_by(task.c.queue)
    for queue, oldest in tx.all(free):
        late.add_metric([queue], max(0, tx.now - oldest) / 1e6)
    yield from (age, late)


def _rates(tx: Tx) -> Iterator[GaugeMetricFamily]:
    age = GaugeMetricFamily("coffer_rate_age_seconds", "Age of the newest price that could be used", labels=["asset"])
    for code, row in rates.newest(tx).items():
        if row.problem is None:
            age.add_metric([code], max(0, tx.now - row.quoted_at) / 1e6)
    yield age


def _chains(tx: Tx) -> Iterator[GaugeMetricFamily]:
    healthy = GaugeMetricFamily("coffer_chain_healthy", "1 while the node may be relied on", labels=["chain"])
    height = GaugeMetricFamily("coffer_chain_height", "Best block that was scanned", labels=["chain"])
    lag = GaugeMetricFamily("coffer_chain_scan_age_seconds", "Time since the last scan", labels=["chain"])
    for row in tx.all(select(chain).where(chain.c.name.in_(chains_in_use(tx)))):
        healthy.add_metric([row.name], int(row.health_reason is None and row.health_at is not None))
        height.add_metric([row.name], row.tip_height or 0)
        if row.scanned_at is not None:
            lag.add_metric([row.name], max(0, tx.now - row.scanned_at) / 1e6)
    halted = GaugeMetricFamily("coffer_chain_halted", "1 while nothing is signed there", labels=["chain", "cause"])
    for row in tx.all(select(halt)):
        halted.add_metric([row.chain, row.cause], 1)
    yield from (healthy, height, lag, halted)


def _reconciliation(tx: Tx) -> Iterator[GaugeMetricFamily]:
    """Both sides of each asset as they were compared last, in atomic units."""
    units = GaugeMetricFamily("coffer_reconciliation_units", "What is owed and what is held", labels=["asset", "part"])
    age = GaugeMetricFamily(
        "coffer_reconciliation_age_seconds", "Time since books and chain were compared", labels=["asset"]
    )
    for row in tx.all(select(task.c.progress).where(task.c.name.startswith("reconcile:", autoescape=True))):
        for asset, report in (row.progress or {}).items():
            for name, value in report.items():
                if name.endswith("_units"):
                    units.add_metric([asset, name.removesuffix("_units")], int(value))
            age.add_metric([asset], max(0, tx.now - report.get("at", 0)) / 1e6)
    paused = GaugeMetricFamily("coffer_paused", "1 while an asset's flow is paused", labels=["asset", "flow"])
    for row in tx.all(select(pause.c.asset, pause.c.flow)):
        paused.add_metric([row.asset, row.flow], 1)
    yield from (units, age, paused)


def _rest(tx: Tx) -> Iterator[GaugeMetricFamily]:
    alarms = GaugeMetricFamily("coffer_alarms_open", "Open alarms", labels=["name"])
    for name, count in tx.all(select(alarm.c.name, func.count()).where(alarm.c.open == 1).group_by(alarm.c.name)):
        alarms.add_metric([name], count)
    unnumbered = GaugeMetricFamily("coffer_events_unnumbered", "Events that no reader sees yet")
    unnumbered.add_metric([], tx.value(select(func.count()).where(event.c.sequence.is_(None))))
    yield from (alarms, unnumbered, *_webhooks(tx))


def _webhooks(tx: Tx) -> Iterator[GaugeMetricFamily]:
    pending = GaugeMetricFamily("coffer_webhook_deliveries_pending", "Messages that no receiver has confirmed yet")
    pending.add_metric([], tx.value(select(func.count()).where(webhook_delivery.c.state == "pending")))
    endpoints = GaugeMetricFamily("coffer_webhook_endpoints", "Endpoints of all projects", labels=["state"])
    counts = {"enabled": 0, "failing": 0, "disabled": 0}
    e = webhook_endpoint.c
    for state, failing, count in tx.all(
        select(e.state, e.failing_since.is_not(None), func.count())
        .where(e.state != "deleted")
        .group_by(e.state, e.failing_since.is_not(None))
    ):
        counts["failing" if state == "enabled" and failing else state] += count
    for state, count in counts.items():
        endpoints.add_metric([state], count)
    yield from (pending, endpoints)
