"""Events: everything that happened in the project, in one sequence without a gap."""

from __future__ import annotations

from typing import Any

from pydantic import Field
from sqlalchemy import select

from api.answers import Answer, ok
from api.call import Call
from api.endpoints import Resource
from api.validation import Query, Shown
from jobs import views
from ledger.db import Tx
from ledger.schema import event

resource = Resource("events", __name__, "What happened, in one sequence without a gap")


class Event(Shown):
    id: str
    type: str = Field(examples=["withdrawal.completed"])
    timestamp: str
    livemode: bool
    sequence: int
    data: dict[str, Any] = Field(description="`object` is the resource as it was then")


class EventList(Shown):
    data: list[Event]
    next_after: int = Field(description="`after` of the next call, also when nothing new was there")
    has_more: bool


class EventQuery(Query):
    after: int = Field(0, ge=0, le=2**63 - 1, description="the last sequence that was read; 0 for the beginning")
    limit: int = Field(50, ge=1, le=100)


@resource.read("/events", EventList, scope="events:read", query=EventQuery)
def list_events(call: Call, tx: Tx, query: EventQuery) -> Answer:
    """Read the events after a sequence number, oldest first."""
    e = event.c
    wanted = select(event).where(e.project_id == call.project_id, e.sequence > query.after)
    rows = tx.all(wanted.order_by(e.sequence).limit(query.limit + 1))
    data = [views.event(row, livemode=call.parts.livemode) for row in rows[: query.limit]]
    last = data[-1]["sequence"] if data else query.after
    return ok({"data": data, "next_after": last, "has_more": len(rows) > query.limit})
