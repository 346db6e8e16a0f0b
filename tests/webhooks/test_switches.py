"""An endpoint that is off, by whoever, loses nothing."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.webhooks import delivery
from jobs.webhooks import endpoints as webhook_endpoints
from ledger import history
from tests.receiver import Receiver, receiving
from tests.webhooks.shop import DAY, HOUR, LOOPBACK, Shop


def test_410_switches_the_endpoint_off_and_it_misses_nothing(shop: Shop, receiver: Receiver) -> None:
    endpoint = shop.endpoint(receiver.url)
    receiver.answers(410, 204)
    resource = shop.happens("detected")
    shop.work()
    row = shop.row(endpoint)
    assert (row.state, row.disabled_reason) == ("disabled", "gone")
    assert shop.alarms_of(endpoint) == ["webhook_endpoint_disabled"]
    shop.database.run(history.number_events, "test")
    assert [row.type for row in shop.events()] == ["deposit.detected", "webhook_endpoint.disabled"]
    shop.happens("credited", about=resource)
    for _ in range(3):
        shop.work(DAY)
    assert len(receiver.got) == 1
    shop.change(endpoint, webhook_endpoints.enable)
    shop.work()
    assert receiver.events() == [
        "deposit.detected",
        "deposit.detected",
        "webhook_endpoint.disabled",
        "deposit.credited",
    ]
    assert shop.alarms_of(endpoint) == []


def test_410_at_the_last_attempt_gives_nothing_up(shop: Shop, receiver: Receiver) -> None:
    endpoint = shop.endpoint(receiver.url)
    receiver.answers(410, 204)
    shop.happens("detected")
    shop.fan_out()
    shop.set_pending(tries=len(delivery.SCHEDULE))
    shop.work()
    assert shop.states() == ["pending"]
    shop.change(endpoint, webhook_endpoints.enable)
    shop.work()
    assert shop.states()[0] == "delivered"


def test_an_endpoint_that_fails_for_five_days_is_switched_off_with_an_alarm(shop: Shop, receiver: Receiver) -> None:
    endpoint = shop.endpoint(receiver.url)
    receiver.answers(500)
    for _ in range(5):
        shop.happens("detected")
        shop.work(DAY + HOUR)
        assert shop.row(endpoint).state == "enabled"
    shop.happens("detected")
    shop.work(DAY + HOUR)
    row = shop.row(endpoint)
    assert (row.state, row.disabled_reason) == ("disabled", "failing")
    assert shop.alarms_of(endpoint) == ["webhook_endpoint_disabled"]
    sent = len(receiver.got)
    shop.work(DAY)
    assert len(receiver.got) == sent


def test_one_success_ends_the_count_of_failing_days(shop: Shop, receiver: Receiver) -> None:
    endpoint = shop.endpoint(receiver.url)
    for day in range(12):
        receiver.answers(204 if day % 4 == 3 else 500)
        shop.happens("detected")
        shop.work(DAY + HOUR)
    assert shop.row(endpoint).state == "enabled"


def test_disabled_and_enabled_again_misses_nothing(shop: Shop, receiver: Receiver) -> None:
    endpoint = shop.endpoint(receiver.url)
    receiver.answers(500)
    resource = shop.happens("detected")
    shop.work()
    shop.change(endpoint, webhook_endpoints.disable, "customer")
    shop.happens("confirming", about=resource)
    for _ in range(5):
        shop.work(DAY)
    shop.happens("credited", about=resource)
    assert len(receiver.got) == 1
    receiver.got.clear()
    receiver.answers(204)
    shop.change(endpoint, webhook_endpoints.enable)
    shop.work()
    assert receiver.events() == ["deposit.detected", "deposit.confirming", "deposit.credited"]
    assert shop.deliveries()[0].tries == 1  # a whole schedule again


def test_enabled_while_a_delivery_finds_it_disabled_leaves_nothing_asleep(
    shop: Shop, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = shop.endpoint(receiver.url)
    shop.happens("detected")
    shop.fan_out()
    shop.change(endpoint, webhook_endpoints.disable, "customer")
    real = delivery._message

    def slowly(*given: Any, **more: Any) -> Any:
        found = real(*given, **more)
        if found.endpoint.state == "disabled":
            woken.append(True)
        return found

    woken: list[bool] = []
    monkeypatch.setattr(delivery, "_message", slowly)
    original = delivery.Waits

    def waits(*given: Any, **more: Any) -> Any:
        if more.get("reason") == "endpoint_disabled" and shop.row(endpoint).state == "disabled":
            shop.change(endpoint, webhook_endpoints.enable)
        return original(*given, **more)

    class Between(original):  # type: ignore[misc,valid-type]
        def __new__(cls, *given: Any, **more: Any) -> Any:
            return waits(*given, **more)

    monkeypatch.setattr(delivery, "Waits", Between)
    shop.work()
    assert woken
    assert receiver.events() == ["deposit.detected"]


def test_what_waits_for_a_deleted_endpoint_fails(shop: Shop, receiver: Receiver) -> None:
    endpoint = shop.endpoint(receiver.url)
    receiver.answers(500)
    shop.happens("detected", "confirming", "credited")
    shop.happens("detected")
    shop.work()
    shop.change(endpoint, webhook_endpoints.delete)
    shop.happens("detected")
    shop.work()
    assert shop.states() == ["failed"] * 4
    assert {row.status_reason for row in shop.deliveries()} == {"endpoint_deleted"}
    assert len(receiver.got) == 2


def test_a_new_url_gets_what_the_old_one_refused(shop: Shop, receiver: Receiver) -> None:
    endpoint = shop.endpoint(receiver.url)
    receiver.answers(500)
    shop.happens("detected")
    shop.work()
    with receiving() as second:
        shop.change(endpoint, webhook_endpoints.change, {"url": second.url}, LOOPBACK)
        shop.work()
        assert second.events() == ["deposit.detected"]
