"""Workers die, come in twos, and are held up by nobody."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import update

from jobs import bootstrap
from jobs.runtime import Runtime
from jobs.sweeper import Sweeper
from jobs.webhooks import delivery
from jobs.webhooks import dispatch as webhook_dispatch
from jobs.webhooks import endpoints as webhook_endpoints
from jobs.webhooks import fanout as webhook_fanout
from jobs.webhooks import log as webhook_log
from jobs.webhooks import parts as webhook_parts
from jobs.webhooks import queue as webhook_queue
from jobs.webhooks.dispatch import PLACES, Dispatcher
from jobs.webhooks.urls import Guard
from ledger.errors import StateConflict
from ledger.schema import task
from tests.receiver import Receiver, receiving
from tests.webhooks.shop import Shop


class Killed(BaseException):
    """As a power cut: nothing of ours catches it."""


@pytest.mark.parametrize(("place", "arrivals"), [("webhook_post.before", 1), ("webhook_post.after", 2)])
def test_a_death_around_the_post_delivers_at_least_once_under_one_id(
    shop: Shop, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, place: str, arrivals: int
) -> None:
    shop.endpoint(receiver.url)
    shop.happens("detected", "credited")
    shop.fan_out()

    def die(name: str) -> None:
        if name == place:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(delivery, "crashpoint", die)
        with pytest.raises(Killed):
            shop.work()
    shop.work()
    assert len(receiver.got) == arrivals - 1  # its lease is still the dead worker's
    shop.set_pending(lease_until=0)
    shop.work()
    assert receiver.events() == ["deposit.detected"] * arrivals + ["deposit.credited"]
    assert len({got.id for got in receiver.got}) == 2
    assert shop.states() == ["delivered", "delivered"]


def test_a_death_in_the_fan_out_neither_loses_nor_doubles(
    shop: Shop, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.endpoint(receiver.url)
    shop.happens("detected", "credited")
    with monkeypatch.context() as patch:
        patch.setattr(webhook_fanout, "_serve", lambda *_: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            shop.fan_out()
    shop.database.run(lambda tx: tx.execute(update(task).values(lease_until=0)), "test_clock")
    shop.work()
    assert receiver.events() == ["deposit.detected", "deposit.credited"]


def test_an_end_that_commits_while_the_fan_out_looks_wakes_what_that_makes(
    shop: Shop, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fan-out has seen that an earlier event is pending; before it commits, that one ends in another worker."""
    shop.endpoint(receiver.url)
    resource = shop.happens("detected")
    shop.fan_out()
    answered, ended = threading.Event(), threading.Event()
    receiver.reply = lambda _: 204 if answered.wait(60) else 500

    def deliver() -> None:
        shop.runtime.advance("delivery", shop.deliveries()[0].id)
        ended.set()

    other = threading.Thread(target=deliver, daemon=True)
    other.start()
    wait_for(lambda: receiver.got, "the message to be on its way")
    shop.happens("credited", about=resource)
    real = webhook_queue.busy

    def busy(*given: Any) -> set[str]:
        found = real(*given)
        answered.set()
        ended.wait(1.5)  # it cannot, while this transaction holds the endpoint
        return found

    monkeypatch.setattr(webhook_queue, "busy", busy)
    shop.fan_out()
    other.join(60)
    shop.work()
    assert receiver.events() == ["deposit.detected", "deposit.credited"]


def test_two_workers_at_once_deliver_each_event_once_and_in_order(shop: Shop, receiver: Receiver) -> None:
    shop.endpoint(receiver.url)
    resources = [shop.happens("detected", "confirming", "credited") for _ in range(8)]
    twins = [Runtime(shop.database, bootstrap.sagas(), shop.services) for _ in range(2)]
    barrier = threading.Barrier(len(twins))

    def work(runtime: Runtime) -> None:
        barrier.wait(10)
        for _ in range(200):
            Sweeper(runtime, "webhooks").sweep()
            if len(receiver.got) >= 24:
                return

    threads = [threading.Thread(target=work, args=(twin,)) for twin in twins]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    shop.work()
    assert len(receiver.got) == 24
    for resource in resources:
        own = [got.json["type"] for got in receiver.got if got.json["data"]["object"]["id"] == resource]
        assert own == ["deposit.detected", "deposit.confirming", "deposit.credited"]
    assert set(shop.states()) == {"delivered"}
    assert [len(shop.log(row.id)) for row in shop.deliveries()] == [1] * 24


def test_an_address_that_is_no_longer_allowed_is_not_called(shop: Shop, receiver: Receiver) -> None:
    shop.endpoint(receiver.url)
    shop.services.webhooks = webhook_parts.make(b"w" * 32, Guard())
    shop.happens("detected")
    shop.work()
    assert (receiver.got, shop.deliveries()[0].status_reason) == ([], "address_refused")


# One slow endpoint and the others


@pytest.fixture
def dispatching(shop: Shop) -> Iterator[Callable[..., Dispatcher]]:
    """Starts dispatchers that stop with the test."""
    stop = threading.Event()
    threads: list[threading.Thread] = []

    def start(threads_max: int = 6) -> Dispatcher:
        dispatcher = Dispatcher(shop.runtime, threads_max)
        threads.append(threading.Thread(target=dispatcher.run, args=(stop,), daemon=True))
        threads[-1].start()
        return dispatcher

    yield start
    stop.set()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()


def test_receivers_that_hang_hold_up_nobody_else(
    shop: Shop, receiver: Receiver, dispatching: Callable[..., Dispatcher]
) -> None:
    """Many rows of receivers that hang are due, and due for longer than those of one that answers."""
    hang = threading.Event()
    with receiving() as first, receiving() as second, receiving() as third, receiving() as fourth:
        hanging = (first, second, third, fourth)
        for slow in hanging:
            slow.reply = lambda _: (hang.wait(60), 204)[1]
            endpoint = shop.endpoint(slow.url, "deposit.detected")
            shop.set_endpoint(endpoint, failing_since=1)
        for _ in range(20):
            shop.happens("detected")
        shop.fan_out()
        dispatching(6)
        wait_for(lambda: sum(len(slow.got) for slow in hanging) == 3, "half of the threads to hang")
        shop.endpoint(receiver.url, "withdrawal.*")
        for _ in range(10):
            shop.happens("queued", "completed", kind="withdrawal")
        shop.fan_out()
        wait_for(lambda: len(receiver.got) == 20, "the events of the one that answers")
        assert sorted(len(slow.got) for slow in hanging) == [0, 1, 1, 1]
        shop.close()
        hang.set()


def test_an_endpoint_takes_a_few_places_at_most(
    shop: Shop, receiver: Receiver, dispatching: Callable[..., Dispatcher]
) -> None:
    hang = threading.Event()
    with receiving() as slow:
        slow.reply = lambda _: (hang.wait(60), 204)[1]
        shop.endpoint(slow.url, "deposit.detected")
        for _ in range(20):
            shop.happens("detected")
        shop.fan_out()
        dispatching(6)
        wait_for(lambda: len(slow.got) == PLACES, "its places to be taken")
        shop.endpoint(receiver.url, "withdrawal.*")
        shop.happens("queued", "completed", kind="withdrawal")
        shop.fan_out()
        wait_for(lambda: len(receiver.got) == 2, "the events of the one that answers")
        assert len(slow.got) == PLACES
        hang.set()
        wait_for(lambda: len(slow.got) == 20, "the rest, once it answers")


def test_two_dispatchers_deliver_each_event_once_and_in_order(
    shop: Shop, receiver: Receiver, dispatching: Callable[..., Dispatcher]
) -> None:
    shop.endpoint(receiver.url)
    resources = [shop.happens("detected", "confirming", "credited") for _ in range(15)]
    shop.fan_out()
    for _ in range(2):
        dispatching(4)
    wait_for(lambda: set(shop.states()) == {"delivered"}, "all deliveries")
    assert len(receiver.got) == 45
    for resource in resources:
        own = [got.json["type"] for got in receiver.got if got.json["data"]["object"]["id"] == resource]
        assert own == ["deposit.detected", "deposit.confirming", "deposit.credited"]


def test_switches_and_redeliveries_in_the_middle_of_it_lose_nothing_and_keep_the_order(
    shop: Shop, receiver: Receiver, dispatching: Callable[..., Dispatcher]
) -> None:
    """Two workers, a receiver that fails now and then, and people at every switch at the same time."""
    endpoint = shop.endpoint(receiver.url)
    count = iter(range(10**6))
    receiver.reply = lambda _: 500 if next(count) % 5 == 4 else 204
    done = threading.Event()
    failures: list[BaseException] = []

    def person(act: Callable[[], object]) -> None:
        try:
            while not done.is_set():
                act()
                shop.set_pending_waiting(due_at=1)  # retries need not be waited for
        except BaseException as error:  # noqa: BLE001  # told below
            failures.append(error)

    def switch() -> None:
        shop.change(endpoint, webhook_endpoints.disable, "customer")
        shop.change(endpoint, webhook_endpoints.enable)

    def again() -> None:
        rows = shop.deliveries()
        if rows:
            with suppress(StateConflict):
                shop.database.run(lambda tx: webhook_log.redeliver(tx, rows[-1]), "test")

    people = [threading.Thread(target=person, args=(act,), daemon=True) for act in (switch, again, shop.fan_out)]
    for _ in range(2):
        dispatching(4)
    for thread in people:
        thread.start()
    resources = [shop.happens("detected", "confirming", "credited") for _ in range(8)]
    first = [row.id for row in shop.events()]
    wait_for(lambda: delivered(shop, first) or failures, "every event")
    done.set()
    for thread in people:
        thread.join(60)
    assert failures == []
    for resource in resources:
        own = [got.json["type"] for got in receiver.got if got.json["data"]["object"]["id"] == resource]
        assert list(dict.fromkeys(own)) == ["deposit.detected", "deposit.confirming", "deposit.credited"]


def delivered(shop: Shop, event_ids: list[int]) -> bool:
    rows = [row for row in shop.deliveries() if row.round == 0]
    return {row.event_id for row in rows if row.state == "delivered"} == set(event_ids)


def test_a_poke_is_enough(shop: Shop, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dispatcher that would not look again for a day does so when it is told to."""
    monkeypatch.setattr(webhook_dispatch, "POLL_SECONDS", 86_400.0)
    looked, stop = threading.Event(), threading.Event()
    dispatcher = Dispatcher(shop.runtime, 2)
    real = dispatcher.look

    def look() -> int:
        found = real()
        looked.set()
        return found

    monkeypatch.setattr(dispatcher, "look", look)
    thread = threading.Thread(target=dispatcher.run, args=(stop,), daemon=True)
    thread.start()
    assert looked.wait(30)
    shop.endpoint(receiver.url)
    shop.happens("detected")
    shop.fan_out()
    wait_for(lambda: dispatcher.poke() or receiver.got, "the delivery")
    stop.set()
    dispatcher.poke()
    thread.join(30)
    assert not thread.is_alive()


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"waited {seconds} s for: {what}"
        time.sleep(0.02)
