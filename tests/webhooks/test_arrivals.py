"""Events reach a real receiver, each once when nothing fails, and in order for each resource."""

from __future__ import annotations

from contextlib import closing

import pytest
from sqlalchemy import update

from jobs.webhooks import fanout as webhook_fanout
from ledger.schema import webhook_delivery
from tests.receiver import Got, Receiver, receiving
from tests.webhooks.shop import DAY, HOUR, MINUTE, D, Shop


def test_an_event_arrives_signed_and_exactly_as_the_api_shows_it(shop: Shop, receiver: Receiver) -> None:
    endpoint = shop.endpoint(receiver.url)
    resource = shop.happens("detected")
    shop.work()
    (got,) = receiver.got
    (told,) = shop.events()
    assert got.path == "/hooks"
    assert got.signed_by(shop.secret(endpoint))
    assert got.id == told.public_id
    assert got.json == {
        "id": told.public_id,
        "type": "deposit.detected",
        "timestamp": got.json["timestamp"],
        "livemode": False,
        "sequence": 1,
        "data": {"object": {"id": resource, "status": "detected"}},
    }
    assert shop.states() == ["delivered"]
    assert shop.row(endpoint).delivered_at is not None
    (attempt,) = shop.log(shop.deliveries()[0].id)
    assert (attempt["number"], attempt["http_status"], attempt["error"]) == (1, 204, None)


def test_an_endpoint_gets_what_it_asked_for_and_what_came_after_it_was_made(shop: Shop, receiver: Receiver) -> None:
    before = shop.happens("detected")
    shop.endpoint(receiver.url, "deposit.credited", "withdrawal.*")
    shop.happens("confirming", "credited", about=before)
    shop.happens("queued", "completed", kind="withdrawal")
    shop.happens("completed", kind="transfer")
    shop.work()
    assert receiver.events() == ["deposit.credited", "withdrawal.queued", "withdrawal.completed"]


def test_each_endpoint_of_a_project_gets_every_event_and_no_other_projects(shop: Shop, receiver: Receiver) -> None:
    other = Shop(shop.database)
    with receiving() as second:
        shop.endpoint(receiver.url)
        shop.endpoint(second.url)
        shop.happens("detected", "credited")
        other.happens("reversed")
        shop.work()
        assert receiver.events() == second.events() == ["deposit.detected", "deposit.credited"]


def test_more_events_than_one_pass_takes_all_get_a_row_in_order(
    shop: Shop, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_fanout, "EVENTS_MAX", 3)
    monkeypatch.setattr(webhook_fanout, "ENDPOINTS_MAX", 1)
    with receiving() as second:
        ids = [shop.endpoint(url).id for url in (receiver.url, second.url)]
        for _ in range(5):
            shop.happens("detected", "credited")
        for _ in range(8):
            shop.work()
        for one, endpoint_id in zip((receiver, second), ids, strict=True):
            assert sorted(got.json["sequence"] for got in one.got) == list(range(1, 11))
            rows = [row.event_id for row in shop.deliveries() if row.endpoint_id == endpoint_id]
            assert rows == [row.id for row in shop.events()]


def test_endpoints_that_are_far_behind_do_not_keep_those_of_another_project_waiting(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They were switched off for long: each takes many passes, and there are as many as a pass has places."""
    monkeypatch.setattr(webhook_fanout, "EVENTS_MAX", 10)
    ids = {shop.endpoint("http://127.0.0.1:1024/hooks").id for _ in range(webhook_fanout.ENDPOINTS_MAX)}
    shop.happens(*["detected"] * 1_000)
    with closing(Shop(shop.database)) as other:
        other.endpoint("http://127.0.0.1:1024/hooks")
        told = other.happens("detected")
        for _ in range(2):
            shop.fan_out()
        assert [row.resource_id for row in other.deliveries()] == [told]
        assert {row.endpoint_id for row in shop.deliveries()} == ids


def test_events_that_nobody_wants_do_not_hide_the_one_that_is_wanted(
    shop: Shop, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_fanout, "EVENTS_MAX", 3)
    shop.endpoint(receiver.url, "transfer.completed")
    for _ in range(10):
        shop.happens("detected")
    shop.happens("completed", kind="transfer")
    for _ in range(5):
        shop.work()
    assert receiver.events() == ["transfer.completed"]


def test_events_of_a_resource_keep_their_order_while_others_overtake(shop: Shop, receiver: Receiver) -> None:
    shop.endpoint(receiver.url)
    stuck = shop.happens("detected", "confirming", "credited")
    receiver.reply = lambda got: 500 if got.json["data"]["object"]["id"] == stuck else 204
    free = shop.happens("detected", "credited")
    shop.work()
    arrived = [(got.json["data"]["object"]["id"], got.json["type"]) for got in receiver.got]
    assert arrived == [(stuck, "deposit.detected"), (free, "deposit.detected"), (free, "deposit.credited")]
    assert [row.state for row in shop.deliveries() if row.resource_id == stuck] == ["pending"] * 3
    receiver.answers(200)
    shop.work(10 * MINUTE)
    later = [got.json["type"] for got in receiver.got if got.json["data"]["object"]["id"] == stuck]
    assert later == ["deposit.detected", "deposit.detected", "deposit.confirming", "deposit.credited"]


def test_what_is_woken_too_early_waits_for_the_one_before(shop: Shop, receiver: Receiver) -> None:
    shop.endpoint(receiver.url)
    receiver.answers(500)
    shop.happens("detected", "credited")
    shop.work()
    first = shop.deliveries()[0].id
    shop.set_pending(due_at=1)
    shop.database.run(lambda tx: tx.execute(update(webhook_delivery).where(D.id == first).values(due_at=2**62)), "test")
    shop.work()
    assert receiver.events() == ["deposit.detected"]
    assert shop.deliveries()[1].status_reason == "waits_for_earlier"


def test_an_event_that_is_given_up_lets_the_next_one_go(shop: Shop, receiver: Receiver) -> None:
    shop.endpoint(receiver.url)
    receiver.reply = lambda got: 500 if got.json["type"] == "deposit.detected" else 204
    shop.happens("detected", "credited")
    for _ in range(20):
        shop.work(DAY + 3 * HOUR)
        shop.set_endpoints(failing_since=None)  # or it would be switched off before
    assert shop.states() == ["failed", "delivered"]
    assert receiver.events() == ["deposit.detected"] * 10 + ["deposit.credited"]


def test_an_event_that_comes_while_the_one_before_ends_is_not_left_asleep(shop: Shop, receiver: Receiver) -> None:
    """The fan-out runs in the moment between the answer and its commit."""
    shop.endpoint(receiver.url)
    resource = shop.happens("detected")
    shop.fan_out()

    def reply(got: Got) -> int:
        if got.json["type"] == "deposit.detected":
            shop.happens("credited", about=resource)
            shop.fan_out()
        return 204

    receiver.reply = reply
    shop.work()
    assert receiver.events() == ["deposit.detected", "deposit.credited"]
