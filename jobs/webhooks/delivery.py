"""Delivery: one event for one endpoint, tried over days until the receiver says that it has it.

At least once, never silently not: the POST comes first and its outcome is written after it, so a death between the two
repeats it, under the same `webhook-id`. A receiver that is switched off by us or by its owner loses nothing: what waits
for it stays here, and the sequence is taken up again where it was left.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Row, func, insert, select, update

from jobs import views
from jobs.saga import SECOND, Effect, Outcome, Saga, Step
from jobs.services import Services
from jobs.webhooks import endpoints as webhook_endpoints
from jobs.webhooks import queue as webhook_queue
from jobs.webhooks.events import PING
from jobs.webhooks.parts import Webhooks
from jobs.webhooks.post import Answer
from ledger.crashpoint import crashpoint
from ledger.db import Tx
from ledger.errors import InvalidInput
from ledger.schema import event, webhook_attempt, webhook_delivery, webhook_endpoint

#: Seconds between an attempt that failed and the next; after the last of them the delivery has failed. Three days.
SCHEDULE = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
JITTER = 0.1
#: A receiver may ask for more time than the schedule gives, up to this.
RETRY_AFTER_MAX_SECONDS = 86_400
#: An endpoint that has answered nothing well for so long is switched off.
FAILING_MAX_US = 5 * 86_400 * SECOND
#: One that was away for so long gets all that waits as soon as it answers again, not when each one's time has come.
AWAY_US = 600 * SECOND

_GONE = 410


class DeliveryState(StrEnum):
    PENDING = "pending"  #: waits for its turn, for its time, or for its endpoint to be switched on
    DELIVERED = "delivered"  #: the receiver answered with a 2xx
    FAILED = "failed"  #: every attempt of the schedule failed, or its endpoint is deleted


class Delivered(Outcome):
    """The receiver has it."""


class Missed(Outcome):
    """This attempt failed; another one follows."""


class Waits(Outcome):
    """Not its turn, or its endpoint is off: whoever changes that makes it due."""


class GivenUp(Outcome):
    """There will be no other attempt."""


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent, and to whom, as the database had it before the attempt."""

    endpoint: Row[Any]
    blocked: bool
    body: bytes
    id: str
    now: int


def deliver(row: Row[Any], services: Services) -> Outcome:
    """One attempt."""
    webhooks = services.require_webhooks()
    message = services.database.read(lambda tx: _message(tx, row, livemode=services.mode == "live"))
    endpoint = message.endpoint
    if endpoint.state == "deleted":
        return GivenUp(reason="endpoint_deleted", due_us=None, effect=_ended)
    if endpoint.state == "disabled" and row.event_id is not None:
        return Waits(reason="endpoint_disabled", due_us=None)
    if message.blocked:
        return Waits(reason="waits_for_earlier", due_us=None)
    stamp = int(time.time())
    headers = {
        "webhook-id": message.id,
        "webhook-timestamp": str(stamp),
        "webhook-signature": webhooks.keys.signatures(endpoint, message.id, stamp, message.body, message.now),
    }
    return _judged(row, _posted(webhooks, endpoint.url, headers, message.body))


def _posted(webhooks: Webhooks, url: str, headers: Mapping[str, str], content: bytes) -> Answer:
    try:
        target = webhooks.guard.check(url)
    except InvalidInput:  # the settings allowed it once
        return Answer(None, "address_refused", None, 0)
    crashpoint("webhook_post.before")
    answer = webhooks.poster.post(target, headers, content)
    crashpoint("webhook_post.after")
    return answer


def body(row: Row[Any], *, livemode: bool) -> bytes:
    """An event's bytes, the same at every attempt; the object is what GET /events shows. `row` is an event."""
    return json.dumps(views.event(row, livemode=livemode), separators=(",", ":"), ensure_ascii=False).encode("utf-8")


def _message(tx: Tx, row: Row[Any], *, livemode: bool) -> Message:
    endpoint = tx.one(select(webhook_endpoint).where(webhook_endpoint.c.id == row.endpoint_id))
    blocked = webhook_queue.is_blocked(tx, row)
    if row.event_id is None:
        return Message(endpoint, blocked, _ping(row, endpoint, livemode=livemode), row.public_id, tx.now)
    told = tx.one(select(event).where(event.c.id == row.event_id))
    return Message(endpoint, blocked, body(told, livemode=livemode), told.public_id, tx.now)


def _ping(row: Row[Any], endpoint: Row[Any], *, livemode: bool) -> bytes:
    """Shaped as an event, but of no sequence."""
    shown = {
        "id": row.public_id,
        "type": PING,
        "timestamp": views.when(row.created_at),
        "livemode": livemode,
        "sequence": None,
        "data": {"object": webhook_endpoints.view(endpoint)},
    }
    return json.dumps(shown, separators=(",", ":"), ensure_ascii=False).encode("utf-8")


def _judged(row: Row[Any], answer: Answer) -> Outcome:
    hastened = row.status_reason == webhook_queue.HASTENED
    tries = row.tries if hastened and not answer.good else row.tries + 1
    told: dict[str, Any] = {"values": {"tries": tries}, "effect": _logged(answer), "detail": answer.error}
    if answer.good:
        return Delivered(due_us=None, **told)
    if row.event_id is None or (tries > len(SCHEDULE) and answer.status != _GONE):
        return GivenUp(reason=answer.reason, due_us=None, **told)
    return Missed(reason=answer.reason, due_us=_pause_us(tries, answer.retry_after_seconds), **told)


def _pause_us(tries: int, asked_seconds: int | None) -> int:
    seconds = SCHEDULE[min(max(tries, 1), len(SCHEDULE)) - 1] * random.uniform(1 - JITTER, 1 + JITTER)
    asked = min(asked_seconds or 0, RETRY_AFTER_MAX_SECONDS)
    return int(max(seconds, asked) * SECOND)


def _logged(answer: Answer) -> Effect:
    """What stands with an attempt's outcome: its line in the log, what it says of the endpoint, and who is next."""

    def effect(tx: Tx, row: Row[Any]) -> None:
        endpoint = webhook_queue.lock(tx, row.endpoint_id)
        _log(tx, row, answer)
        if row.event_id is None:
            return  # a ping says nothing of how events arrive, and is in no order
        if answer.good:
            tx.execute(update(webhook_delivery).where(webhook_delivery.c.id == row.id).values(delivered_at=tx.now))
            _well(tx, endpoint)
        else:
            _badly(tx, endpoint, answer)
        webhook_queue.wake_next(tx, row)

    return effect


def _ended(tx: Tx, row: Row[Any]) -> None:
    webhook_queue.lock(tx, row.endpoint_id)
    webhook_queue.wake_next(tx, row)


def _log(tx: Tx, row: Row[Any], answer: Answer) -> None:
    a = webhook_attempt.c
    number = int(tx.value(select(func.max(a.number)).where(a.delivery_id == row.id)) or 0) + 1
    values = {"delivery_id": row.id, "number": number, "status": answer.status, "error": answer.error}
    rest = {"excerpt": answer.excerpt, "milliseconds": answer.milliseconds, "at": tx.now}
    tx.execute(insert(webhook_attempt).values(values | rest))


def _well(tx: Tx, endpoint: Row[Any]) -> None:
    e = webhook_endpoint.c
    tx.execute(update(webhook_endpoint).where(e.id == endpoint.id).values(failing_since=None, delivered_at=tx.now))
    if endpoint.failing_since is not None and endpoint.failing_since <= tx.now - AWAY_US:
        webhook_queue.wake_all(tx, endpoint.id, under_way=False, status_reason=webhook_queue.HASTENED)


def _badly(tx: Tx, endpoint: Row[Any], answer: Answer) -> None:
    if endpoint.state != "enabled":
        return
    if answer.status == _GONE:
        webhook_endpoints.switch_off(tx, endpoint, "gone", "the receiver answered 410 Gone")
    elif endpoint.failing_since is None:
        values = {"failing_since": tx.now}
        tx.execute(update(webhook_endpoint).where(webhook_endpoint.c.id == endpoint.id).values(values))
    elif endpoint.failing_since <= tx.now - FAILING_MAX_US:
        webhook_endpoints.switch_off(
            tx, endpoint, "failing", f"no delivery has succeeded for five days: {answer.reason}"
        )


DELIVERY = Saga(
    "delivery",
    webhook_delivery,
    start=DeliveryState.PENDING,
    final=frozenset({DeliveryState.DELIVERED, DeliveryState.FAILED}),
    steps={
        DeliveryState.PENDING: Step(
            deliver,
            {
                Delivered: DeliveryState.DELIVERED,
                Missed: DeliveryState.PENDING,
                Waits: DeliveryState.PENDING,
                GivenUp: DeliveryState.FAILED,
            },
        ),
    },
)
