"""Chapters about webhooks: a shop that listens, misses one message, and is told everything all the same."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from devstack.demo.receiver import Receiver
from devstack.demo.scene import Scene

PING = "webhook_endpoint.ping"
#: What the shop wants to be told.
WANTED = ("escrow.*", "swap.*")


def listen(scene: Scene, ear: Receiver) -> str:
    """An endpoint, its secret, and a ping that proves both. The first event after it is refused on purpose."""
    scene.tell.chapter("The shop listens: webhooks, each signed")
    body = {"url": ear.url, "events": list(WANTED)}
    made = scene.shop.post("/v1/webhook_endpoints", body, key="webhook-endpoint")
    ear.secret = made["secret"]
    scene.tell.note("The secret is shown once. The receiver checks every signature with it, by itself.")
    scene.shop.post(f"/v1/webhook_endpoints/{made['id']}/test", {}, key="webhook-ping")
    scene.tell.until("the ping", lambda: [one for one in ear.taken if one["type"] == PING] or None)
    scene.tell.shop("heard: ping, its signature is right")
    ear.refuse = 1
    return str(made["id"])


def compare(scene: Scene, ear: Receiver, endpoint: str, events: list[dict[str, Any]]) -> None:
    """What was heard is what the event sequence says, event by event, and in its order for each resource."""
    scene.tell.chapter("What the shop heard is what happened")
    kinds = tuple(each.removesuffix("*") for each in WANTED)
    wanted = {event["id"]: event for event in events if event["type"].startswith(kinds)}
    scene.tell.until("the last webhook", lambda: _heard(ear).keys() >= wanted.keys() or None)
    heard = _heard(ear)
    scene.checks.same("messages with a wrong signature", ear.faults, [])
    scene.checks.same("what was heard", heard, wanted)
    told: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for event in heard.values():
        told[event["data"]["object"]["id"]].append(event)
    for resource, mine in told.items():
        numbers = [event["sequence"] for event in mine]
        scene.checks.same(f"the order of {resource}", numbers, sorted(numbers))
        scene.tell.shop(f"heard of {resource}: {', '.join(event['type'].partition('.')[2] for event in mine)}")
    _retried(scene, ear, endpoint)


def _heard(ear: Receiver) -> dict[str, dict[str, Any]]:
    """Event id -> what was heard of it, in the order of arrival; without the ping."""
    return {event["id"]: event for event in ear.taken if event["type"] != PING}


def _retried(scene: Scene, ear: Receiver, endpoint: str) -> None:
    """The message that the receiver refused came again, and the log has both answers."""
    scene.checks.same("messages that were refused", len(ear.refused), 1)
    found = scene.shop.get("/v1/webhook_deliveries", endpoint=endpoint, event=ear.refused[0])["data"]
    one = scene.tell.until("the log of the one that was refused", lambda: _delivered(scene, found[0]["id"]))
    answers = [attempt["http_status"] for attempt in one["attempts"]]
    scene.checks.same("the attempts of the one that was refused", answers, [503, 204])
    scene.tell.shop(f"GET /v1/webhook_deliveries/{one['id']} -> answered 503, tried again, answered 204")


def _delivered(scene: Scene, delivery_id: str) -> dict[str, Any] | None:
    found: dict[str, Any] = scene.shop.get(f"/v1/webhook_deliveries/{delivery_id}")
    return found if found["status"] == "delivered" else None
