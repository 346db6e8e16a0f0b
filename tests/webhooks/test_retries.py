"""A receiver that fails, or was away, is tried again by the schedule and misses nothing."""

from __future__ import annotations

import pytest

from jobs.webhooks import delivery
from tests.receiver import Receiver, receiving
from tests.webhooks.shop import HOUR, MINUTE, Shop


def test_retries_follow_the_schedule_and_then_end(shop: Shop, receiver: Receiver) -> None:
    shop.endpoint(receiver.url)
    receiver.answers(503)
    shop.happens("detected")
    shop.work()
    for number, seconds in enumerate(delivery.SCHEDULE, start=1):
        (row,) = shop.deliveries()
        assert (row.state, row.tries, row.status_reason) == ("pending", number, "http_503")
        wait = (row.due_at - row.updated_at) / 1_000_000
        assert 0.89 * seconds <= wait <= 1.11 * seconds
        shop.work(int(0.85 * seconds) * 1_000_000)
        assert len(receiver.got) == number
        shop.work(int(0.27 * seconds) * 1_000_000 + MINUTE)
        assert len(receiver.got) == number + 1
    (row,) = shop.deliveries()
    assert (row.state, row.tries, row.due_at) == ("failed", 10, None)
    assert sum(delivery.SCHEDULE) > 3 * 86_400
    assert len({got.id for got in receiver.got}) == 1
    assert len({got.body for got in receiver.got}) == 1
    attempts = shop.log(row.id)
    assert [(a["number"], a["http_status"]) for a in attempts] == [(n, 503) for n in range(1, 11)]


def test_a_receiver_may_ask_for_more_time_but_not_for_less(shop: Shop, receiver: Receiver) -> None:
    shop.endpoint(receiver.url)
    receiver.answers((429, {"Retry-After": "3600"}), (429, {"Retry-After": "1"}), (503, {"Retry-After": "9" * 9}), 204)
    shop.happens("detected")
    shop.work()
    waits = []
    for _ in range(3):
        (row,) = shop.deliveries()
        waits.append((row.due_at - row.updated_at) // 1_000_000)
        shop.work(row.due_at - row.updated_at)
    assert (waits[0], waits[2]) == (3600, delivery.RETRY_AFTER_MAX_SECONDS)
    assert 270 <= waits[1] <= 330
    assert shop.states() == ["delivered"]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_a_miss_and_nobody_goes_there(shop: Shop, receiver: Receiver, status: int) -> None:
    with receiving() as other:
        receiver.answers((status, {"Location": other.url}))
        shop.endpoint(receiver.url)
        shop.happens("detected")
        shop.work()
        assert (len(receiver.got), other.got) == (1, [])
    assert shop.deliveries()[0].status_reason == f"http_{status}"


def test_a_receiver_that_was_off_for_a_day_misses_nothing(shop: Shop) -> None:
    with receiving() as receiver:
        endpoint = shop.endpoint(receiver.url)
        port = receiver.port
    resources = []
    for hour in range(24):
        resources.append(shop.happens("detected"))
        if hour:
            shop.happens("credited", about=resources[hour - 1])
        shop.work(HOUR)
    assert set(shop.states()) == {"pending"}
    assert shop.row(endpoint).state == "enabled"
    with receiving(port) as receiver:
        for _ in range(10):
            shop.work(2 * HOUR)
        assert set(shop.states()) == {"delivered"}
        got = [(g.json["data"]["object"]["id"], g.json["type"]) for g in receiver.got]
        assert sorted(g.json["sequence"] for g in receiver.got) == list(range(1, 48))
        for resource in resources[:-1]:
            assert [type_ for about, type_ in got if about == resource] == ["deposit.detected", "deposit.credited"]


def test_when_a_receiver_is_back_all_that_waits_comes_at_once(shop: Shop, receiver: Receiver) -> None:
    shop.endpoint(receiver.url)
    receiver.answers(500)
    for _ in range(5):
        shop.happens("detected", "credited")
    for _ in range(4):
        shop.work(HOUR)
    receiver.got.clear()
    receiver.answers(204)
    shop.happens("final")
    shop.work()  # no time passes: without the new event nothing would be due
    assert sorted(got.json["sequence"] for got in receiver.got) == list(range(1, 12))


def test_an_attempt_before_its_time_uses_up_none_of_the_schedule(shop: Shop, receiver: Receiver) -> None:
    shop.endpoint(receiver.url)
    poison = shop.happens("detected")
    receiver.reply = lambda got: 500 if got.json["data"]["object"]["id"] == poison else 204
    shop.work()
    for _ in range(30):
        shop.later(11 * MINUTE)
        shop.set_pending(due_at=2**62)  # time passes for the endpoint only
        shop.happens("detected")
        shop.work()
    row = shop.deliveries()[0]
    assert (row.state, row.tries) == ("pending", 1)
    assert len(shop.log(row.id)) == 31
