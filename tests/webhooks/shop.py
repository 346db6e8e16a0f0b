"""A project with events, and a webhooks worker that runs when asked. Time passes by moving rows back."""

from __future__ import annotations

import ipaddress
from typing import Any

from sqlalchemy import Row, insert, select, update

from jobs import bootstrap
from jobs.runtime import Runtime
from jobs.services import Services
from jobs.webhooks import endpoints as webhook_endpoints
from jobs.webhooks import log as webhook_log
from jobs.webhooks import parts as webhook_parts
from jobs.webhooks.urls import Guard
from ledger import history
from ledger.db import Database
from ledger.ids import new_id
from ledger.schema import alarm, event, project, task, webhook_delivery, webhook_endpoint
from wallets.fake import FakeAddressBook

MINUTE = 60 * 1_000_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
D, E = webhook_delivery.c, webhook_endpoint.c
LOOPBACK = Guard([ipaddress.ip_network("127.0.0.0/8")])


class Shop:
    def __init__(self, database: Database) -> None:
        self.database = database
        self.services = Services(database, "test", lambda _: FakeAddressBook())
        self.services.webhooks = webhook_parts.make(b"w" * 32, LOOPBACK)
        self.runtime = Runtime(database, bootstrap.sagas(), self.services)
        self.project_id = int(database.run(_project, "test"))

    def endpoint(self, url: str, *events: str) -> Row[Any]:
        return self.database.run(
            lambda tx: webhook_endpoints.create(tx, self.project_id, url, events or ("*",), None, LOOPBACK, "test"),
            "test",
        )

    def secret(self, endpoint: Row[Any], version: int = 1) -> str:
        return self.services.require_webhooks().keys.secret(endpoint.public_id, version)

    def happens(self, *states: str, about: str | None = None, kind: str = "deposit") -> str:
        """Events of one resource, numbered."""
        resource = about or new_id("dp")

        def unit(tx: Any) -> None:
            for state in states:
                history.emit(tx, self.project_id, f"{kind}.{state}", resource, {"id": resource, "status": state})
            history.number_events(tx)

        self.database.run(unit, "test")
        return resource

    def fan_out(self) -> None:
        row_id = self.database.read(lambda tx: tx.value(select(task.c.id).where(task.c.name == "fanout")))
        self.runtime.advance("task", row_id, woken=True)

    def work(self, pause_us: int = 0) -> None:
        """Let this much time pass, then do all that is due."""
        if pause_us:
            self.later(pause_us)
        self.fan_out()
        while any([self.runtime.advance("delivery", row_id) for row_id in self.due()]):  # noqa: C419  # all of them
            pass

    def due(self) -> list[int]:
        own = (D.project_id == self.project_id) & (D.lease_until == 0)

        def unit(tx: Any) -> list[int]:
            return [row.id for row in tx.all(select(D.id).where(own, D.due_at <= tx.now).order_by(D.due_at, D.id))]

        return self.database.read(unit)

    def set_pending(self, **values: Any) -> None:
        own = (D.project_id == self.project_id) & (D.state == "pending")
        self.database.run(lambda tx: tx.execute(update(webhook_delivery).where(own).values(values)), "test_clock")

    def set_pending_waiting(self, **values: Any) -> None:
        """As `set_pending`, of those that wait for a time; what waits for another row stays asleep."""
        own = (D.project_id == self.project_id) & (D.state == "pending") & D.due_at.is_not(None)
        self.database.run(lambda tx: tx.execute(update(webhook_delivery).where(own).values(values)), "test_clock")

    def set_endpoints(self, **values: Any) -> None:
        own = update(webhook_endpoint).where(E.project_id == self.project_id)
        self.database.run(lambda tx: tx.execute(own.values(values)), "test_clock")

    def set_endpoint(self, endpoint: Row[Any], **values: Any) -> None:
        own = update(webhook_endpoint).where(E.id == endpoint.id)
        self.database.run(lambda tx: tx.execute(own.values(values)), "test_clock")

    def close(self) -> None:
        """Leave nothing to do: tests share a database."""
        self.set_endpoints(state="deleted")
        self.set_pending(state="failed", due_at=None, lease_until=0)

    def later(self, micros: int) -> None:
        """As if this much time had passed: everything that was, or will be, is so much longer ago."""

        def unit(tx: Any) -> None:
            own = update(webhook_delivery).where(D.project_id == self.project_id, D.due_at.is_not(None))
            tx.execute(own.values(due_at=D.due_at - micros))
            for name in ("failing_since", "previous_secret_until"):
                found = update(webhook_endpoint).where(E.project_id == self.project_id, E[name].is_not(None))
                tx.execute(found.values({name: E[name] - micros}))

        self.database.run(unit, "test_clock")

    def row(self, endpoint: Row[Any]) -> Row[Any]:
        return self.database.read(lambda tx: tx.one(select(webhook_endpoint).where(E.id == endpoint.id)))

    def change(self, endpoint: Row[Any], call: Any, *more: Any) -> Row[Any]:
        """`call(tx, row, *more, actor)` on the locked endpoint."""

        def unit(tx: Any) -> Row[Any]:
            row = webhook_endpoints.find(tx, self.project_id, endpoint.public_id, locked=True)
            return call(tx, row, *more, "test")

        return self.database.run(unit, "test")

    def deliveries(self) -> list[Row[Any]]:
        own = select(webhook_delivery).where(D.project_id == self.project_id).order_by(D.id)
        return list(self.database.read(lambda tx: tx.all(own)))

    def states(self) -> list[str]:
        return [row.state for row in self.deliveries()]

    def log(self, delivery_id: int) -> list[dict[str, Any]]:
        return list(self.database.read(lambda tx: webhook_log.view(tx, delivery_id))["attempts"])

    def events(self) -> list[Row[Any]]:
        own = event.c.project_id == self.project_id
        return list(self.database.read(lambda tx: tx.all(select(event).where(own).order_by(event.c.sequence))))

    def alarms_of(self, endpoint: Row[Any]) -> list[str]:
        own = select(alarm).where(alarm.c.open == 1, alarm.c.subject == endpoint.public_id)
        return [row.name for row in self.database.read(lambda tx: tx.all(own))]


def _project(tx: Any) -> int:
    values = {"public_id": new_id("pj"), "name": new_id("shop"), "created_at": tx.now}
    return int(tx.insert(insert(project).values(values)))
